"""Mass change: a run that refuses, the kept plan carried out on somebody's word, and all of it taken back."""

import json
from datetime import timedelta

from tests.acceptance.program import Program, Town

DAYS_AGO = timedelta(days=2)
ACCOUNTS = 80


def writes(town: Town) -> int:
    return sum(len(event.writes) for event in town.world.events.values())


async def test_a_refused_run_is_carried_out_by_apply_and_taken_back_by_undo(program: Program, town: Town) -> None:
    town.world.settings.unknown_profile = "late"
    town.world.settings.generation_delay = 1e6
    for _ in range(ACCOUNTS):
        who = town.resident()
        who.connect()
        who.event("pro_gone", age=DAYS_AGO, stuck=True)
    town.move_in()
    refused = await program("run", "--json")
    assert refused.code == 4, refused.err
    assert "RECONCILER_MAX_REPAIR_SHARE" in refused.err
    first = json.loads(refused.out)
    assert first["outcomes"]["repaired"] == writes(town) == 19
    applied = await program("apply", first["plan_id"], "--json")
    assert applied.code == 0, applied.err
    assert json.loads(applied.out)["asked"] == {"events": 61, "carried_out": 61, "drifted": 0}
    assert writes(town) == ACCOUNTS
    undone = await program("undo", json.loads(applied.out)["run_id"], "--json")
    assert undone.code == 0, undone.err
    assert json.loads(undone.out)["asked"]["carried_out"] == 61
    asked = [row["profile_id"] for row in town.query("SELECT profile_id FROM reconciler.events")]
    assert asked.count("pro_gone") == 61
    again = await program("undo", json.loads(applied.out)["run_id"], "--json")
    assert json.loads(again.out)["asked"]["carried_out"] == 0
    assert town.world.violations == []
    assert (await program("audit", "verify")).code == (await program("audit", "replay")).code == 0


async def test_a_plan_that_is_not_there_or_no_longer_holds(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    event = who.event("pro_gone", age=DAYS_AGO, stuck=True)
    town.move_in()
    unknown = await program("apply", "00000000-0000-0000-0000-000000000000")
    assert (unknown.code, unknown.out) == (2, "")
    plan = json.loads((await program("plan", "--json")).out)
    assert writes(town) == 0
    town.world.event(*event.key).assign()
    drifted = await program("apply", str(plan["plan_id"]), "--json")
    assert (drifted.code, json.loads(drifted.out)["asked"]["drifted"]) == (0, 1)
    assert writes(town) == 0
