"""What a person is handed when the machine has come to its end: details that Cronofy's support can work with."""

import json
from datetime import timedelta

from reconciler.simulator import Fault
from tests.acceptance.program import DAYS_AGO, Done, Planted, Program, Row, Town

BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1"}
AGAIN = ("run", "--json", "--starting-after", "1s")
"""With a scope every event is looked at again, whatever the gaps between looks."""


def escalations(town: Town, event: Planted) -> list[Row]:
    return town.query(
        "SELECT remedy, after FROM reconciler.audit_entries"
        " WHERE tag = 'event:escalated' AND calendar_id = %s AND event_id = %s",
        *event.key,
    )


async def explained(program: Program, event: Planted, *words: str) -> Done:
    done = await program("explain", *event.key, *words)
    assert (done.code, done.err) == (0, ""), done
    return done


async def test_what_nothing_explains_is_handed_over_with_all_that_support_asks_for(
    program: Program, town: Town
) -> None:
    who = town.resident(data_center="de")
    zoom = who.connect(name="Ada's own room")
    event = who.event(zoom, age=DAYS_AGO, stuck=True)
    town.query(
        "INSERT INTO reconciler.notifications (received_at, calendar_id, event_id, type, subtype)"
        " VALUES (%s, %s, %s, 'conferencing_failing', 'brand_new')",
        town.now - timedelta(hours=1),
        *event.key,
    )
    town.move_in()
    run = await program("run", "--json")
    assert (run.code, run.json["outcomes"]["escalated"]) == (0, 1), run
    (entry,) = escalations(town, event)
    support = entry["after"]["support"]
    state = town.states()[event.key]
    told = {
        "account_id": who.account.account_id,
        "data_center": "de",
        "calendar_id": who.calendar.calendar_id,
        "event_id": event.row["event_id"],
        "event_uid": event.event.event_uid,
        "profile_id": zoom,
        "profile_connected": True,
        "provider_name": "zoom",
        "conferencing": "pending",
        "written_at": f"{event.row['written_at']:%Y-%m-%dT%H:%M:%SZ}",
        "pending_since": f"{state['pending_since']:%Y-%m-%dT%H:%M:%SZ}",
        "grace_seconds": 900,
        "repairs": [],
    }
    assert {name: support[name] for name in told} == told
    assert [n["subtype"] for n in support["notifications"]] == ["brand_new"]
    assert (await explained(program, event, "--json")).json["support"] == support
    text = (await explained(program, event)).out
    block = text[text.index("to be pasted into a mail:") :]
    for value in (who.account.account_id, event.event.event_uid, zoom, told["written_at"], "900 s", "brand_new"):
        assert value in block
    everything = json.dumps(support) + text
    for private in (who.account.access_token, who.account.email, "Ada's own room", event.row["body"]["summary"]):
        assert private not in everything
    assert (await program("audit", "replay")).code == (await program("audit", "verify")).code == 0

    event.event.assign()
    await program(*AGAIN)
    assert "to be pasted" not in (await explained(program, event)).out
    assert (await explained(program, event, "--json")).json["support"] is None


async def test_an_event_is_repaired_so_often_and_then_handed_over(program: Program, town: Town) -> None:
    town.world.settings.generation_delay = 1e6
    who = town.resident(integrated=False)
    event = who.event("pro_gone", age=DAYS_AGO, stuck=True)
    refused = who.connect()
    town.move_in()
    env = {**BOLD, "RECONCILER_MAX_REPAIRS_PER_EVENT": "1"}
    refusal = {"errors": {"conferencing.profile_id": [{"key": "errors.not_recognized"}]}}
    town.world.faults.add(Fault("status", status=422, body=refusal, match_path="/calendars/.*/events$", times=1))
    assert (await program("run", "--json", env=env)).json["outcomes"]["repair_rejected"] == 1
    applied = who.connect()
    assert (await program(*AGAIN, env=env)).json["outcomes"]["repaired"] == 1

    who.account.remove_conferencing_profile(applied)
    third = who.connect()
    town.query("UPDATE reconciler.event_states SET repaired_at = repaired_at - interval '1 hour'")
    run = await program(*AGAIN, env=env)
    assert (run.code, run.json["outcomes"]["escalated"], run.json["outcomes"]["repaired"]) == (0, 1, 0), run
    assert [write["conferencing"]["profile_id"] for write in event.event.writes] == [applied]
    (entry,) = escalations(town, event)
    assert entry["after"]["reason"] == "repaired 1 times without a link"
    repairs = entry["after"]["support"]["repairs"]
    assert [(r["profile_id"], r["answer"], r["keys"]) for r in repairs] == [
        (refused, "rejected", ["errors.not_recognized"]),
        (applied, "applied", []),
    ]
    assert f"asking for {applied}: applied" in (await explained(program, event)).out
    # what was decided is replayed under the limit of its own run, whatever it is now
    assert (await program("audit", "replay", env={"RECONCILER_MAX_REPAIRS_PER_EVENT": "9"})).code == 0

    more = await program(*AGAIN, env={**env, "RECONCILER_MAX_REPAIRS_PER_EVENT": "2"})
    assert (more.json["outcomes"]["repaired"], town.rows()[event.key]["profile_id"]) == (1, third), more
    assert (await program("audit", "replay")).code == 0
    assert town.world.violations == []
