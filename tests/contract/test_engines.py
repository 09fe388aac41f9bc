"""What every engine promises of the units of a run, and what the one for many processes promises besides."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import asyncpg
import pytest
from pgqueuer.queries import Queries

from reconciler.cronofy.wire.notifications import pushed_event
from reconciler.cronofy.wire.stored_bodies import stored_body
from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Scope, Unit, UnitError, UnitResult
from reconciler.domain.ids import AccountId, EventKey
from reconciler.domain.notice import Addressee
from reconciler.domain.run import RunClosed, RunRow
from reconciler.pgqueuer.claims import Claims, GuardedBudget
from reconciler.pgqueuer.engine import PgQueuerEngine
from reconciler.pgqueuer.queue import CHANNEL, OwnedQueries, entrypoint
from reconciler.pipeline.engine import LocalEngine
from reconciler.ports import (
    AccountUnreadable,
    ApiUnreachable,
    Engine,
    Intent,
    KeyTaken,
    LocksLost,
    RunStopped,
    SafetyLimits,
)
from reconciler.postgres.case_store import Fence, PostgresCases
from reconciler.postgres.due import DueFilter
from reconciler.postgres.locks import Locks
from reconciler.postgres.pool import Pool, open_connection, open_pool
from reconciler.postgres.run_ledger import RunLedger
from reconciler.postgres.tokens import TokenSafe
from tests.fakes import FakeBudget
from tests.waiting import until

HEARTBEAT = timedelta(seconds=2)
DRAIN_S = 0.3
Work = Callable[[Unit], Awaitable[None]]


@dataclass
class Process:
    """What one process of a run has: its own locks, engine and claims."""

    name: str
    pool: Pool
    ledger: RunLedger
    locks: Locks
    engine: Engine
    store: PostgresCases
    claims: Claims
    worked: list[str] = field(default_factory=list)
    held: set[UUID] = field(default_factory=set)

    async def hold(self, run_id: UUID) -> None:
        """Take part in a run as `pipeline.run` does, if it does not yet."""
        if run_id not in self.held:
            assert await (self.locks.join if self.engine.shared else self.locks.take)(f"run:{run_id}")
            self.held.add(run_id)

    async def begin(self, run_id: UUID) -> None:
        """Take part, and plan the run's work."""
        await self.hold(run_id)
        await self.engine.plan(run_id, datetime.now(UTC))

    async def record(self, unit: Unit) -> None:
        """A unit's result."""
        who = Addressee(unit.account_id, None, None, None)
        entry = AuditEntry(
            tag=AuditTag.ACCOUNT_PARKED, at=datetime.now(UTC), run_id=unit.run_id, account_id=unit.account_id
        )
        await self.store.record(UnitResult(unit, who, datetime.now(UTC), entries=(entry,)))
        self.worked.append(unit.account_id)

    async def work(self, run_id: UUID, stop: asyncio.Event | None = None, work: Work | None = None) -> None:
        """Work a run to its end."""
        await self.engine.work_through(run_id, work or self.record, stop or asyncio.Event())


@asynccontextmanager
async def a_process(dsn: str, kind: str, concurrency: int = 4) -> AsyncIterator[Process]:
    """A process with the engine of that name."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(dsn, 4, idle_s=15))
        locks = await Locks.open(dsn)
        stack.push_async_callback(locks.close)
        ledger = RunLedger(pool, due := DueFilter(timedelta(days=200), Scope()), locks.session)
        claims = Claims(pool, HEARTBEAT)
        engine: Engine = LocalEngine(ledger, locks, concurrency, DRAIN_S)
        if kind == "pgqueuer":
            connection = await open_connection(dsn, "queue")
            stack.push_async_callback(connection.close)
            engine = PgQueuerEngine(connection, pool, ledger, locks, claims, concurrency, HEARTBEAT, DRAIN_S)
        fence = Fence(locks.session, claims.fence if engine.shared else None)
        store = PostgresCases(pool, TokenSafe(()), stored_body, pushed_event, due, SafetyLimits(), fence=fence)
        yield Process(kind, pool, ledger, locks, engine, store, claims)


@pytest.fixture(params=["local", "pgqueuer"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both engines."""
    return str(request.param)


@pytest.fixture
async def process(database: str, kind: str) -> AsyncIterator[Process]:
    """One process, four units at a time."""
    async with a_process(database, kind) as opened:
        yield opened


async def people(pool: Pool, number: int) -> list[str]:
    """Accounts with an event each; soonest start first."""
    names = [f"acc_{i:03d}" for i in range(number)]
    await pool.execute("INSERT INTO reconciler.accounts (account_id) SELECT unnest($1::text[])", names)
    await pool.execute(
        "INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, profile_id) "
        "SELECT 'cal', a, a, now() + interval '1 day' + i * interval '1 minute', 'default' "
        "FROM unnest($1::text[]) WITH ORDINALITY AS t (a, i)",
        names,
    )
    return names


async def a_run(process: Process, key: str | None = "night") -> UUID:
    """A run whose books this process has opened."""
    row = RunRow(uuid4(), key, "schedule", None, {}, dry_run=False, started_at=datetime.now(UTC), policy={})
    await process.hold(row.run_id)
    await process.ledger.start(row, AuditEntry(tag=AuditTag.RUN_STARTED, at=row.started_at, run_id=row.run_id))
    return row.run_id


async def close(ledger: RunLedger, key: str) -> RunClosed | None:
    """Close the books of the run of that key."""
    found = await ledger.of_key(key)
    assert found is not None
    return await ledger.finish(found[0], datetime.now(UTC), {}, lambda _totals, _refusal: "completed")


async def entries(pool: Pool) -> int:
    """How many results were written."""
    return int(await pool.fetchval("SELECT count(*) FROM reconciler.audit_entries WHERE account_id IS NOT NULL"))


async def states(pool: Pool, run_id: UUID) -> dict[str, int]:
    """The units of a run by state."""
    rows = await pool.fetch("SELECT state, count(*) FROM reconciler.run_units WHERE run_id = $1 GROUP BY 1", run_id)
    return {row[0]: row[1] for row in rows}


# ---------------------------------------------------------------- every engine


async def test_every_unit_is_worked_once(process: Process) -> None:
    names = await people(process.pool, 130)
    await process.begin(run_id := await a_run(process))
    await process.work(run_id)
    assert sorted(process.worked) == names
    assert await states(process.pool, run_id) == {"done": 130}
    assert await entries(process.pool) == 130


async def test_the_soonest_deadline_comes_first(database: str, kind: str) -> None:
    async with a_process(database, kind, concurrency=1) as process:
        names = await people(process.pool, 25)
        await process.begin(run_id := await a_run(process))
        await process.work(run_id)
        assert process.worked == names


async def test_planning_again_adds_nothing(process: Process) -> None:
    await people(process.pool, 3)
    await process.begin(run_id := await a_run(process))
    await people_more(process.pool)
    await process.engine.plan(run_id, datetime.now(UTC))
    await process.work(run_id)
    assert len(process.worked) == 3


async def people_more(pool: Pool) -> None:
    """Somebody whose event came after planning."""
    await pool.execute("INSERT INTO reconciler.accounts (account_id) VALUES ('acc_late')")
    await pool.execute(
        "INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, profile_id) "
        "VALUES ('cal', 'late', 'acc_late', now() + interval '1 hour', 'default')"
    )


async def test_a_run_without_work_ends_at_once(process: Process) -> None:
    await process.begin(run_id := await a_run(process))
    await process.work(run_id)
    assert process.worked == []


async def test_no_more_than_the_concurrency_are_worked_at_a_time(process: Process) -> None:
    await people(process.pool, 20)
    await process.begin(run_id := await a_run(process))
    now, most = 0, 0

    async def work(unit: Unit) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        await process.record(unit)
        now -= 1

    await process.work(run_id, work=work)
    assert most == 4


async def test_an_account_that_another_run_has_in_hand_is_left_to_it(process: Process, database: str) -> None:
    names = await people(process.pool, 5)
    await process.begin(run_id := await a_run(process))
    async with a_process(database, "local") as other:
        assert await other.locks.take(f"account:{names[2]}")
        await process.work(run_id)
    assert sorted(process.worked) == [n for n in names if n != names[2]]
    assert await states(process.pool, run_id) == {"done": 4, "skipped": 1}


async def test_after_a_stop_what_is_in_flight_ends_and_the_rest_stays_to_do(process: Process) -> None:
    await people(process.pool, 60)
    await process.begin(run_id := await a_run(process))
    stop = asyncio.Event()

    async def work(unit: Unit) -> None:
        if len(process.worked) + 1 >= 8:
            stop.set()
        await asyncio.sleep(0.05)
        await process.record(unit)

    await process.work(run_id, stop, work)
    done = len(process.worked)
    assert 8 <= done <= 14
    assert await states(process.pool, run_id) == {"done": done, "todo": 60 - done}
    await process.work(run_id)
    assert await states(process.pool, run_id) == {"done": 60}
    assert len(process.worked) == len(set(process.worked)) == 60


async def test_what_does_not_end_after_a_stop_is_cancelled_and_stays_to_do(process: Process) -> None:
    names = await people(process.pool, 6)
    await process.begin(run_id := await a_run(process))
    stop, cancelled = asyncio.Event(), []

    async def hang(unit: Unit) -> None:
        if unit.account_id == names[3]:
            stop.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(unit.account_id)
            raise

    await process.work(run_id, stop, hang)
    assert sorted(cancelled) == names[:4]
    assert await states(process.pool, run_id) == {"todo": 6}
    await process.work(run_id)
    assert sorted(process.worked) == names


async def test_what_stops_the_run_in_one_unit_ends_them_all(process: Process) -> None:
    names = await people(process.pool, 40)
    await process.begin(run_id := await a_run(process))

    async def work(unit: Unit) -> None:
        if unit.account_id == names[5]:
            raise ApiUnreachable("nobody there")
        await process.record(unit)
        await asyncio.sleep(0.05)

    with suppress_stopped() as caught:
        await process.work(run_id, work=work)
    assert [str(e) for e in caught.leaves()] == ["nobody there"]
    left = await states(process.pool, run_id)
    assert left["todo"] >= 20
    await process.work(run_id)
    assert await states(process.pool, run_id) == {"done": 40}
    assert len(process.worked) == len(set(process.worked))


class suppress_stopped(suppress):  # noqa: N801 - a relative of contextlib's
    """Catches a `RunStopped`, alone or in a group."""

    error: BaseException | None = None

    def __init__(self) -> None:
        super().__init__(RunStopped, BaseExceptionGroup)

    def __enter__(self) -> "suppress_stopped":  # type: ignore[override]
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.error = error
        return bool(super().__exit__(kind, error, trace))

    def leaves(self) -> list[BaseException]:
        """What was raised in the end."""
        found, todo = [], [self.error]
        while todo:
            error = todo.pop()
            if isinstance(error, BaseExceptionGroup):
                todo += error.exceptions
            elif error is not None:
                found.append(error)
        return found


async def test_a_mistake_of_ours_is_not_swallowed(process: Process) -> None:
    await people(process.pool, 3)
    await process.begin(run_id := await a_run(process))

    async def work(_: Unit) -> None:
        raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        await process.work(run_id, work=work)
    assert await states(process.pool, run_id) == {"todo": 3}


async def test_another_process_goes_on_where_one_has_stopped(process: Process, database: str, kind: str) -> None:
    await people(process.pool, 30)
    await process.begin(run_id := await a_run(process))
    stop = asyncio.Event()

    async def work(unit: Unit) -> None:
        await process.record(unit)
        if len(process.worked) >= 10:
            stop.set()

    await process.work(run_id, stop, work)
    await (process.locks.leave if process.engine.shared else process.locks.release)(f"run:{run_id}")
    async with a_process(database, kind) as other:
        await other.begin(run_id)
        await other.work(run_id)
        assert await states(other.pool, run_id) == {"done": 30}
        assert not set(other.worked) & set(process.worked)


async def test_two_runs_work_different_accounts_at_once(process: Process, database: str, kind: str) -> None:
    names = await people(process.pool, 30)
    await process.begin(run_id := await a_run(process))
    async with a_process(database, kind) as other:
        await other.begin(run_b := await a_run(other, "noon"))
        busy: set[str] = set()

        def carefully(who: Process) -> Work:
            async def work(unit: Unit) -> None:
                assert unit.account_id not in busy
                busy.add(unit.account_id)
                await asyncio.sleep(0.01)
                await who.record(unit)
                busy.discard(unit.account_id)

            return work

        await asyncio.gather(process.work(run_id, work=carefully(process)), other.work(run_b, work=carefully(other)))
    assert set(process.worked) | set(other.worked) == set(names)
    assert "todo" not in await states(process.pool, run_id)
    assert "todo" not in await states(process.pool, run_b)


async def test_repaired_units_are_worked_again_when_they_are_reopened(process: Process) -> None:
    names = await people(process.pool, 3)
    await process.begin(run_id := await a_run(process))
    await process.work(run_id)
    await process.pool.execute(
        "INSERT INTO reconciler.event_states (calendar_id, event_id, account_id, repaired_at, run_id) "
        "VALUES ('cal', $1, $1, now(), $2)",
        names[1],
        run_id,
    )
    assert await process.engine.reopen(run_id, "repaired") == 1
    await process.work(run_id)
    assert sorted(process.worked) == sorted([*names, names[1]])


# ---------------------------------------------------------------- many processes


@pytest.fixture
async def pair(database: str) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes that can share a run."""
    async with a_process(database, "pgqueuer") as one, a_process(database, "pgqueuer") as other:
        yield one, other


async def started(pair: tuple[Process, Process], number: int) -> tuple[UUID, list[str]]:
    """A run with so many units, both processes in it."""
    names = await people(pair[0].pool, number)
    run_id = await a_run(pair[0])
    await asyncio.gather(*(process.begin(run_id) for process in pair))
    return run_id, names


async def test_processes_share_a_run(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, names = await started(pair, 200)

    together = asyncio.Barrier(2)

    def beside_the_other(who: Process) -> Work:
        async def work(unit: Unit) -> None:
            if not begun[who.pool]:
                begun[who.pool] = True
                await together.wait()
            await who.record(unit)

        return work

    begun = {process.pool: False for process in pair}
    await asyncio.gather(*(process.work(run_id, work=beside_the_other(process)) for process in pair))
    assert sorted(one.worked + other.worked) == names
    assert one.worked
    assert other.worked
    assert await states(one.pool, run_id) == {"done": 200}
    assert await entries(one.pool) == 200


async def test_a_process_that_dies_loses_its_units(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, names = await started(pair, 30)

    async def hang(_: Unit) -> None:
        await asyncio.sleep(60)

    dying = asyncio.create_task(one.work(run_id, work=hang))
    await until(lambda: bool(one.claims._held))
    # as a kill leaves it: rows picked, no sign of life, connections and locks gone
    dead = one.engine
    assert isinstance(dead, PgQueuerEngine)
    dead._connection.terminate()
    one.locks._connection.terminate()
    await other.work(run_id)
    assert sorted(other.worked) == names
    dying.cancel()
    with suppress(asyncio.CancelledError, RunStopped):
        await dying


async def test_the_result_of_a_frozen_process_is_not_written(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, (name,) = await started(pair, 1)
    frozen, thawed = asyncio.Event(), asyncio.Event()

    async def freeze(unit: Unit) -> None:
        frozen.set()
        await thawed.wait()
        assert await one.store.intend(an_intent(unit)) == {}
        await one.record(unit)

    first = asyncio.create_task(one.work(run_id, work=freeze))
    await frozen.wait()
    await silence(one, run_id)
    second = asyncio.create_task(other.work(run_id))
    await until(lambda: other.worked == [name])
    thawed.set()
    await asyncio.gather(first, second)
    assert (one.worked, other.worked) == ([name], [name])
    assert await entries(one.pool) == 1
    assert await states(one.pool, run_id) == {"done": 1}


def an_intent(unit: Unit) -> Intent:
    """A write that somebody is about to send."""
    key = EventKey("cal", unit.account_id)  # type: ignore[arg-type]
    return Intent(unit, datetime.now(UTC), 1, {key: (datetime.now(UTC), "pro_x")}, ())  # type: ignore[dict-item]


async def silence(process: Process, run_id: UUID) -> None:
    """Let the claims of a process look as if it had been silent for longer than a heartbeat."""
    engine = process.engine
    assert isinstance(engine, PgQueuerEngine)

    engine._queries.update_heartbeat = AsyncMock()  # type: ignore[method-assign]
    await process.pool.execute(
        "UPDATE reconciler_queue.pgqueuer SET heartbeat = now() - interval '1 minute' "
        "WHERE entrypoint = $1 AND queue_manager_id = $2",
        entrypoint(run_id),
        engine._queries.owner,
    )


async def test_a_process_that_thaws_first_does_not_take_the_unit_off_the_queue(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, (name,) = await started(pair, 1)
    frozen, thawed, taken, go_on = (asyncio.Event() for _ in range(4))

    async def freeze(unit: Unit) -> None:
        frozen.set()
        await thawed.wait()
        await one.record(unit)

    async def slow(unit: Unit) -> None:
        taken.set()
        await go_on.wait()
        await other.record(unit)

    first = asyncio.create_task(one.work(run_id, work=freeze))
    await frozen.wait()
    await silence(one, run_id)
    second = asyncio.create_task(other.work(run_id, work=slow))
    await taken.wait()
    thawed.set()
    await until(lambda: one.worked == [name])
    await asyncio.sleep(0.3)  # longer than a completion takes to be written
    go_on.set()
    await asyncio.gather(first, second)
    assert await entries(one.pool) == 1
    assert (one.worked, other.worked) == ([name], [name])


async def test_a_lost_claim_starts_no_request(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, _ = await started(pair, 1)
    budget = GuardedBudget(inner := FakeBudget(), one.claims)
    frozen, thawed = asyncio.Event(), asyncio.Event()
    refused = []

    async def freeze(_: Unit) -> None:
        await budget.reserve(1)
        frozen.set()
        await thawed.wait()
        try:
            await budget.reserve(1)
        except AccountUnreadable as error:
            refused.append(error.kind)

    first = asyncio.create_task(one.work(run_id, work=freeze))
    await frozen.wait()
    await silence(one, run_id)
    await other.work(run_id)
    await asyncio.sleep(HEARTBEAT.total_seconds() / 4)
    thawed.set()
    await first
    assert inner.spent == 1, "one request before the freeze, none after it"
    assert refused in (["claim_lost"], []), "none: it was let go before it thawed"


async def test_the_account_of_a_frozen_process_is_still_kept_from_other_runs(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, (name,) = await started(pair, 1)
    assert await one.locks.take(f"account:{name}")
    await other.work(run_id)
    assert other.worked == [name], "one of the same run has it, and no claim to it"
    assert not await other.locks.take(f"account:{name}")


async def test_a_unit_done_before_its_worker_died_is_not_worked_again(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, names = await started(pair, 2)
    await one.pool.execute(
        "UPDATE reconciler.run_units SET state = 'done' WHERE run_id = $1 AND account_id = $2", run_id, names[0]
    )
    await other.work(run_id)
    assert other.worked == [names[1]]


async def test_a_key_has_one_run_whoever_begins_it(pair: tuple[Process, Process]) -> None:
    one, other = pair
    await a_run(one)
    with pytest.raises(KeyTaken):
        await a_run(other)
    assert len(await one.pool.fetch("SELECT run_id FROM reconciler.runs")) == 1


async def test_a_run_whose_queue_was_cancelled_stops(pair: tuple[Process, Process], database: str) -> None:
    one, _ = pair
    run_id, _ = await started(pair, 40)
    operator = OwnedQueries(connection := await open_connection(database, "operator"))

    cancelled = False

    async def work(unit: Unit) -> None:
        nonlocal cancelled
        await one.record(unit)
        if len(one.worked) >= 5 and not cancelled:
            cancelled = True
            jobs = await one.pool.fetch("SELECT id FROM reconciler_queue.pgqueuer WHERE status = 'queued'")
            await Queries.mark_job_as_cancelled(operator, [job["id"] for job in jobs])
        await asyncio.sleep(0.05)

    await one.pool.execute(
        "UPDATE reconciler_queue.pgqueuer SET execute_after = now() + interval '1 hour' WHERE id > "
        "(SELECT min(id) + 9 FROM reconciler_queue.pgqueuer)"
    )
    await one.work(run_id, work=work)
    await connection.close()
    assert await states(one.pool, run_id) == {"done": len(one.worked), "todo": 40 - len(one.worked)}
    assert len(one.worked) <= 10


async def test_what_a_stranger_says_on_the_queues_channel_ends_nothing(
    pair: tuple[Process, Process], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever may connect may notify: that units are cancelled, that there is news, or anything else."""
    one, _ = pair
    run_id, names = await started(pair, 20)
    cancel = {"type": "cancellation_event", "channel": CHANNEL, "sent_at": "2026-01-01T00:00:00Z", "ids": [*range(100)]}
    news = {**cancel, "type": "table_changed_event", "operation": "insert", "table": "pgqueuer"}

    async def work(unit: Unit) -> None:
        for what in (json.dumps(cancel), json.dumps(news), "no JSON\nat all", ""):
            await one.pool.execute("SELECT pg_notify($1, $2)", CHANNEL, what)
        await one.record(unit)

    await one.work(run_id, work=work)
    assert sorted(one.worked) == names
    assert await states(one.pool, run_id) == {"done": 20}
    assert await one.pool.fetch("SELECT FROM reconciler_queue.pgqueuer_log WHERE status = 'canceled'") == []
    assert capfd.readouterr().err == ""


async def test_units_that_lost_their_place_in_the_queue_get_it_back(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    run_id, names = await started(pair, 12)
    await one.pool.execute("DELETE FROM reconciler_queue.pgqueuer WHERE id % 2 = 0")
    await one.work(run_id)
    assert sorted(one.worked) == names


async def test_the_queue_holds_two_ids_a_deadline_and_nothing_else(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    run_id, names = await started(pair, 3)
    rows = await one.pool.fetch("SELECT * FROM reconciler_queue.pgqueuer ORDER BY priority DESC")
    assert [json.loads(row["payload"]) for row in rows] == [{"run_id": str(run_id), "account_id": n} for n in names]
    assert [row["dedupe_key"] for row in rows] == [f"{run_id}:{n}" for n in names]
    deadlines = await one.pool.fetch("SELECT deadline FROM reconciler.run_units ORDER BY deadline")
    assert [row["priority"] for row in rows] == [-int(d["deadline"].timestamp()) for d in deadlines]
    assert all(b < a for a, b in pairwise(row["priority"] for row in rows))


async def test_nothing_of_an_ended_run_stays_in_the_queue(pair: tuple[Process, Process]) -> None:
    one, other = pair
    run_id, _ = await started(pair, 5)
    await one.work(run_id)
    assert await one.pool.fetchval("SELECT count(*) FROM reconciler_queue.pgqueuer_log") == 15
    await close(one.ledger, "night")
    await one.engine.forget(run_id)
    assert await one.pool.fetchval("SELECT count(*) FROM reconciler_queue.pgqueuer_log") == 0
    await one.engine.plan(left := await a_run(one, "left"), datetime.now(UTC))
    await close(one.ledger, "left")
    await other.engine.plan(await a_run(other, "next"), datetime.now(UTC))
    rows = await one.pool.fetch("SELECT DISTINCT entrypoint FROM reconciler_queue.pgqueuer")
    assert entrypoint(left) not in {row["entrypoint"] for row in rows}


async def test_the_migrated_tables_are_what_this_pgqueuer_asks_for(database: str) -> None:
    connection = await open_connection(database, "queue")
    try:
        plan = await OwnedQueries(connection).plan_upgrade()
    finally:
        await connection.close()
    assert (plan.statements, plan.notes) == ((), ())


async def test_no_variable_of_the_environment_moves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    from pgqueuer.domain.settings import DBSettings

    from reconciler.pgqueuer import queue

    for name in ("PGQUEUER_PREFIX", "PGQUEUER_SCHEMA", "PGQUEUER_CHANNEL", "QUEUE_TABLE", "FUNCTION", "TRIGGER"):
        monkeypatch.setenv(name, "elsewhere")
    assert DBSettings(**queue.SETTINGS.model_dump()) == queue.SETTINGS


async def test_an_account_id_with_odd_letters_makes_the_journey(pair: tuple[Process, Process]) -> None:
    one, _ = pair
    odd = AccountId('acc_"ü\\{}')
    await one.pool.execute("INSERT INTO reconciler.accounts (account_id) VALUES ($1)", odd)
    await one.pool.execute(
        "INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, profile_id) "
        "VALUES ('cal', 'e', $1, now() + interval '1 hour', 'default')",
        odd,
    )
    await one.begin(run_id := await a_run(one))
    await one.work(run_id)
    assert one.worked == [odd]


async def test_a_process_without_its_locks_records_nothing_more(process: Process) -> None:
    (account,) = await people(process.pool, 1)
    run_id = await a_run(process)
    await process.begin(run_id)
    unit = Unit(run_id, AccountId(account), datetime.now(UTC))
    result = UnitResult(
        unit, Addressee(unit.account_id, None, None, None), datetime.now(UTC), counts={"events": {"read": 1}}
    )
    await process.pool.execute("SELECT pg_terminate_backend($1, 10000)", process.locks.session)
    await process.store.record_more([result])
    assert await process.pool.fetchval("SELECT counts FROM reconciler.run_units") == {}


Write = Callable[[RunLedger, RunRow, Unit], Awaitable[object]]


def _at() -> datetime:
    return datetime.now(UTC)


def _said(row: RunRow, tag: AuditTag) -> AuditEntry:
    return AuditEntry(tag=tag, at=_at(), run_id=row.run_id)


WRITES: dict[str, Write] = {
    "start": lambda ledger, row, _: ledger.start(replace(row, run_key="noon"), _said(row, AuditTag.RUN_STARTED)),
    "resume": lambda ledger, row, _: ledger.resume(row.run_id),
    "refuse": lambda ledger, row, _: ledger.refuse(row.run_id, "a limit"),
    "plan": lambda ledger, row, _: ledger.plan_units(row.run_id, _at()),
    "skip": lambda ledger, _, unit: ledger.skip(unit),
    "spent": lambda ledger, _, unit: ledger.spent(unit, {"requests": {"total": 1}}),
    "reopen": lambda ledger, row, _: ledger.reopen(row.run_id, "repaired"),
    "open an incident": lambda ledger, row, _: ledger.open_incident(
        "zoom", _at(), {}, row.run_id, _said(row, AuditTag.INCIDENT_OPENED)
    ),
    "close an incident": lambda ledger, row, _: ledger.close_incident(
        "webex", _at(), {}, row.run_id, _said(row, AuditTag.INCIDENT_CLOSED)
    ),
    "resolve notices": lambda ledger, row, unit: ledger.resolve_spent_notices(row.run_id, _at(), [unit.account_id]),
    "finish": lambda ledger, row, _: ledger.finish(row, _at(), {}, lambda _totals, _refusal: "completed"),
}
"""All that the ledger writes for a run."""


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_the_ledger_of_a_process_without_its_locks_writes_nothing_more(process: Process, write: Write) -> None:
    (account,) = await people(process.pool, 1)
    await process.begin(run_id := await a_run(process))
    await process.pool.execute(
        "INSERT INTO reconciler.notices (kind, account_id, last_event_at) VALUES ('relink_conferencing', $1, now())",
        account,
    )
    await process.pool.execute("INSERT INTO reconciler.incidents (provider_name) VALUES ('webex')")
    found = await process.ledger.of_key("night")
    assert found is not None
    unit = Unit(run_id, AccountId(account), _at())
    before = await everything(process.pool)
    await process.pool.execute("SELECT pg_terminate_backend($1, 10000)", process.locks.session)
    with pytest.raises(LocksLost):
        await write(process.ledger, found[0], unit)
    assert await everything(process.pool) == before


async def everything(pool: Pool) -> list[list[tuple[Any, ...]]]:
    """All that the ledger writes to."""
    names = ("runs", "run_units", "incidents", "notices", "audit_entries")
    return [[tuple(row) for row in await pool.fetch(f"TABLE reconciler.{name}")] for name in names]


async def test_books_are_closed_once(process: Process) -> None:
    await process.begin(await a_run(process))
    closed = await close(process.ledger, "night")
    assert closed is not None
    assert (closed.status, closed.summary["status"]) == ("completed", "completed")
    assert await close(process.ledger, "night") is None


async def test_a_result_that_cannot_be_stored_is_nobody_elses_loss(process: Process) -> None:
    names = await people(process.pool, 4)
    await process.begin(run_id := await a_run(process))
    together = asyncio.Barrier(4)
    refused: list[str] = []

    async def work(unit: Unit) -> None:
        await together.wait()
        if unit.account_id != names[2]:
            return await process.record(unit)
        result = UnitResult(unit, Addressee(unit.account_id, None, None, None), datetime.now(UTC))
        try:
            await process.store.record(replace(result, error=UnitError("unheard_of", "no text: \0")))
        except asyncpg.UntranslatableCharacterError:
            refused.append(unit.account_id)
            await process.store.record(result)

    await process.work(run_id, work=work)
    assert refused == [names[2]]
    assert await states(process.pool, run_id) == {"done": 4}
    assert await entries(process.pool) == 3


async def test_what_comes_when_the_books_are_closed_is_not_written(process: Process) -> None:
    """A result that a stop could not wait for, or a second look by a process that was frozen: both hold their locks."""
    names = await people(process.pool, 2)
    await process.begin(run_id := await a_run(process))
    late, looked = (Unit(run_id, AccountId(name), _at()) for name in names)
    await process.pool.execute("UPDATE reconciler.run_units SET state = 'done' WHERE account_id = $1", names[1])
    assert await close(process.ledger, "night") is not None
    before = await everything(process.pool)
    who, counts = Addressee(late.account_id, None, None, None), {"events": {"read": 1}}
    entry = AuditEntry(tag=AuditTag.ACCOUNT_PARKED, at=_at(), run_id=run_id, account_id=late.account_id)
    await process.store.record(UnitResult(late, who, _at(), entries=(entry,), counts=counts))
    await process.store.record_more([UnitResult(looked, who, _at(), counts=counts)])
    assert await everything(process.pool) == before
