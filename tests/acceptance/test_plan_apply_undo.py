"""Mass change: a run that refuses, the kept plan carried out on somebody's word, and all of it taken back."""

import json
import signal
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from reconciler.simulator import Fault
from tests.acceptance.program import DAYS_AGO, Done, Planted, Program, Town

ACCOUNTS = 80
BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1"}


def writes(town: Town) -> int:
    return sum(len(event.writes) for event in town.world.events.values())


def fates(done: Done) -> dict[str, int]:
    """What it says became of the events that it was told; those that befell none left out."""
    asked: dict[str, int] = done.json["asked"]
    assert asked["events"] == sum(number for fate, number in asked.items() if fate != "events")
    return {fate: number for fate, number in asked.items() if number}


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
    assert fates(applied) == {"events": 61, "carried_out": 61}
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


async def test_a_plan_of_more_than_a_run_may_do_says_so(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    for _ in range(30):
        who.event("pro_gone", age=DAYS_AGO, stuck=True)
    town.move_in()
    plan = await program("plan", "--json")
    assert (plan.code, len(plan.complaints)) == (0, 1), plan
    assert "a run would make at most 19 of these 30 repairs" in plan.complaints[0]
    assert plan.complaints[0].endswith(f"reconciler apply {plan.json['plan_id']}")
    assert (await program("plan", env=BOLD)).complaints == []
    assert (await program("run", "--json")).json["outcomes"].get("repaired", 0) <= 19


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


async def test_a_replacement_that_no_plan_named_is_not_tried_by_apply(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    event = who.event("8x8", age=DAYS_AGO, stuck=True)
    who.connect("go_to")
    town.move_in()
    plan = (await program("plan", "--json")).json
    assert [item["detail"]["profile_id"] for item in plan["items"]] == ["default"]
    refusal = {"errors": {"conferencing.profile_id": [{"key": "errors.not_recognized", "description": "gone"}]}}
    town.world.faults.add(Fault("status", status=422, body=refusal, match_path="/calendars/.*/events$", times=1))
    applied = await program("apply", plan["plan_id"], "--json")
    assert (applied.code, applied.json["outcomes"]["repair_rejected"]) == (3, 1), applied
    assert fates(applied) == {"events": 1, "refused": 1}
    assert event.event.writes == []
    assert sum(request.kind in {"upsert", "batch"} for request in town.world.requests) == 1


# ---------------------------------------------------------------- what is said of it at the end


async def test_apply_tells_what_it_did_from_what_it_could_not_read_and_what_has_changed(
    program: Program, town: Town
) -> None:
    events = lost(town, 1) + lost(town, 1) + lost(town, 1)
    waiting = town.resident()
    waiting.event(waiting.connect(connected=False))
    town.move_in()
    plan = (await program("plan", "--json")).json["plan_id"]
    town.world.faults.add(Fault("status", account_id=events[0].row["account_id"]))
    events[1].event.assign()
    first = await program("apply", plan)
    assert first.code == 3, first
    assert first.out.splitlines()[-1] == (
        "  2 of 4 carried out (1 repaired, 1 noticed); 1 could not be read or written; "
        "1 has changed since and was left alone"
    )
    again = await program("apply", plan, "--json")
    assert (again.code, fates(again)) == (3, {"events": 4, "carried_out": 1, "failed": 1, "drifted": 2}), again


async def test_events_of_an_account_that_is_parked_meanwhile_could_not_be_written(program: Program, town: Town) -> None:
    lost(town, 1)
    town.move_in()
    plan = (await program("plan", "--json")).json["plan_id"]
    town.query("UPDATE reconciler.accounts SET state = 'parked'")
    applied = await program("apply", plan, "--json")
    assert (applied.code, fates(applied)) == (3, {"events": 1, "failed": 1}), applied


async def test_a_write_without_an_answer_is_no_success_of_apply(program: Program, town: Town) -> None:
    lost(town, 1)
    town.move_in()
    town.world.settings.generation_delay = 1e6
    plan = (await program("plan", "--json")).json["plan_id"]
    town.world.faults.add(Fault("reset", match_path="/calendars/.*/events$", after_commit=True))
    applied = await program("apply", plan)
    assert (applied.code, applied.out.splitlines()[-1]) == (
        3,
        "  0 of 1 carried out; whether 1 took effect is not known",
    ), applied


async def test_a_write_of_the_applications_newer_body_that_cronofy_refuses_is_no_drift(
    program: Program, town: Town
) -> None:
    (event,) = lost(town, 1)
    town.move_in()
    town.world.settings.generation_delay = 1e6
    plan = (await program("plan", "--json")).json["plan_id"]
    assert (await program("run", "--json", env=BOLD)).json["outcomes"]["repaired"] == 1
    town.query(  # the application writes its old body again, and its row says that this was before our repair
        "UPDATE reconciler.events e"
        " SET body = %s, profile_id = 'pro_gone', written_at = s.repaired_at - interval '1 second'"
        " FROM reconciler.event_states s WHERE s.calendar_id = e.calendar_id AND s.event_id = e.event_id",
        Jsonb({**event.row["body"], "summary": "As the calendar does not show it"}),
    )
    refusal = {"errors": {"summary": [{"key": "errors.required"}]}}
    town.world.faults.add(Fault("status", status=422, body=refusal, match_path="/calendars/.*/events$"))
    applied = await program("apply", plan)
    assert applied.out.splitlines()[-1] == "  0 of 1 carried out; Cronofy refused 1"
    assert (applied.code, len(applied.complaints)) == (3, 1), applied


async def test_what_apply_did_not_reach_has_not_changed(program: Program, town: Town) -> None:
    events = [event for _ in range(4) for event in lost(town, 1)]
    town.move_in()
    plan = (await program("plan", "--json")).json["plan_id"]
    first, *_ = [town.world.faults.add(Fault("hold", account_id=event.row["account_id"])) for event in events]
    running = await program.start("apply", plan, "--json", env={"RECONCILER_CONCURRENCY": "1"})
    await running.until(lambda: first.held > 0)
    running.signal(signal.SIGTERM)
    town.world.faults.remove(first)
    stopped = await running.end()
    assert (stopped.code, fates(stopped)) == (5, {"events": 4, "carried_out": 1, "left": 3}), stopped


async def test_what_another_apply_has_in_hand_has_not_changed(program: Program, town: Town) -> None:
    events = lost(town, 1) + lost(town, 1)
    town.move_in()
    plan = (await program("plan", "--json")).json["plan_id"]
    hold = town.world.faults.add(Fault("hold", account_id=events[0].row["account_id"]))
    first = await program.start("apply", plan, "--json")
    await first.until(lambda: hold.held > 0 and writes(town) == 1)
    second = await program("apply", plan)
    town.world.faults.remove(hold)
    assert second.out.splitlines()[-1] == (
        "  0 of 2 carried out; 1 has changed since and was left alone; 1 was in another run's hands"
    )
    assert fates(await first.end()) == {"events": 2, "carried_out": 2}


async def test_a_second_look_at_what_apply_repaired_takes_nothing_from_its_numbers(
    program: Program, town: Town
) -> None:
    lost(town, 2)
    town.move_in()
    plan = (await program("plan", "--json")).json["plan_id"]
    applied = await program("apply", plan, "--json", env={"RECONCILER_VERIFY_AFTER": "1s"})
    assert (applied.code, fates(applied)) == (0, {"events": 2, "carried_out": 2}), applied


async def repaired(program: Program, town: Town, events: int) -> str:
    """A run that repaired events, with no link yet; its id."""
    town.world.settings.unknown_profile = "late"
    town.world.settings.generation_delay = 1e6
    lost(town, events)
    town.move_in()
    done = await program("run", "--json", env=BOLD)
    assert (done.code, done.json["outcomes"]["repaired"]) == (0, events), done
    run_id: str = done.json["run_id"]
    return run_id


async def test_undo_says_what_the_next_run_makes_of_it(program: Program, town: Town) -> None:
    run_id = await repaired(program, town, 2)
    undone = await program("undo", run_id)
    assert undone.code == 0, undone
    *_, counted, advice = undone.out.splitlines()
    assert counted == "  2 of 2 put back"
    assert "the next run judges them anew and repairs what it finds broken" in advice
    again = await program("undo", run_id)
    assert (again.code, again.out.splitlines()[-1]) == (
        0,
        "  0 of 2 put back; 2 have changed since and were left alone",
    )


async def test_an_undo_that_cronofy_refuses_is_no_success(program: Program, town: Town) -> None:
    run_id = await repaired(program, town, 3)
    town.world.settings.unknown_profile = "reject"
    undone = await program("undo", run_id)
    assert (undone.code, undone.out.splitlines()[-1]) == (3, "  0 of 3 put back; Cronofy refused 3"), undone
    assert "3 of 3 events could not be put back" in undone.complaints[-1]
    assert "pro_gone" not in {row["profile_id"] for row in town.rows().values()}


async def test_a_run_under_way_is_not_undone(program: Program, town: Town) -> None:
    events = lost(town, 1) + lost(town, 1)
    town.move_in()
    town.world.settings.generation_delay = 1e6
    hold = town.world.faults.add(Fault("hold", account_id=events[1].row["account_id"]))
    running = await program.start("run", "--json", env=BOLD)
    await running.until(lambda: hold.held > 0 and town.rows()[events[0].key]["profile_id"] != "pro_gone")
    (run,) = town.query("SELECT run_id FROM reconciler.runs")
    early = await program("undo", str(run["run_id"]))
    assert (early.code, early.out) == (75, ""), early
    assert [f"run {run['run_id']} is still under way" in line for line in early.complaints] == [True]
    town.world.faults.remove(hold)
    assert (await running.end()).code == 0
    assert written(events) == [1, 1]


async def test_undo_says_which_writes_of_a_dead_run_are_in_doubt(program: Program, town: Town) -> None:
    events = lost(town, 1) + lost(town, 2)
    town.world.settings.unknown_profile = "late"
    town.move_in()
    town.world.settings.generation_delay = 1e6
    hang = town.world.faults.add(
        Fault("hang", match_path="^/v1/(calendars|batch)", account_id=events[1].row["account_id"])
    )
    running = await program.start("run", env=BOLD)
    await running.until(lambda: hang.hits > 0 and town.rows()[events[0].key]["profile_id"] != "pro_gone")
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.faults.clear()
    (run,) = town.query("SELECT run_id FROM reconciler.runs")
    undone = await program("undo", str(run["run_id"]), "--json")
    assert (undone.code, fates(undone)) == (0, {"events": 1, "carried_out": 1}), undone
    assert f"reconciler: 2 writes of run {run['run_id']} are in doubt and are not undone" in undone.complaints
    assert written(events) == [2, 0, 0]


async def test_a_plan_says_in_words_that_the_service_may_change(program: Program, town: Town) -> None:
    (event,) = lost(town, 1)
    town.move_in()
    (profile,) = event.resident.account.conferencing_profiles
    told = (await program("plan")).out
    assert f"-> {profile.profile_id} (whether the service changes is not known)" in told


async def test_explain_says_that_an_undo_put_it_back(program: Program, town: Town) -> None:
    run_id = await repaired(program, town, 1)
    (event,) = town.planted
    told = (await program("explain", *event.key)).out
    assert "(zoom, whether the service changes is not known)" in told
    assert (await program("undo", run_id)).code == 0
    lines = (await program("explain", *event.key)).out.splitlines()
    assert any(
        line.endswith(f"about to write it again: back to asking for pro_gone (undo of run {run_id})") for line in lines
    )
    assert any(
        line.endswith(f"Cronofy accepted the write: back to asking for pro_gone (undo of run {run_id})")
        for line in lines
    )


# ---------------------------------------------------------------- one account's limit


def lost(town: Town, events: int) -> list[Planted]:
    """Somebody whose profile was removed, with another in its place."""
    who = town.resident()
    who.connect()
    return [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(events)]


def written(events: list[Planted]) -> list[int]:
    return [len(event.event.writes) for event in events]


@pytest.mark.parametrize("engine", ["local", "pgqueuer"])
async def test_an_account_over_its_limit_is_held_back_alone(program: Program, town: Town, engine: str) -> None:
    before, too_many, after = lost(town, 3), lost(town, 4), lost(town, 3)
    town.move_in()
    careful = {**BOLD, "RECONCILER_MAX_REPAIRS_PER_ACCOUNT": "3", "RECONCILER_ENGINE": engine}
    refused = await program("run", "--json", "--run-key", "night", env=careful)
    assert (refused.code, refused.json["status"], refused.json["outcomes"]["repaired"]) == (4, "refused", 6), refused
    assert written([*before, *after]) == [1] * 6
    assert written(too_many) == [0] * 4
    (line,) = [line for line in refused.complaints if "refused" in line]
    assert "RECONCILER_MAX_REPAIRS_PER_ACCOUNT allows 3 repairs of one account in a run" in line
    assert f"of {too_many[0].row['account_id']} 0 are done and 4 more were to follow" in line
    assert f"reconciler apply {refused.json['plan_id']}" in line
    (books,) = town.query("SELECT summary FROM reconciler.runs")
    assert books["summary"] == refused.json
    kept = town.query("SELECT calendar_id, event_id FROM reconciler.plan_items")
    assert {(row["calendar_id"], row["event_id"]) for row in kept} == {event.key for event in too_many}
    assert {town.rows()[event.key]["profile_id"] for event in too_many} == {"pro_gone"}

    applied = await program("apply", refused.json["plan_id"], "--json", env=careful | {"RECONCILER_ENGINE": "local"})
    assert (applied.code, applied.json["asked"]["carried_out"]) == (0, 4), applied
    assert written(too_many) == [1] * 4
    assert town.world.violations == []


async def test_several_accounts_over_their_limit_are_counted(program: Program, town: Town) -> None:
    towns = [lost(town, 2) for _ in range(3)]
    town.move_in()
    refused = await program("run", "--json", env={**BOLD, "RECONCILER_MAX_REPAIRS_PER_ACCOUNT": "1"})
    assert refused.code == 4, refused
    assert f"of {towns[0][0].row['account_id']} 0 are done" in refused.complaints[-1]
    assert "so it is with 2 more" in refused.complaints[-1]
    assert writes(town) == 0


@pytest.mark.parametrize("accounts, others", [(1, ""), (3, "; so it is with 2 more")])
async def test_status_names_the_soonest_account_that_the_last_run_held_back(
    program: Program, town: Town, accounts: int, others: str
) -> None:
    (soonest, *_), *_ = [lost(town, 2) for _ in range(accounts)]
    town.move_in()
    refused = await program("run", "--json", env={**BOLD, "RECONCILER_MAX_REPAIRS_PER_ACCOUNT": "1"})
    told, data = (await program("status")).out, (await program("status", "--json")).json
    why = data["last_run"]["held_back"]
    assert why.startswith("RECONCILER_MAX_REPAIRS_PER_ACCOUNT allows 1 repairs of one account in a run"), why
    assert why.endswith(f"of {soonest.row['account_id']} 0 are done and 2 more were to follow{others}"), why
    assert why in refused.complaints[-1], "in the words of the run itself"
    assert f"  held back: {why}; " in told


async def test_status_says_that_a_limit_held_back_everybody_in_the_last_run(program: Program, town: Town) -> None:
    events = lost(town, 1) + lost(town, 1)
    town.move_in()
    refused = await program("run", env={**BOLD, "RECONCILER_MAX_REPAIRS": "1"})
    assert (refused.code, sum(written(events))) == (4, 1), refused
    told, data = (await program("status")).out, (await program("status", "--json")).json
    assert "RECONCILER_MAX_REPAIRS" in data["last_run"]["held_back"]
    assert f"  held back: {data['last_run']['held_back']}; " in told


@pytest.mark.parametrize("kept, words", [(1, "1 remedy is kept"), (4, "4 remedies are kept")])
async def test_what_is_kept_of_a_refused_run_is_counted_until_its_plan_expires(
    program: Program, town: Town, kept: int, words: str
) -> None:
    lost(town, kept)
    town.move_in()
    refused = await program("run", env={**BOLD, "RECONCILER_MAX_REPAIRS": "0"})
    last = (await program("status", "--json")).json["last_run"]
    assert last["kept"] == kept
    assert f"  held back  {words}: reconciler apply {last['plan_id']}\n" in refused.out
    told = (await program("status")).out
    assert f"  held back: {last['held_back']}; {words}: reconciler apply {last['plan_id']}\n" in told
    town.query("UPDATE reconciler.plans SET expires_at = now()")
    told, last = (await program("status")).out, (await program("status", "--json")).json["last_run"]
    assert ("kept" in told, last["plan_id"], last["kept"]) == (False, None, 0)
    assert f"  held back: {last['held_back']}\n" in told


async def explained(program: Program, event: Planted) -> tuple[str, Any]:
    """What `explain` tells of an event: the text, and the document."""
    return (await program("explain", *event.key)).out, (await program("explain", *event.key, "--json")).json


async def test_explain_tells_what_a_limit_held_back_until_it_is_applied(program: Program, town: Town) -> None:
    event, _ = lost(town, 2)
    town.move_in()
    refused = (await program("run", "--json", env={**BOLD, "RECONCILER_MAX_REPAIRS_PER_ACCOUNT": "1"})).json
    told, data = await explained(program, event)
    assert (
        f"  worked out by run {refused['run_id']}, not carried out: profile_removed, write it again asking for" in told
    )
    assert "(held back by RECONCILER_MAX_REPAIRS_PER_ACCOUNT allows 1 repairs of one account in a run" in told
    assert f"; `reconciler apply {refused['plan_id']}`)" in told
    assert "nothing on record" not in told
    assert (data["planned"]["run_id"], data["planned"]["plan_id"]) == (refused["run_id"], refused["plan_id"])
    assert (await program("apply", refused["plan_id"])).code == 0
    told, data = await explained(program, event)
    assert ("worked out by" in told, data["planned"]) == (False, None)


async def test_explain_names_the_limit_that_held_back_everybody(program: Program, town: Town) -> None:
    events = lost(town, 1) + lost(town, 1)
    town.move_in()
    await program("run", env={**BOLD, "RECONCILER_MAX_REPAIRS": "1"})
    (kept,) = [event for event in events if not event.event.writes]
    told, _ = await explained(program, kept)
    assert "(held back by RECONCILER_MAX_REPAIRS allows 1" in told


async def test_explain_tells_what_a_plan_says_while_it_holds(program: Program, town: Town) -> None:
    (event,) = lost(town, 1)
    town.move_in()
    plan = (await program("plan", "--json")).json
    told, data = await explained(program, event)
    assert f"  planned by run {plan['run_id']}: profile_removed, write it again asking for" in told
    assert f"(`reconciler apply {plan['plan_id']}`)" in told
    assert data["planned"]["held_back"] is None
    town.query("UPDATE reconciler.plans SET expires_at = now()")
    told, data = await explained(program, event)
    assert ("nothing on record" in told, data["planned"]) == (True, None)


async def test_status_says_nothing_of_limits_that_held_back_nothing(program: Program, town: Town) -> None:
    lost(town, 2)
    town.move_in()
    assert (await program("run", env=BOLD)).code == 0
    told, data = (await program("status")).out, (await program("status", "--json")).json
    assert data["last_run"]["held_back"] is None
    assert "held back" not in told


@pytest.mark.parametrize(
    "limit, words, others_written",
    [("RECONCILER_MAX_REPAIRS_PER_ACCOUNT", "held back", 1), ("RECONCILER_MAX_REPAIRS", "writes nothing more", 0)],
)
async def test_status_names_the_limit_that_a_run_under_way_has_met(
    program: Program, town: Town, limit: str, words: str, others_written: int
) -> None:
    too_many, waiting = lost(town, 2), lost(town, 1)
    town.move_in()
    reading = town.world.faults.add(
        Fault("hold", match_path="^/v1/events", account_id=waiting[0].resident.account.account_id)
    )
    running = await program.start("run", env={**BOLD, limit: "1"})
    met = (
        "SELECT 1 FROM reconciler.runs r JOIN reconciler.run_units u USING (run_id)"
        " WHERE coalesce(r.refusal, u.refusal) IS NOT NULL"
    )
    await running.until(lambda: bool(town.query(met)))
    told, (run,) = (await program("status")).out, (await program("status", "--json")).json["runs"]
    town.world.faults.remove(reading)
    assert limit in run["held_back"]
    assert f"  {words}: {run['held_back']}\n" in told
    assert (await running.end()).code == 4
    assert (written(too_many), written(waiting)) == ([0, 0], [others_written])


async def test_the_limit_of_an_account_is_the_same_after_a_resumption(program: Program, town: Town) -> None:
    first, second = lost(town, 2)
    town.move_in()
    one = {**BOLD, "RECONCILER_MAX_REPAIRS_PER_ACCOUNT": "1"}
    key = ("--run-key", "night")
    town.query("UPDATE reconciler.events SET cancelled_at = now() WHERE event_id = %s", second.row["event_id"])
    assert (await program("run", *key, env=one)).code == 0
    # as a process leaves it that died before it worked the account to its end
    town.query("UPDATE reconciler.events SET cancelled_at = NULL")
    town.query("UPDATE reconciler.runs SET status = 'running', finished_at = NULL, summary = NULL")
    town.query("UPDATE reconciler.run_units SET state = 'todo'")
    resumed = await program("run", "--json", *key, env=one)
    assert resumed.code == 4, resumed
    assert "1 are done and 1 more were to follow" in resumed.complaints[-1]
    assert written([first, second]) == [1, 0]


async def test_a_refused_profile_does_not_count_against_the_limits(program: Program, town: Town) -> None:
    who = town.resident()
    lost = [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(3)]
    who.connect("zoom")
    town.move_in()
    keys = {"errors": {"conferencing.profile_id": [{"key": "errors.not_recognized", "description": "gone"}]}}
    for _ in lost:
        town.world.faults.add(Fault("status", status=422, body=keys, match_path="/calendars/", times=1))
    limits = {
        "RECONCILER_MAX_REPAIRS": "3",
        "RECONCILER_MAX_REPAIRS_PER_ACCOUNT": "3",
        "RECONCILER_MAX_REPAIR_SHARE": "1",
    }
    done = await program("run", "--json", env=limits)
    assert done.code == 0, done
    assert done.json["status"] == "completed"
