"""Rosters that lose every profile at once: what rests on them waits, and is left where too many do."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.acceptance.program import HOURS_AGO, Planted, Program, Town

REFUSED = 4
SHARED = {"RECONCILER_ENGINE": "pgqueuer"}
ONE_AT_A_TIME = {"RECONCILER_CONCURRENCY": "1"}
WAYS = pytest.mark.parametrize(
    "env",
    [
        pytest.param({}, id="many at a time"),
        pytest.param(ONE_AT_A_TIME, id="one at a time"),
        pytest.param(SHARED, id="pgqueuer"),
    ],
)
EVERYTHING = ("--starting-after", "0s")


def people(town: Town, many: int, *, first: timedelta = timedelta(days=3)) -> list[Planted]:
    """As many people, each with one Zoom profile and an event that waits for its link, in this order."""
    events = []
    for number in range(many):
        who = town.resident()
        events.append(who.event(who.connect(), starts_in=first + timedelta(hours=number), stuck=True))
    return events


def lose(events: Sequence[Planted]) -> None:
    """Userinfo lists no conferencing profile of these people any more."""
    for event in events:
        event.resident.account.conferencing_profiles.clear()


def written(town: Town) -> set[str]:
    """The events that were written again."""
    return {"/".join(key) for key, event in town.world.events.items() if event.writes}


def names(events: Sequence[Planted]) -> set[str]:
    return {event.name for event in events}


@WAYS
async def test_where_all_lose_everything_nothing_is_written_and_nobody_is_told(
    program: Program, town: Town, env: dict[str, str]
) -> None:
    events = people(town, 12)
    linked = events[3].resident.event("integrated", starts_in=timedelta(days=5), stuck=True)
    town.move_in()
    assert (await program("run", *EVERYTHING)).code == 0
    lose(events)
    linked.event.assign()
    before = town.states()
    for night in ("one", "two"):  # what was not believed is no yardstick for the next run
        done = await program("run", "--json", "--run-key", night, *EVERYTHING, env=env)
        assert done.code == REFUSED, done
        (line,) = done.complaints
        assert "12 of 12 accounts lost every conferencing profile" in line
        assert done.json["accounts"] == {"due": 12, "done": 0, "failed": 0, "parked": 0, "left": 12}
    assert written(town) == set()
    assert town.notices() == []
    after = town.states()
    assert after.pop(linked.key)["cause"] == "assigned"  # this rests on no roster
    before.pop(linked.key)
    assert after == before
    assert (await program("audit", "verify")).code == 0


async def test_what_was_not_believed_can_be_carried_out_on_somebodys_word(program: Program, town: Town) -> None:
    events = people(town, 6)
    town.move_in()
    assert (await program("run", *EVERYTHING)).code == 0
    lose(events)
    refused = await program("run", "--json", *EVERYTHING)
    assert refused.code == REFUSED
    applied = await program("apply", refused.json["plan_id"], "--json")
    assert (applied.code, applied.json["asked"]["carried_out"]) == (0, 6), applied
    assert written(town) == names(events)
    again = await program("run", "--json", *EVERYTHING)
    assert again.code == 0, again  # they are on record as they are now


async def test_a_plan_says_that_the_rosters_are_not_to_be_believed(program: Program, town: Town) -> None:
    events = people(town, 8)
    town.move_in()
    assert (await program("run", *EVERYTHING)).code == 0
    lose(events)
    planned = await program("plan", "--json", *EVERYTHING)
    assert planned.code == REFUSED, planned
    assert "8 of 8 accounts" in planned.err
    assert len(planned.json["items"]) == 8


@WAYS
@pytest.mark.parametrize("soonest", [True, False], ids=["the soonest", "the latest"])
async def test_a_few_who_lose_everything_are_helped_whoever_comes_first(
    program: Program, town: Town, env: dict[str, str], soonest: bool
) -> None:
    """Six of thirty: many, but under the limit."""
    events = people(town, 30)
    few = events[:6] if soonest else events[-6:]
    town.move_in()
    assert (await program("run", *EVERYTHING)).code == 0
    lose(few)
    done = await program("run", "--json", "--run-key", "night", *EVERYTHING, env=env)
    assert done.code == 0, done
    assert done.json["accounts"] == {"due": 30, "done": 30, "failed": 0, "parked": 0, "left": 0}
    assert written(town) == names(few)
    assert all(len(event.event.writes) == 1 for event in few)
    assert (done.json["outcomes"]["repaired"], done.json["causes"]["profile_removed"]) == (6, 6)
    assert (await program("audit", "verify")).code == (await program("audit", "replay")).code == 0


@pytest.mark.parametrize("lost", [2, 6])
async def test_a_repair_by_a_roster_that_lists_something_waits_while_others_lose_everything(
    program: Program, town: Town, lost: int
) -> None:
    """The first two in line lose all, and five of them are as many as it takes."""
    events = people(town, 14)
    hers = events[7].resident.event("pro_gone", age=HOURS_AGO, starts_in=timedelta(days=3, hours=7), stuck=True)
    town.move_in()
    assert (await program("run", *EVERYTHING, env={"RECONCILER_GRACE": "90d"})).code == 0  # who is who, and no repair
    lose(events[:lost])
    done = await program("run", "--json", *EVERYTHING, env=ONE_AT_A_TIME)
    if lost == 2:
        assert done.code == 0, done
        assert written(town) == names([*events[:2], hers])
    else:
        assert done.code == REFUSED, done
        assert written(town) == set()
        assert (await program("explain", *hers.key)).code == 0


async def test_below_five_accounts_lost_profiles_are_their_own_affair(program: Program, town: Town) -> None:
    events = people(town, 4)
    town.move_in()
    assert (await program("run", *EVERYTHING)).code == 0
    lose(events)
    done = await program("run", "--json", *EVERYTHING)
    assert (done.code, done.json["outcomes"]["repaired"]) == (0, 4), done
    assert done.json["requests"]["events"] == 4  # nothing to wait for


async def test_on_request_each_line_says_what_became_of_an_event_that_waited(program: Program, town: Town) -> None:
    events = people(town, 30)
    town.move_in()
    assert (await program("run", *EVERYTHING)).code == 0
    lose(events[:1])
    done = await program("run", "-v", *EVERYTHING)
    assert done.code == 0, done
    lines = [line for line in done.err.splitlines() if line.startswith(events[0].name)]
    assert len(lines) == 2
    assert lines[0].endswith(", waits until all accounts are through")
    assert lines[1].endswith("reupsert integrated")
