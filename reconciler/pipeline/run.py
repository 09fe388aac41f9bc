"""One run: begin the books, work every due account, conclude, close the books."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Unit, UnitResult
from reconciler.domain.run import RunRow, Totals, summary
from reconciler.pipeline.conclude import infer_outages, judge_held
from reconciler.pipeline.engine import work_through
from reconciler.pipeline.unit import Tools, work_unit
from reconciler.ports import ApiUnreachable, Locks, RunLedger, RunStopped

log = structlog.get_logger()

Seen = Callable[[UnitResult], None]
"""Called with every unit's result as soon as it is recorded: progress bars, one line per remedy."""

FINISHED = frozenset({"completed", "partial", "refused"})


class AlreadyDone(Exception):
    """The run of this key is finished, or under way in another process."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is asked of a run besides its scope."""

    row: RunRow
    concurrency: int
    max_duration: timedelta | None = None
    verify_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. `stopped_by` says what stopped it early, `refusal` which limit held back writes."""

    summary: dict[str, Any]
    status: str
    stopped_by: RunStopped | None = None
    refusal: str | None = None


async def run(
    order: RunOrder,
    ledger: RunLedger,
    locks: Locks,
    tools: Tools,
    stop: asyncio.Event,
    seen: Seen,
    planned: Callable[[int], None],
) -> RunEnd:
    """Carry out a run to its end, or as far as it gets. `planned` hears how many accounts there are to work.

    Raises:
        AlreadyDone: there is nothing to do for this key.
        RunStopped: the books could not even be begun.
    """
    await _close_abandoned(order.row.run_key, ledger, locks, tools)
    row = await _begin(order.row, ledger, locks, tools)
    incidents = {"opened": 0, "closed": 0}
    stopped_by: RunStopped | None = None
    timer = _set_after(stop, order.max_duration)
    try:
        await ledger.plan_units(row.run_id, tools.clock.now())
        planned((await ledger.totals(row.run_id)).remaining)
        await _work(order, row, ledger, locks, tools, stop, seen)
        if order.verify_after and not tools.dry_run and not stop.is_set():
            await _verify(order, row, ledger, locks, tools, stop, seen)
    except* RunStopped as group:
        stopped_by = _first(group)
    finally:
        if timer:
            timer.cancel()
    if stopped_by is None or isinstance(stopped_by, ApiUnreachable):
        incidents = await infer_outages(row.run_id, ledger, tools)
        await judge_held(row.run_id, ledger, tools)
        if not tools.dry_run:
            await ledger.resolve_spent_notices(row.run_id, tools.clock.now())
    return await _close(row, ledger, tools, incidents, stopped_by, stop)


def _first(group: BaseExceptionGroup[RunStopped]) -> RunStopped:
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, RunStopped)  # noqa: S101 - the group was split by that type
    return leaf


def _set_after(stop: asyncio.Event, delay: timedelta | None) -> asyncio.TimerHandle | None:
    return asyncio.get_running_loop().call_later(delay.total_seconds(), stop.set) if delay else None


async def _begin(row: RunRow, ledger: RunLedger, locks: Locks, tools: Tools) -> RunRow:
    if row.run_key is not None:
        if not await locks.take(f"run-key:{row.run_key}"):
            raise AlreadyDone(f"the run of key {row.run_key!r} is under way in another process")
        existing = await ledger.of_key(row.run_key)
        if existing is not None:
            return await _take_over(*existing, ledger, locks)
    await locks.take(f"run:{row.run_id}")
    entry = AuditEntry(
        tag=AuditTag.RUN_STARTED,
        at=tools.clock.now(),
        run_id=row.run_id,
        after={"scope": dict(row.scope), "dry_run": row.dry_run, "reason": row.reason, "policy": dict(row.policy)},
    )
    await ledger.start(row, entry)
    return row


async def _take_over(row: RunRow, status: str, ledger: RunLedger, locks: Locks) -> RunRow:
    if status in FINISHED and not (status == "partial" and (await ledger.totals(row.run_id)).remaining):
        raise AlreadyDone(f"the run of key {row.run_key!r} is already finished ({status})")
    await locks.take(f"run:{row.run_id}")
    await ledger.resume(row.run_id)
    log.info("run resumed", run_id=str(row.run_id), run_key=row.run_key)
    return row


async def _close_abandoned(run_key: str | None, ledger: RunLedger, locks: Locks, tools: Tools) -> None:
    """Close the books of runs whose process is gone; their events are still due.

    A run of our own key is taken up instead, even where only its conclusion is missing.
    """
    for row in await ledger.abandoned():
        name = f"run:{row.run_id}"
        if (run_key is not None and row.run_key == run_key) or not await locks.take(name):
            continue
        try:
            totals = await ledger.totals(row.run_id)
            at = tools.clock.now()
            books = summary(
                row, "partial", at, totals, await ledger.counts(row.run_id), {}, await ledger.errors(row.run_id)
            )
            await ledger.finish(row.run_id, "partial", at, books, [])
            log.warning("run abandoned by its process, closed", run_id=str(row.run_id), accounts_left=totals.remaining)
        finally:
            await locks.release(name)


async def _work(
    order: RunOrder, row: RunRow, ledger: RunLedger, locks: Locks, tools: Tools, stop: asyncio.Event, seen: Seen
) -> None:
    async def work(unit: Unit) -> None:
        result = await work_unit(unit, tools)
        seen(result)
        if result.error:
            log.warning("account left", account_id=unit.account_id, kind=result.error.kind, why=result.error.message)

    await work_through(row.run_id, ledger, locks, work, order.concurrency, stop)


async def _verify(
    order: RunOrder, row: RunRow, ledger: RunLedger, locks: Locks, tools: Tools, stop: asyncio.Event, seen: Seen
) -> None:
    """Look again at what was repaired, after a while."""
    counts = await ledger.counts(row.run_id)
    if not counts.get("outcomes", {}).get("repaired") or order.verify_after is None:
        return
    try:
        async with asyncio.timeout(order.verify_after.total_seconds()):
            await stop.wait()
    except TimeoutError:
        await ledger.reopen_repaired(row.run_id)
        await _work(order, row, ledger, locks, tools, stop, seen)


async def _close(
    row: RunRow,
    ledger: RunLedger,
    tools: Tools,
    incidents: dict[str, int],
    stopped_by: RunStopped | None,
    stop: asyncio.Event,
) -> RunEnd:
    totals = await ledger.totals(row.run_id)
    at = tools.clock.now()
    status = _status(totals, stopped_by, stop, tools.brakes.refusal)
    counts, errors = await ledger.counts(row.run_id), await ledger.errors(row.run_id)
    books = summary(row, status, at, totals, counts, incidents, errors)
    entries, hashes = await ledger.seal(row.run_id)
    seal = AuditEntry(
        tag=AuditTag.RUN_FINISHED,
        at=at,
        run_id=row.run_id,
        outcome=status,
        evidence={"entries": entries, "digest": hashlib.sha256(hashes.encode()).hexdigest()},
    )
    await ledger.finish(row.run_id, status, at, books, [seal])
    return RunEnd(books, status, stopped_by, tools.brakes.refusal)


def _status(totals: Totals, stopped_by: RunStopped | None, stop: asyncio.Event, refusal: str | None) -> str:
    if stopped_by is not None:
        return "stopped" if totals.done else "failed"
    if stop.is_set() and totals.remaining:
        return "stopped"
    if refusal:
        return "refused"
    return "partial" if totals.failed else "completed"
