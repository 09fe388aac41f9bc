"""Implements `ports.Engine` on PgQueuer: many processes take the units of one run off one queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from pgqueuer.domain.types import QueueExecutionMode
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager

from reconciler.domain.casework import Unit
from reconciler.pgqueuer.claims import Claims
from reconciler.pgqueuer.queue import AT_ONCE, CHANNEL, OwnedQueries, entrypoint, unit_of
from reconciler.pipeline.engine import DRAIN_S, barred
from reconciler.ports import Locks, Reopened, Stop, TurnGivenUp
from reconciler.postgres.failures import repeated, speaking_plainly
from reconciler.postgres.pool import Connection, Pool, open_connection
from reconciler.postgres.run_ledger import RunLedger
from reconciler.postgres.statements import statements

_SQL = statements("engine")

BATCH = 10
MOST_CLAIMED = 50
"""Units that one process has claimed at a time; without a limit it would claim the whole run, and lose the order."""
FLEET_LIMIT = 0
"""PgQueuer's limit over all processes, which have to declare the same: none, the request budget is limit enough."""
_LOOK_S = 0.5
"""How often to look whether the run is through."""
_FLUSH_S = 10.0
"""How long PgQueuer may take to end after its last unit."""

Work = Callable[[Unit], Awaitable[None]]

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_engine(
    dsn: str, pool: Pool, ledger: RunLedger, locks: Locks, claims: Claims, concurrency: int, heartbeat: timedelta
) -> "AsyncIterator[PgQueuerEngine]":
    """The engine, with a connection of its own for the queue: it listens, and a pooler would break that.

    Raises:
        DatabaseUnreachable, WrongConfiguration: see `postgres.pool`.
    """
    connection = await open_connection(dsn, "queue")
    try:
        yield PgQueuerEngine(connection, pool, ledger, locks, claims, concurrency, heartbeat)
    finally:
        with contextlib.suppress(OSError):
            await asyncio.shield(connection.close(timeout=5))


class PgQueuerEngine:
    """Takes units as PgQueuer hands them out; whoever falls silent for a heartbeat loses them to the others."""

    shared = True

    def __init__(
        self,
        connection: Connection,
        pool: Pool,
        ledger: RunLedger,
        locks: Locks,
        claims: Claims,
        concurrency: int,
        heartbeat: timedelta,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._ledger = ledger
        self._locks = locks
        self._claims = claims
        self._concurrency = concurrency
        self._heartbeat = heartbeat
        self._drain_s = drain_s
        self._queries = OwnedQueries(connection)

    @repeated
    async def plan(self, run_id: UUID, now: datetime) -> None:
        """See `ports.Engine.plan`: units and queue in one transaction."""
        with speaking_plainly():
            await self._connection.execute(_SQL["forget"], None)
            async with self._connection.transaction():
                await self._ledger.plan_within(self._connection, run_id, now)
                await self._enqueue(run_id)

    @repeated
    async def reopen(self, run_id: UUID, which: Reopened) -> int:
        """See `ports.Engine.reopen`."""
        with speaking_plainly():
            async with self._connection.transaction():
                reopened = await self._ledger.reopen_within(self._connection, run_id, which)
                await self._enqueue(run_id)
        return reopened

    async def forget(self, run_id: UUID) -> None:
        """See `ports.Engine.forget`."""
        with speaking_plainly():
            await self._connection.execute(_SQL["forget"], run_id)

    async def _enqueue(self, run_id: UUID) -> int:
        """Queue what is to do and not in the queue; in the caller's transaction."""
        queued = 0
        last: Unit | None = None
        while page := await self._ledger.todo_within(self._connection, run_id, last, AT_ONCE):
            queued += await self._queries.enqueue_units(page)
            last = page[-1]
        return queued

    async def work_through(self, run_id: UUID, work: Work, stop: Stop) -> None:
        """See `ports.Engine.work_through`. Ends when the queue holds nothing of the run, whoever worked it."""
        while True:
            await _Shift(self, run_id, work, stop).work()
            if stop.is_set() or not await self._mended(run_id):
                return

    @repeated
    async def _mended(self, run_id: UUID) -> bool:
        """Whether units to do had lost their place in the queue, and have one again. Not if the run was cancelled."""
        with speaking_plainly():
            progress = await self._connection.fetchrow(_SQL["progress"], run_id, entrypoint(run_id))
            if progress is None or progress["cancelled"] or not progress["under_way"]:
                return False
            async with self._connection.transaction():
                queued = await self._enqueue(run_id)
        if queued:
            log.warning("units had lost their place in the queue", run_id=str(run_id), units=queued)
        return bool(queued)


class _Shift:
    """One session of PgQueuer's: from its start until the run is through, is stopped, or something fails."""

    def __init__(self, engine: PgQueuerEngine, run_id: UUID, work: Work, stop: Stop) -> None:
        self._e = engine
        self._run_id = run_id
        self._work = work
        self._stop = stop
        self._over = asyncio.Event()
        self._gate = asyncio.Semaphore(engine._concurrency)
        self._in_hand: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None
        self._manager = QueueManager(engine._queries, CHANNEL)
        self._manager.shutdown = self._over
        engine._queries.owner = self._manager.queue_manager_id
        self._manager.entrypoint(entrypoint(run_id), concurrency_limit=FLEET_LIMIT, accepts_context=False)(self._take)

    async def work(self) -> None:
        """Work until it is over; then let what is in hand end, and give the rest back.

        Raises:
            RunStopped: what ended one unit, or the queue's connection is lost.
        """
        session = asyncio.create_task(self._session(), name="queue")
        watch = asyncio.create_task(self._watch(), name="queue watch")
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({session, over}, return_when=asyncio.FIRST_COMPLETED)
            self._over.set()
            if self._in_hand:
                await asyncio.wait(set(self._in_hand), timeout=self._e._drain_s)
        finally:
            self._over.set()
            for task in (*self._in_hand, watch, over):
                task.cancel()
            await asyncio.wait({session}, timeout=_FLUSH_S)
            session.cancel()
            await asyncio.wait({session, watch, over})
        for failure in (self._failure, _failure_of(watch), _failure_of(session)):
            if failure is not None:
                raise failure

    async def _session(self) -> None:
        beat = self._e._heartbeat
        with speaking_plainly():
            await self._manager.run(
                dequeue_timeout=beat / 8,
                batch_size=BATCH,
                mode=QueueExecutionMode.continuous,
                max_concurrent_tasks=MOST_CLAIMED,
                heartbeat_timeout=beat,
                log_aggregation_interval=timedelta(0),
            )

    async def _watch(self) -> None:
        """End the shift when nothing of the run is queued or in anybody's hands, it is stopped, closed or cancelled."""
        look = min(_LOOK_S, self._e._heartbeat.total_seconds() / 4)
        try:
            while not self._stop.is_set():
                with speaking_plainly():
                    row = await self._e._pool.fetchrow(_SQL["progress"], self._run_id, entrypoint(self._run_id))
                if row is None or row["cancelled"] or not (row["under_way"] and row["claimable"]):
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(look):
                        await self._stop.wait()
        finally:
            self._over.set()

    async def _take(self, job: Job) -> None:
        """Work one claimed unit as its turn comes. What is not worked is given back to the queue."""
        if not await self._turn():
            raise RetryRequested(reason="stopped")
        task = asyncio.create_task(self._one(job))
        self._in_hand.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._in_hand.discard(task)
            self._gate.release()
            task.cancel()
        if task.cancelled() or isinstance(failure := task.exception(), TurnGivenUp):
            raise RetryRequested(reason="stopped")
        if failure is not None:
            self._fail(failure)
            raise RetryRequested(reason="failed")

    async def _turn(self) -> bool:
        """Wait for a place among those who work; false where the end of the shift comes first."""
        waiting = asyncio.ensure_future(self._gate.acquire())
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({waiting, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            if not waiting.done():
                waiting.cancel()
        if waiting.done() and not waiting.cancelled() and self._over.is_set():
            self._gate.release()
        return not self._over.is_set()

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None and isinstance(failure, Exception):
            self._failure = failure
        self._over.set()

    async def _one(self, job: Job) -> None:
        run_id, account_id = unit_of(job)
        unit = await self._e._claims.hold(run_id, account_id, job.id, self._manager.queue_manager_id)
        if unit is None:
            return  # done before its worker could say so, or another's by now
        try:
            await self._with_account(unit)
        finally:
            self._e._claims.drop(unit)

    async def _with_account(self, unit: Unit) -> None:
        name, locks = f"account:{unit.account_id}", self._e._locks
        if await locks.take(name):
            try:
                await self._work(unit)
            finally:
                await asyncio.shield(locks.release(name))
        elif await locks.taken_within(name, f"run:{unit.run_id}"):
            await self._work(unit)  # whoever of this run has it fell silent and lost its claim: the fence keeps it out
        else:
            await self._e._ledger.skip(unit, await barred(unit, locks))


def _failure_of(task: "asyncio.Task[None]") -> BaseException | None:
    return None if task.cancelled() else task.exception()
