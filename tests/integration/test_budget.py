"""The allowance that all processes share: what it promises, on a real Postgres, by a clock that a test can set.

The functions call `clock_timestamp()` by its bare name, so a schema before `pg_catalog` can put another in its place.
"""

import asyncio
import heapq
import math
import random
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cronofy import limits
from reconciler.cronofy.pacing import Pacer
from reconciler.cronofy.retry import ATTEMPTS
from reconciler.ports import AccountUnreadable
from reconciler.postgres.budget import SharedBudget, pace_of
from reconciler.postgres.locks import Locks
from reconciler.postgres.pool import Pool, open_pool
from reconciler.postgres.status_reader import client_key
from reconciler.simulator.limits import Limits
from reconciler.simulator.settings import Settings
from tests.acceptance.program import fresh_database, query
from tests.fakes import FakeBudget, FakeMeter, FakeSleep

SECOND, MINUTE = 1.0, 60.0
MICROSECOND = 1e-6
"""Postgres tells the time in these; two starts that far from a window apart are not within it."""

Start = tuple[float, int]
"""When something started, and what it cost."""


def worst(starts: Iterable[Start], window: float) -> int:
    """The most that any sliding window held."""
    within: deque[Start] = deque()
    total = most = 0
    for at, cost in sorted(starts):
        within.append((at, cost))
        total += cost
        while at - within[0][0] >= window - 5 * MICROSECOND:
            total -= within.popleft()[1]
        most = max(most, total)
    return most


# ---------------------------------------------------------------- the arithmetic


allowances = st.floats(min_value=1, max_value=20_000) | st.integers(min_value=1, max_value=20_000).map(float)


@given(allowances, allowances)
def test_a_pace_leaves_little_of_what_is_allowed(per_second: float, per_minute: float) -> None:
    pace = pace_of(per_second, per_minute)
    assert SECOND + 0.05 <= math.floor(per_second) * pace.interval <= SECOND / 0.91
    assert 0.985 * math.floor(per_minute) <= pace.most * MINUTE / pace.minute < per_minute


@given(st.floats(min_value=0.01, max_value=1, exclude_max=True))
def test_less_than_one_request_in_a_window_is_one_in_a_longer_window(allowance: float) -> None:
    assert pace_of(allowance, 500).interval >= SECOND / allowance
    assert pace_of(allowance, allowance).interval >= MINUTE / allowance


@given(st.floats(min_value=0.01, max_value=5_000), st.floats(min_value=0.01, max_value=50_000))
def test_a_batch_is_no_larger_than_may_start_at_once(per_second: float, per_minute: float) -> None:
    size = limits.batch_size(per_second, per_minute, 50)
    assert 1 <= size <= 50
    assert size == 1 or size <= min(per_second, per_minute)


# ---------------------------------------------------------------- by a clock of our own

_OTHER_CLOCK = """
CREATE SCHEMA other;
CREATE FUNCTION other.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
$$ SELECT to_timestamp(current_setting('other.now')::float8) $$;
"""
_NOON = 1_772_452_800.0
_KEYS = count()


@dataclass
class Books:
    """One application's row, and the time by which it is kept."""

    connection: "psycopg.Connection[tuple[float]]"
    per_second: float
    per_minute: float
    now: float = _NOON
    key: str = field(default_factory=lambda: f"client-{next(_KEYS)}")

    def _tell(self, sql: str, *arguments: object) -> float:
        self.connection.execute("SELECT set_config('other.now', %s, false)", [f"{self.now:.6f}"])
        row = self.connection.execute(sql.encode(), arguments).fetchone()
        assert row is not None
        return row[0]

    def reserve(self, cost: int = 1) -> float:
        """Seconds to wait for so many."""
        pace = pace_of(self.per_second, self.per_minute)
        return self._tell(
            "SELECT * FROM reconciler.reserve_slots(%s, %s, %s, %s, %s)",
            self.key, [cost], pace.interval, pace.most, pace.minute,
        )  # fmt: skip

    def hold(self, seconds: float) -> None:
        """All keep still."""
        self._tell("SELECT 0 FROM reconciler.hold_requests(%s, %s)", self.key, seconds)

    def rush(self, requests: int, cost: int = 1) -> list[Start]:
        """What starts when so many ask at this moment."""
        return [(self.now + self.reserve(cost), cost) for _ in range(requests)]

    def gap(self) -> float:
        """The time between two starts at present."""
        (one, _), (two, _) = self.rush(2)
        return two - one


@pytest.fixture(scope="module")
def clockwork(server: str, template: str) -> Iterator["psycopg.Connection[tuple[float]]"]:
    """A connection that goes by `other.now`."""
    with fresh_database(server, template) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_OTHER_CLOCK.encode())
        connection.execute("SET search_path = other, pg_catalog")
        yield connection


steps = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.001, 0.03, 0.4, 2.0, 70.0]), st.integers(min_value=1, max_value=50)),
    min_size=1,
    max_size=80,
)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(min_value=1, max_value=60),
    st.floats(min_value=1, max_value=600),
    steps,
    st.lists(st.integers(min_value=0, max_value=79), max_size=2),
)
def test_whoever_asks_when_and_for_how_much_no_window_holds_more_than_allowed(
    clockwork: "psycopg.Connection[tuple[float]]",
    per_second: float,
    per_minute: float,
    asked: list[tuple[float, int]],
    refused: list[int],
) -> None:
    books = Books(clockwork, per_second, per_minute)
    largest = limits.batch_size(per_second, per_minute, 50)
    starts: list[Start] = []
    for step, (elapsed, cost) in enumerate(asked):
        books.now += elapsed
        if step in refused:
            starts = [start for start in starts if start[0] <= books.now]  # who still waits asks again
            books.hold(3.0)
        taken = min(cost, largest)
        starts.append((books.now + books.reserve(taken), taken))
    assert worst(starts, SECOND) <= per_second
    assert worst(starts, MINUTE) <= per_minute


@pytest.mark.parametrize("per_second, per_minute", [(50, 500), (25, 250), (2, 60), (2.5, 12.5), (100, 20)])
def test_a_crowd_uses_nearly_all_that_is_allowed(
    clockwork: "psycopg.Connection[tuple[float]]", per_second: float, per_minute: float
) -> None:
    starts = Books(clockwork, per_second, per_minute).rush(int(4 * per_minute))
    assert worst(starts, SECOND) <= per_second
    assert worst(starts, MINUTE) <= per_minute
    every_minute = starts[:: math.floor(per_minute)]
    assert (every_minute[-1][0] - every_minute[0][0]) / (len(every_minute) - 1) <= MINUTE / 0.985


def test_a_quiet_minute_is_used_at_the_pace_of_the_second(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    books = Books(clockwork, 25, 250)
    first = books.rush(250)
    assert first[-1][0] - first[0][0] <= 250 / 25 / 0.91
    books.now = first[-1][0] + MINUTE / 2
    assert books.reserve() == pytest.approx(first[0][0] + MINUTE - books.now, abs=1)
    books.now = first[-1][0] + 2 * MINUTE
    assert books.rush(250)[-1][0] - books.now <= 250 / 25 / 0.91


def test_what_an_older_version_started_is_taken_for_a_full_minute(
    clockwork: "psycopg.Connection[tuple[float]]",
) -> None:
    books = Books(clockwork, 25, 250)
    clockwork.execute(
        "INSERT INTO reconciler.request_budget (client_key, minute_free, second_free, seen_at) VALUES (%s, %s, %s, %s)",
        (books.key, books.now - 5, books.now - 5, books.now - 5),
    )
    assert books.reserve() == pytest.approx(MINUTE - 5, abs=1)


def test_those_who_ask_as_before_share_what_is_left(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    books = Books(clockwork, 25, 100)
    for _ in range(40):
        books._tell("SELECT reconciler.reserve_requests(%s, 1, %s, 1, %s, 1)", books.key, 1 / 23, 60 / 100)
    assert books.rush(60)[-1][0] - books.now <= 100 / 23 + 1
    assert books.reserve() >= MINUTE - 100 / 23 - 1


def test_a_second_is_used_nearly_whole_too(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    starts = Books(clockwork, 40, 100_000).rush(400)
    assert worst(starts, SECOND) <= 40
    assert len(starts) / (starts[-1][0] - starts[0][0]) >= 0.9 * 40


def test_a_batch_counts_for_what_it_holds(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    one_by_one, together = Books(clockwork, 40, 100_000), Books(clockwork, 40, 100_000)
    ten = one_by_one.rush(11)[-1][0]
    assert together.reserve(10) == 0
    assert together.now + together.reserve(1) == pytest.approx(ten, abs=1e-3)
    again = together.now + together.reserve(10)
    assert worst([(together.now, 10), (ten, 1), (again, 10)], SECOND) <= 40


def test_a_429_stops_all_halves_the_pace_and_it_comes_back(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    books = Books(clockwork, 40, 100_000)
    usual = books.gap()
    books.now += 5
    books.hold(10)
    books.hold(10)  # the answer to what was under way: no second step
    assert books.reserve() == pytest.approx(10)
    assert books.gap() == pytest.approx(2 * usual, rel=0.02)
    books.now += 10 + 30
    assert books.gap() == pytest.approx(2**0.5 * usual, rel=0.02)
    books.now += 30
    assert books.gap() == pytest.approx(usual, rel=0.02)
    books.now += 86_400 * 365
    assert books.gap() == pytest.approx(usual, rel=0.02)


def test_429s_close_together_slow_down_less_and_never_to_a_stop(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    books = Books(clockwork, 40, 100_000)
    usual = books.gap()
    for _ in range(2):
        books.now += 2
        books.hold(1)
    books.now += 1
    assert usual / books.gap() == pytest.approx(0.5 * 0.7, rel=0.05)
    for _ in range(50):
        books.now += 2
        books.hold(1)
    assert usual / books.gap() == pytest.approx(0.02, rel=0.2)


def test_the_end_of_a_pause_is_no_burst(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    books = Books(clockwork, 50, 500)
    books.hold(30)
    first = books.rush(5)
    assert first[0][0] == pytest.approx(books.now + 30)
    assert first[4][0] - first[0][0] >= 4 * 2 * 60 / 500


def test_a_clock_that_is_set_back_or_forth_makes_nobody_wait(clockwork: "psycopg.Connection[tuple[float]]") -> None:
    books = Books(clockwork, 40, 400)
    books.rush(20)
    books.now -= 3600
    waits = [start - books.now for start, _ in books.rush(20)]
    assert max(waits) <= 40 / 40 / 0.91
    books.now += 7200
    books.hold(5)
    books.now -= 3600
    assert books.reserve() <= 6


def test_the_databases_clock_rules(
    clockwork: "psycopg.Connection[tuple[float]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(clockwork, 2, 100_000, now=86_400.0)
    books.rush(10)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert 4.5 <= books.reserve() <= 6
    books.now += 100
    assert books.reserve() == 0


# ---------------------------------------------------------------- a server that grants less


@dataclass
class Toll:
    """What it cost to get all requests answered."""

    asked: int = 0
    refused: int = 0
    given_up: int = 0


def drive(books: Books, granted: Settings, requests: int, waiters: int = 16) -> Toll:
    """So many waiters carry out requests against the simulator's limits; every second is that of the books."""
    chance, toll, holds = random.Random(granted.rate_per_minute), Toll(), 0
    served = Limits(granted, lambda: books.now)
    # when, whose turn, attempt, and how many pauses had been heard when the place was given (none: asks for one)
    turns: list[tuple[float, int, int, int | None]] = [(books.now, n, 1, None) for n in range(waiters)]
    left = requests - waiters
    while turns:
        books.now, waiter, attempt, heard = heapq.heappop(turns)
        if heard != holds:
            heapq.heappush(turns, (books.now + books.reserve(), waiter, attempt, holds))
            continue
        toll.asked += 1
        wait = served.arrive()
        if wait is None or attempt == ATTEMPTS:
            toll.refused += wait is not None
            toll.given_up += wait is not None
            if left > 0:
                left -= 1
                heapq.heappush(turns, (books.now, waiter, 1, None))
            continue
        toll.refused += 1
        asked = served.headers(wait).get("Retry-After", "")
        pause = float(asked) if asked.isdigit() else limits.pause_after_429(attempt, chance.random())
        books.hold(min(pause, limits.LONGEST_WAIT))
        holds += 1
        heapq.heappush(turns, (books.now + pause, waiter, attempt + 1, None))
    return toll


@pytest.mark.parametrize("retry_after", ["seconds", "none"])
@pytest.mark.parametrize("window", ["sliding", "fixed"])
@pytest.mark.parametrize("per_second, per_minute", [(50, 200), (50, 50), (50, 20), (5, 500), (1, 60)])
def test_a_server_that_grants_far_less_refuses_few_and_answers_all(
    clockwork: "psycopg.Connection[tuple[float]]", per_second: int, per_minute: int, window: str, retry_after: str
) -> None:
    granted = Settings()
    granted.change(
        {
            "rate_per_second": per_second,
            "rate_per_minute": per_minute,
            "rate_window": window,
            "retry_after": retry_after,
        }
    )
    toll = drive(Books(clockwork, 50, 500), granted, requests=400)
    assert toll.given_up == 0
    assert toll.refused <= toll.asked / 6


# ---------------------------------------------------------------- many waiters, several processes

_WAITERS = """
import asyncio, sys, time
from reconciler.cronofy.pacing import Pacer
from reconciler.postgres.budget import SharedBudget
from reconciler.postgres.pool import open_pool

class Meter:
    def count(self, kind, cost=1): pass

async def main(dsn, waiters, each):
    async with open_pool(dsn, 2) as pool:
        pacer = Pacer(SharedBudget(pool, "shared", 40, 100_000), Meter(), asyncio.sleep, time.monotonic)
        async def one():
            for _ in range(each):
                await pacer.pace("events")
                print(time.monotonic())
        await asyncio.gather(*(one() for _ in range(waiters)))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""
"""Prints when its requests start, on the clock that all processes of a machine share."""


@pytest.mark.parametrize("processes", [1, 3])
async def test_no_sliding_second_holds_more_than_allowed_whoever_waits(database: str, processes: int) -> None:
    each = 6 // processes
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WAITERS, database, "25", str(each), stdout=asyncio.subprocess.PIPE
        )
        for _ in range(processes)
    ]
    printed = await asyncio.gather(*(process.communicate() for process in started))
    assert [process.returncode for process in started] == [0] * processes
    starts = [(float(line), 1) for out, _ in printed for line in out.split()]
    assert len(starts) == 25 * each * processes
    assert worst(starts, SECOND) <= 40


@asynccontextmanager
async def waiting(pool: Pool, waiters: int) -> AsyncIterator[tuple[SharedBudget, list[float]]]:
    """So many have reserved and sleep, until the end of the block."""
    sleeping: list[float] = []
    all_there, wake = asyncio.Condition(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        sleeping.append(seconds)
        async with all_there:
            all_there.notify_all()
        await wake.wait()

    budget = SharedBudget(pool, "crowd", 1, 60)
    pacer = Pacer(budget, FakeMeter(), sleep, lambda: 0.0)
    async with asyncio.TaskGroup() as group:
        for _ in range(waiters):
            group.create_task(pacer.pace("events"))
        async with all_there:  # the first may start at once
            await all_there.wait_for(lambda: len(sleeping) == waiters - 1)
        yield budget, sleeping
        wake.set()


async def test_no_connection_is_held_while_waiting(database: str) -> None:
    async with open_pool(database, 2) as pool, waiting(pool, 50) as (_, sleeping):
        assert max(sleeping) >= 45
        assert pool.get_idle_size() == pool.get_size() <= 2
        assert await pool.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'tuple'") == 0
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_pause_reaches_those_who_wait_in_another_process(database: str) -> None:
    heard = asyncio.Event()
    async with open_pool(database, 2) as here, open_pool(database, 2) as there:
        budget = SharedBudget(here, "shared", 40, 100_000)
        locks = await Locks.open(database)

        def hear(key: str) -> None:
            budget.hear_hold(key)
            if key == client_key("shared"):
                heard.set()

        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 1:
                await SharedBudget(there, "others", 40, 100_000).hold(50)
                await SharedBudget(there, "shared", 40, 100_000).hold(5)
                await heard.wait()

        try:
            await locks.listen_for_holds(hear)
            await budget.reserve(30)
            await Pacer(budget, FakeMeter(), sleep, lambda: 0.0).pace("events")
        finally:
            await locks.close()
    assert len(slept) == 2
    assert slept[0] < 1
    assert 4 < slept[1] <= 5.1
    assert query(database, "SELECT holds FROM reconciler.request_budget WHERE holds <> 1") == []


async def test_what_is_heard_without_being_on_record_is_no_pause(database: str) -> None:
    """Anybody in the database may say that there is one, as often as they like."""
    told = 0

    async with open_pool(database, 2) as pool:
        budget = SharedBudget(pool, "shared", 1, 60)
        locks = await Locks.open(database)
        heard = asyncio.Event()

        def hear(key: str) -> None:
            nonlocal told
            told += 1
            budget.hear_hold(key)
            if told == 101:
                heard.set()

        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            for _ in range(100):  # equal ones of one transaction would be merged
                query(database, "SELECT pg_notify('reconciler_hold', %s)", client_key("shared"))
            await heard.wait()

        try:
            await locks.listen_for_holds(hear)
            await budget.hold(0.5)
            pacer = Pacer(budget, FakeMeter(), sleep, lambda: 0.0)
            before = await pacer.pauses()
            assert await pacer.pace("upsert", give_way=True)
            assert await pacer.pauses() == before
        finally:
            await locks.close()
    assert (len(slept), told) == (1, 101)


async def test_pauses_without_end_keep_no_request_waiting_without_end() -> None:
    budget = FakeBudget()

    async def sleep(seconds: float) -> None:
        budget.waits.append(1.0)
        await budget.hold(seconds)

    budget.waits.append(1.0)
    with pytest.raises(AccountUnreadable, match="100 pauses"):
        await Pacer(budget, FakeMeter(), sleep, lambda: 0.0).pace("events")


async def test_a_database_that_is_far_away_makes_nobody_miss_a_place() -> None:
    """The way there and back is not lateness: it is the same for all, so they start as far apart as they should."""
    moment = 0.0

    class FarAway(FakeBudget):
        async def reserve(self, cost: int) -> float:
            nonlocal moment
            moment += 0.2
            return await super().reserve(cost)

    async def sleep(seconds: float) -> None:
        nonlocal moment
        moment += seconds
        await FakeSleep()(seconds)

    budget = FarAway([1.0, 2.0, 3.0])
    pacer = Pacer(budget, FakeMeter(), sleep, lambda: moment)
    for _ in range(3):
        await pacer.pace("events")
    assert budget.reserved == [1, 1, 1]
