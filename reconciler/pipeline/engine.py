"""The local engine: one process takes a run's units in order of deadline, several at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from reconciler.domain.casework import Unit
from reconciler.ports import Locks, RunLedger

_PAGE = 200
DRAIN_S = 20.0
"""How long units in flight may take to end after a stop."""


async def work_through(
    run_id: UUID,
    ledger: RunLedger,
    locks: Locks,
    work: Callable[[Unit], Awaitable[None]],
    concurrency: int,
    stop: asyncio.Event,
) -> None:
    """Work all units of a run that are still to do, until there are none or `stop` is set.

    An account that another run has in hand is left to it. After a stop no unit is begun; those in flight get
    `DRAIN_S` seconds, then they are cancelled and stay to do.

    Raises:
        RunStopped: what ended one unit ends them all.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(unit: Unit) -> None:
        name = f"account:{unit.account_id}"
        try:
            if not await locks.take(name):
                await ledger.skip(unit)
                return
            try:
                await work(unit)
            finally:
                await asyncio.shield(locks.release(name))
        finally:
            gate.release()

    async def take() -> None:
        last: Unit | None = None
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                page = await ledger.units(run_id, last, _PAGE)
                if not page:
                    return
                for unit in page:
                    await gate.acquire()
                    if stop.is_set():
                        gate.release()
                        return
                    group.create_task(one(unit), name=f"unit {unit.account_id}")
                last = page[-1]

    await _until_drained(take(), stop)


async def _until_drained(work: Awaitable[None], stop: asyncio.Event) -> None:
    """Let `work` end by itself; once `stop` is set, cancel it after the drain time."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=DRAIN_S)
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if not task.cancelled():
        task.result()
