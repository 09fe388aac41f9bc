"""Requests are scarce: no more of them than the work needs, where it matters first, and every one accounted for."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest

from reconciler.simulator import Fault
from tests.acceptance.program import DAYS_AGO, Done, Planted, Program, Resident, Town

DONE, STOPPED = 0, 5
BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1"}
DAY = timedelta(days=1)


def asked(town: Town, *kinds: str) -> Counter[str]:
    """How often each account was asked for, by these kinds of request."""
    return Counter(str(r.account_id) for r in town.world.requests if r.kind in kinds)


def by_kind(town: Town) -> dict[str, int]:
    """What Cronofy was asked, kind by kind."""
    return dict(Counter(request.kind for request in town.world.requests))


def assert_counted(town: Town, done: Done) -> None:
    """The summary's counts are the simulator's records."""
    counted = {k: n for k, n in done.json["requests"].items() if n and k not in {"total", "retried", "refused"}}
    assert counted == by_kind(town)
    assert done.json["requests"]["total"] == len(town.world.requests)


# ---------------------------------------------------------------- the optimum of one who knows everything


def pages_of(events: Sequence[Planted], first: date, last: date, page_size: int) -> int:
    """What listing these days costs: Cronofy shows what starts before their end and ends on or after their start."""
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    until = datetime(last.year, last.month, last.day, tzinfo=UTC) + DAY
    shown = sum(bool(e.row["starts_at"] < until and e.row["ends_at"] >= since) for e in events)
    return max(1, -(-shown // page_size))


def fewest_listings(events: Sequence[Planted], due: Sequence[Planted], page_size: int) -> int:
    """The fewest requests that show all due events: every way to part their days into windows is looked at."""
    days = sorted({event.row["starts_at"].date() for event in due})
    best = [0]
    for end in range(len(days)):
        best.append(min(best[b] + pages_of(events, days[b], days[end], page_size) for b in range(end + 1)))
    return best[-1]


def calendar_of(town: Town, chance: random.Random) -> tuple[Resident, list[Planted]]:
    """Somebody with 5 to 300 managed events, of which 1 to 6 are due; the other ones ask for no conferencing."""
    who = town.resident()
    zoom = who.connect()
    moments = [timedelta(days=1, minutes=chance.randrange(195 * 24 * 60)) for _ in range(chance.randint(5, 300))]
    number = chance.randint(1, 6)
    due = []
    for n, starts_in in enumerate(moments):
        if n >= number:
            who.event(None, starts_in=starts_in)
        elif chance.random() < 0.5:
            due.append(who.event(zoom, starts_in=starts_in, link=True))
        else:
            due.append(who.event(zoom, starts_in=starts_in, age=DAYS_AGO, stuck=True))
    return who, due


@pytest.mark.parametrize("page_size", [50, 100])
async def test_hardly_more_requests_than_one_who_knows_everything(program: Program, town: Town, page_size: int) -> None:
    chance = random.Random(page_size)
    town.world.settings.page_size = page_size
    optimum = 0
    for _ in range(30):
        who, due = calendar_of(town, chance)
        optimum += fewest_listings(who.planted, due, page_size)
        optimum += any(event.event.join_url is None for event in due)
    town.move_in()
    done = await program("run", "--json")
    assert done.code == DONE, done.err
    assert done.json["events"]["read"] == done.json["events"]["due"]
    assert len(town.world.requests) <= 1.10 * optimum
    assert_counted(town, done)


async def test_userinfo_is_asked_once_where_something_waits_and_else_not_at_all(program: Program, town: Town) -> None:
    linked: list[str] = []
    waiting: list[str] = []
    for n in range(12):
        who = town.resident()
        zoom = who.connect(connected=n % 3 != 1)
        (waiting if n % 3 else linked).append(who.account.account_id)
        for k in range(4):
            pending = bool(n % 3) and k != 1
            who.event(zoom, age=DAYS_AGO, link=not pending, stuck=pending, starts_in=timedelta(days=3 + 20 * k))
    town.move_in()
    done = await program("run", "--json")
    assert done.code == DONE, done.err
    assert asked(town, "userinfo") == dict.fromkeys(waiting, 1)
    assert asked(town, "events") == dict.fromkeys(linked + waiting, 1)
    assert_counted(town, done)


async def test_repairs_of_one_account_travel_together(program: Program, town: Town) -> None:
    wanted = {}
    for number in (1, 2, 7, 50, 60):
        who = town.resident()
        who.connect()
        for _ in range(number):
            who.event("pro_gone", age=DAYS_AGO, stuck=True)
        wanted[who.account.account_id] = number
    town.move_in()
    done = await program("run", "--json", env={**BOLD, "RECONCILER_CONCURRENCY": "1"})
    assert done.code == DONE, done.err
    sent: dict[str, list[int]] = {}
    for request in town.world.requests:
        if request.kind in {"batch", "upsert"}:
            sent.setdefault(str(request.account_id), []).append(request.cost)
    assert {wanted[account]: costs for account, costs in sent.items()} == {
        1: [1], 2: [2], 7: [7], 50: [50], 60: [50, 10],
    }  # fmt: skip
    assert set(asked(town, "userinfo").values()) == {1}
    assert town.world.violations == []
    assert_counted(town, done)


async def test_a_token_about_to_end_is_renewed_ahead(program: Program, town: Town) -> None:
    ending = set()
    for n in range(6):
        seconds = 20 if n % 2 else 3600
        who = town.resident(token_expires_at=town.now + timedelta(seconds=seconds))
        who.event(who.connect(), link=True)
        if n % 2:
            who.account.expire_token()
            ending.add(who.account.account_id)
    town.move_in()
    done = await program("run", "--json")
    assert done.code == DONE, done.err
    assert {request.status for request in town.world.requests} == {200}
    assert asked(town, "token") == dict.fromkeys(ending, 1)
    assert asked(town, "events").total() == 6
    assert_counted(town, done)


async def test_the_soonest_are_served_first(program: Program, town: Town) -> None:
    hours = list(range(26, 26 + 60))
    random.Random(5).shuffle(hours)
    for n in hours:
        who = town.resident()
        who.event(who.connect(), link=True, starts_in=timedelta(hours=n))
        who.event(who.connect("go_to"), link=True, starts_in=timedelta(days=150 - n))
    town.move_in()
    env = {"RECONCILER_RATE_PER_SECOND": "12", "RECONCILER_RATE_SHARE": "1", "RECONCILER_CONCURRENCY": "4"}
    done = await program("run", "--json", "--max-duration", "1s", env=env)
    assert done.code == STOPPED
    soonest = [who.account.account_id for _, who in sorted(zip(hours, town.residents, strict=True), key=lambda p: p[0])]
    served = asked(town, "events")
    assert 0 < len(served) < 40
    assert set(served) == set(soonest[: len(served)])
    assert done.json["accounts"]["done"] == len(served)
    assert_counted(town, done)


async def test_requests_that_fail_are_counted_as_they_were_sent(program: Program, town: Town) -> None:
    for n in range(6):
        who = town.resident()
        who.event("pro_gone", age=DAYS_AGO, stuck=True)
        who.connect()
        whose = who.account.account_id
        for fault in (
            Fault("status", status=500, times=n % 3, match_path="^/v1/events", account_id=whose),
            Fault("reset", times=n % 2, match_path="^/v1/userinfo", account_id=whose),
            Fault("reset", times=n % 2, match_path="^/v1/calendars", account_id=whose, after_commit=True),
        ):
            town.world.faults.add(fault)
    town.move_in()
    done = await program("run", "--json", env=BOLD)
    assert done.code == DONE, done.err
    assert done.json["requests"]["retried"] == 6 + 3
    assert_counted(town, done)


async def test_status_says_how_many_requests_are_left_in_this_minute(program: Program, town: Town) -> None:
    env = {"RECONCILER_RATE_PER_MINUTE": "100", "RECONCILER_RATE_SHARE": "0.5"}

    async def budget() -> dict[str, float]:
        shown: dict[str, float] = (await program("status", "--json", env=env)).json["budget"]
        return shown

    idle = await budget()
    assert (idle["left_this_minute"], idle["per_minute"], idle["pace"]) == (50, 50, 1)
    who = town.resident()
    who.event(who.connect(), link=True)
    town.move_in()
    assert (await program("run", env=env)).code == DONE
    assert (await budget())["left_this_minute"] == 50 - len(town.world.requests)
    set_back = "UPDATE reconciler.request_budget SET pace = 0.5, pace_at = seen_at - %s, hold_until = seen_at + %s"
    town.query(set_back, 0, 3600)
    assert (await budget())["left_this_minute"] == 0
    told = (await program("status", env=env)).out
    assert "request budget: 0 of 50 requests left in this minute, pace 50%, held for 3" in told
    town.query(set_back, 3600, -3600)
    town.query("UPDATE reconciler.request_slots SET starts_at = starts_at - 60")
    assert await budget() == idle
    assert (await program("status", "--json", env={"RECONCILER_CRONOFY_CLIENT_ID": None})).json["budget"] is None
