"""Accounts that Cronofy refuses: parked one by one, but not where it refuses many at once, be it by a proxy's 403."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from reconciler.simulator import Fault
from tests.acceptance.program import DAYS_AGO, Planted, Program, Town

DONE, REFUSED = 0, 4
ENGINES = pytest.mark.parametrize(
    "env",
    [
        pytest.param({}, id="many at a time"),
        pytest.param({"RECONCILER_CONCURRENCY": "1"}, id="one at a time"),
        pytest.param({"RECONCILER_ENGINE": "pgqueuer"}, id="pgqueuer"),
    ],
)
EVERYTHING = ("--starting-after", "0s")


def people(town: Town, many: int, asked: str | None = None) -> list[Planted]:
    """As many people, each with a Zoom profile and an event that waits for its link, in this order."""
    events = []
    for number in range(many):
        who = town.resident()
        zoom = who.connect()
        events.append(who.event(asked or zoom, age=DAYS_AGO, starts_in=timedelta(days=3, hours=number), stuck=True))
    town.move_in()
    return events


def forbid_everything(town: Town, _: list[Planted]) -> None:
    town.world.faults.add(Fault("html", status=403))


def forbid_the_api(town: Town, _: list[Planted]) -> None:
    town.world.faults.add(Fault("status", status=403, body={"error": "forbidden"}, match_path="^/v1/"))


def forbid_rosters(town: Town, _: list[Planted]) -> None:
    town.world.faults.add(Fault("html", status=403, match_path="^/v1/userinfo"))


def forbid_writes(town: Town, _: list[Planted]) -> None:
    town.world.faults.add(Fault("html", status=403, match_path="^/v1/calendars/"))


def end_every_grant(_: Town, events: list[Planted]) -> None:
    for event in events:
        event.resident.account.revoke()


def take_every_token(town: Town, _: list[Planted]) -> None:
    town.query("UPDATE reconciler.accounts SET access_token = NULL, refresh_token = NULL")


def parked(town: Town) -> set[str]:
    rows = town.query("SELECT account_id FROM reconciler.accounts WHERE state = 'parked'")
    return {row["account_id"] for row in rows}


def accounts(events: list[Planted]) -> set[str]:
    return {event.row["account_id"] for event in events}


@pytest.mark.parametrize(
    "happen", [forbid_everything, forbid_the_api, forbid_rosters, forbid_writes, end_every_grant, take_every_token]
)
async def test_where_everybody_is_refused_nobody_is_parked_and_nobody_is_told(
    program: Program, town: Town, happen: Callable[[Town, list[Planted]], None]
) -> None:
    events = people(town, 8, asked="pro_gone" if happen is forbid_writes else None)
    happen(town, events)
    for night in ("one", "two"):
        done = await program("run", "--json", "--run-key", night, *EVERYTHING)
        assert done.code == REFUSED, done
        (line,) = done.complaints
        assert "8 of 8 accounts were refused" in line
        assert done.json["accounts"] == {"due": 8, "done": 0, "failed": 0, "parked": 0, "left": 8}
        assert done.json["causes"] == {}
    assert parked(town) == set()
    assert town.notices() == []
    assert {row["cause"] for row in town.states().values()} <= {"profile_removed"}
    town.world.faults.clear()
    if happen in {end_every_grant, take_every_token}:
        return
    after = await program("run", "--json", *EVERYTHING)  # the proxy lets us through again
    assert (after.code, after.json["accounts"]["done"]) == (DONE, 8), after
    assert (await program("audit", "verify")).code == (await program("audit", "replay")).code == 0


@ENGINES
async def test_some_who_are_refused_are_parked_and_told(program: Program, town: Town, env: dict[str, str]) -> None:
    """Five of thirty: many, but under the limit."""
    events = people(town, 30)
    few = [*events[:3], *events[-2:]]
    for event in few:
        event.resident.account.revoke()
    done = await program("run", "--json", "--run-key", "night", *EVERYTHING, env=env)
    assert done.code == DONE, done
    assert done.json["accounts"] == {"due": 30, "done": 25, "failed": 0, "parked": 5, "left": 0}
    assert done.json["causes"]["account_unauthorized"] == 5
    assert parked(town) == accounts(few)
    assert [n["kind"] for n in town.notices()] == ["reauthorize_account"] * 5
    assert (await program("audit", "verify")).code == (await program("audit", "replay")).code == 0


@ENGINES
async def test_more_than_the_limit_are_not_believed(program: Program, town: Town, env: dict[str, str]) -> None:
    events = people(town, 12)
    for event in events[:6]:
        event.resident.account.revoke()
    done = await program("run", "--json", "--run-key", "night", *EVERYTHING, env=env)
    assert done.code == REFUSED, done
    assert "6 of 12 accounts were refused" in done.err
    assert done.json["accounts"] == {"due": 12, "done": 6, "failed": 0, "parked": 0, "left": 6}
    assert (parked(town), town.notices()) == (set(), [])


async def test_below_five_accounts_access_is_their_own_affair(program: Program, town: Town) -> None:
    events = people(town, 4)
    end_every_grant(town, events)
    done = await program("run", "--json", *EVERYTHING)
    assert (done.code, done.json["accounts"]["parked"], len(town.notices())) == (DONE, 4, 4), done


async def test_a_write_that_is_refused_to_a_few_parks_them(program: Program, town: Town) -> None:
    events = people(town, 30)
    few = events[:5]
    for event in few:
        event.resident.account.remove_conferencing_profile(event.row["profile_id"])
    forbid_writes(town, events)
    done = await program("run", "--json", *EVERYTHING)
    assert done.code == DONE, done
    assert (done.json["accounts"]["parked"], done.json["causes"]["account_unauthorized"]) == (5, 5)
    assert parked(town) == accounts(few)
    assert all(event.event.writes == [] for event in events)
    assert (await program("audit", "verify")).code == (await program("audit", "replay")).code == 0


async def test_what_was_not_believed_can_be_carried_out_on_somebodys_word(program: Program, town: Town) -> None:
    events = people(town, 6)
    end_every_grant(town, events)
    refused = await program("run", "--json", *EVERYTHING)
    assert refused.code == REFUSED
    applied = await program("apply", refused.json["plan_id"], "--json")
    assert (applied.code, applied.json["asked"]["carried_out"]) == (DONE, 6), applied
    assert parked(town) == accounts(events)
    assert len(town.notices()) == 6


async def test_a_plan_says_that_it_is_not_to_be_believed(program: Program, town: Town) -> None:
    events = people(town, 6)
    end_every_grant(town, events)
    planned = await program("plan", "--json", *EVERYTHING)
    assert planned.code == REFUSED, planned
    assert "6 of 6 accounts were refused" in planned.err
    assert {item["cause"] for item in planned.json["items"]} == {"account_unauthorized"}


async def test_what_made_an_account_due_is_not_forgotten_over_it(program: Program, town: Town) -> None:
    events = people(town, 6)
    assert (await program("run")).code == DONE
    for event in events:
        town.query(
            "INSERT INTO reconciler.notifications (account_id, type) VALUES (%s, 'profile_disconnected')",
            event.row["account_id"],
        )
    forbid_everything(town, events)
    refused = await program("run", "--json")
    assert (refused.code, refused.json["events"]["due"]) == (REFUSED, 6), refused
    town.world.faults.clear()
    done = await program("run", "--json")
    assert (done.code, done.json["events"]["read"]) == (DONE, 6), done
    assert (await program("run", "--json")).json["events"]["due"] == 0
