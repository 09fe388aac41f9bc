"""The local engine: one process takes a run's units in order of deadline, several at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import structlog

from reconciler.domain.casework import Unit, UnitError
from reconciler.ports import Locks, Reopened, RunLedger, Stop, TurnGivenUp

_PAGE = 200
DRAIN_S = 20.0
"""How long units in flight may take to end after a stop."""

BARRED = "barred"
"""The kind of error of an account that somebody keeps from us who is no run."""

log = structlog.get_logger()

Work = Callable[[Unit], Awaitable[None]]


class LocalEngine:
    """Implements `ports.Engine` in this process alone: the ledger's units, and a lock on each while it is worked."""

    shared = False

    def __init__(self, ledger: RunLedger, locks: Locks, concurrency: int, drain_s: float = DRAIN_S) -> None:
        self._ledger = ledger
        self._locks = locks
        self._concurrency = concurrency
        self._drain_s = drain_s

    async def plan(self, run_id: UUID, now: datetime) -> None:
        """See `ports.Engine.plan`."""
        await self._ledger.plan_units(run_id, now)

    async def work_through(self, run_id: UUID, work: Work, stop: Stop) -> None:
        """See `ports.Engine.work_through`. Failures come in a group."""
        gate = asyncio.Semaphore(self._concurrency)

        async def one(unit: Unit) -> None:
            try:
                await self._one(unit, work)
            except TurnGivenUp:
                pass  # the unit stays to do; the others may still end well
            finally:
                gate.release()

        async def take() -> None:
            last: Unit | None = None
            async with asyncio.TaskGroup() as group:
                while not stop.is_set():
                    page = await self._ledger.units(run_id, last, _PAGE)
                    if not page:
                        return
                    for unit in page:
                        await gate.acquire()
                        if stop.is_set():
                            gate.release()
                            return
                        group.create_task(one(unit), name=f"unit {unit.account_id}")
                    last = page[-1]

        await _until_drained(take(), stop, self._drain_s)

    async def _one(self, unit: Unit, work: Work) -> None:
        name = f"account:{unit.account_id}"
        if not await self._locks.take(name):
            await self._ledger.skip(unit, await barred(unit, self._locks))
            return
        try:
            await work(unit)
        finally:
            await asyncio.shield(self._locks.release(name))

    async def reopen(self, run_id: UUID, which: Reopened) -> int:
        """See `ports.Engine.reopen`."""
        return await self._ledger.reopen(run_id, which)

    async def forget(self, run_id: UUID) -> None:
        """Nothing is kept."""


async def barred(unit: Unit, locks: Locks) -> UnitError | None:
    """Why a unit is left whose account's lock is held; null where another run has it, which looks after it."""
    holder = await locks.holder(f"account:{unit.account_id}")
    if holder is None or holder.run:
        return None
    why = f"{holder.session} holds this account's lock, and has no run in hand: look what it is, or end it"
    log.warning("account left", account_id=unit.account_id, kind=BARRED, why=why)
    return UnitError(BARRED, why)


async def _until_drained(work: Awaitable[None], stop: Stop, drain_s: float) -> None:
    """Let `work` end by itself; once `stop` is set, cancel it after the drain time."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=drain_s)
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if not task.cancelled():
        task.result()
