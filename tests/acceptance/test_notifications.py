"""What Cronofy pushed, and the application copied in: it makes events due, and settles those it can speak for."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.acceptance.program import DAYS_AGO, Planted, Program, Town

LINK = "https://zoom.example/j/1"
Pushed = dict[str, Any]


def push(town: Town, kind: str, event: Planted | None = None, *, ago: timedelta = timedelta(0), **columns: Any) -> None:
    """A notification, as the application copies it in."""
    calendar_id, event_id = event.key if event else (None, None)
    row = {"received_at": town.now - ago, "calendar_id": calendar_id, "event_id": event_id, "type": kind, **columns}
    row = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in row.items()}
    marks = ", ".join(["%s"] * len(row))
    town.query(f"INSERT INTO reconciler.notifications ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608


def as_pushed(event: Planted, **changes: Any) -> Pushed:
    """The event as a notification carries it, with a link."""
    body = event.row["body"]
    shown = {
        "calendar_id": event.row["calendar_id"],
        **{name: body[name] for name in ("event_id", "summary", "start", "end")},
        "conferencing": {"provider_name": "zoom", "join_url": LINK},
    }
    return {"notification": {"interactions": [{"type": "conferencing_assigned"}]}, "event": {**shown, **changes}}


def reads(town: Town) -> int:
    return sum(request.kind in {"events", "userinfo"} for request in town.world.requests)


async def looked_at(program: Program, town: Town) -> None:
    """A run that leaves nothing due for a while."""
    assert (await program("run")).code == 0
    town.world.requests.clear()
    done = await program("run", "--json")
    assert (done.json["events"]["due"], reads(town)) == (0, 0), done


async def test_a_notification_makes_its_event_due_at_once_and_once(program: Program, town: Town) -> None:
    who = town.resident()
    zoom = who.connect()
    waiting, other = (who.event(zoom, age=timedelta(minutes=1), stuck=True) for _ in range(2))
    town.move_in()
    await looked_at(program, town)
    push(town, "conferencing_failing", waiting, subtype="profile_missing")
    done = await program("run", "--json")
    assert (done.json["events"]["due"], done.json["events"]["read"]) == (1, 1), done
    assert done.json["causes"] == {"settling": 1}
    await looked_at(program, town)
    assert other.key in town.states()


async def test_a_settled_event_is_read_again_when_something_is_said_of_it(program: Program, town: Town) -> None:
    event = town.resident().event("default", link=True)
    town.move_in()
    await looked_at(program, town)
    push(town, "change", event)
    assert (await program("run", "--json")).json["causes"] == {"assigned": 1}
    await looked_at(program, town)


@pytest.mark.parametrize("kind", ["conferencing_profile_disconnected", "profile_disconnected"])
async def test_a_disconnected_profile_makes_the_accounts_unsettled_events_due(
    program: Program, town: Town, kind: str
) -> None:
    who, other = town.resident(), town.resident()
    for resident in (who, other):
        zoom = resident.connect()
        resident.event(zoom, age=timedelta(minutes=1), stuck=True)
        resident.event("default", link=True)
    town.move_in()
    await looked_at(program, town)
    push(town, kind, account_id=who.account.account_id)
    push(town, "change", account_id=other.account.account_id)
    assert (await program("run", "--json", "--event", who.planted[0].name)).json["events"]["due"] == 1
    done = await program("run", "--json")
    assert (done.json["accounts"]["due"], done.json["events"]["due"]) == (1, 1), done
    await looked_at(program, town)


async def test_a_pushed_link_settles_its_event_without_a_request(program: Program, town: Town) -> None:
    who = town.resident()
    zoom = who.connect()
    new, seen = who.event(zoom, stuck=True), who.event(zoom, age=timedelta(minutes=1), stuck=True)
    town.move_in()
    assert (await program("run", "--event", seen.name)).code == 0
    town.world.requests.clear()
    for event in (new, seen):
        push(town, "conferencing_assigned", event, payload=as_pushed(event))
    done = await program("run", "--json")
    assert (done.code, done.json["causes"], done.json["events"]) == (
        0, {"assigned": 2}, {"due": 2, "read": 0, "settled": 2},
    ), done  # fmt: skip
    assert (done.json["requests"]["total"], town.world.requests) == (0, [])
    for event in (new, seen):
        state = town.states()[event.key]
        assert (state["conferencing"], state["join_url"], state["provider_name"]) == ("assigned", LINK, "zoom")
    assert town.states()[new.key]["read_at"] is None
    assert "pushed by Cronofy" in (await program("explain", *new.key)).out
    assert (await program("audit", "replay")).code == 0
    await looked_at(program, town)


async def test_a_pushed_link_confirms_a_repair_and_resolves_notices(program: Program, town: Town) -> None:
    lost, asked = town.resident(), town.resident()
    repaired = lost.event("pro_gone", age=DAYS_AGO, stuck=True)
    lost.connect()
    go_to = asked.connect("go_to", connected=False)
    relinked = asked.event(go_to, age=DAYS_AGO, stuck=True)
    town.move_in()
    assert (await program("run", env={"RECONCILER_MAX_REPAIR_SHARE": "1"})).code == 0
    assert len(town.notices()) == 1
    push(town, "conferencing_assigned", repaired, payload=as_pushed(repaired))
    shown = {"provider_name": "go_to", "join_url": LINK}
    push(town, "conferencing_assigned", relinked, payload=as_pushed(relinked, conferencing=shown))
    town.world.requests.clear()
    done = await program("run", "--json")
    assert (done.json["outcomes"]["confirmed"], done.json["notices"]["resolved"], reads(town)) == (1, 1, 0), done
    assert town.stories()[repaired.key][-1] == "event:confirmed"


def a_minute_before(written_at: datetime) -> str:
    return (written_at - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


UNFIT: dict[str, Callable[[Planted], dict[str, Any]]] = {
    "before the write": lambda e: {"ago": timedelta(days=3), "payload": as_pushed(e)},
    "another start": lambda e: {"payload": as_pushed(e, start="2030-01-01T09:00:00Z")},
    "an older write": lambda e: {"payload": as_pushed(e, updated=a_minute_before(e.row["written_at"]))},
    "no link": lambda e: {"payload": as_pushed(e, conferencing={"pending": True})},
    "deleted": lambda e: {"payload": as_pushed(e, deleted=True)},
    "no event": lambda _: {"payload": {"notification": {}}},
    "no payload": lambda _: {},
}


@pytest.mark.parametrize("unfit", UNFIT)
async def test_a_push_that_does_not_fit_the_last_write_only_makes_the_event_due(
    program: Program, town: Town, unfit: str
) -> None:
    event = town.resident().event("default", age=timedelta(minutes=1), stuck=True)
    town.move_in()
    await looked_at(program, town)
    push(town, "conferencing_assigned", event, **UNFIT[unfit](event))
    done = await program("run", "--json")
    assert (done.json["causes"], done.json["events"]["read"]) == ({"settling": 1}, 1), done
    await looked_at(program, town)


async def test_a_link_of_another_provider_than_asked_for_is_looked_at(program: Program, town: Town) -> None:
    who = town.resident()
    event = who.event(who.connect("go_to"), age=timedelta(minutes=1), stuck=True)
    town.move_in()
    await looked_at(program, town)  # the roster is on record now
    push(town, "conferencing_assigned", event, payload=as_pushed(event))
    assert (await program("run", "--json")).json["causes"] == {"settling": 1}


async def test_what_was_pushed_is_not_spent_by_a_dry_run_nor_by_an_account_that_cannot_be_read(
    program: Program, town: Town
) -> None:
    who = town.resident()
    event = who.event(who.connect(), age=timedelta(minutes=1), stuck=True)
    town.move_in()
    await looked_at(program, town)
    push(town, "conferencing_failing", event)
    assert (await program("run", "--dry-run", "--json")).json["events"]["due"] == 1
    who.account.revoke()
    assert (await program("run", "--json")).json["events"]["due"] == 1
    assert town.query("SELECT count(*) AS n FROM reconciler.notifications WHERE looked_at IS NULL") == [{"n": 1}]
