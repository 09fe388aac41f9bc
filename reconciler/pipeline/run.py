"""One run: begin the books, work every due account, conclude, close the books.

With an engine that spreads a run over processes, all of them go through this: whoever comes joins, one of them
concludes, the others wait for its books. Who is still there, the locks tell; what is done, the units.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Unit
from reconciler.domain.run import RunRow, Totals, summary
from reconciler.pipeline.conclude import Seen, infer_outages, judge_held, not_believed, resolve_spent_notices
from reconciler.pipeline.doors import LOOK_S, AlreadyDone, at_the_door, have_the_key, is_a_strangers, under_way
from reconciler.pipeline.tools import Tools
from reconciler.pipeline.unit import landed, work_unit
from reconciler.ports import (
    ApiUnreachable,
    DatabaseUnreachable,
    Engine,
    KeyTaken,
    Locks,
    LocksLost,
    RunLedger,
    RunStopped,
    StillWriting,
)

__all__ = ["AlreadyDone", "Means", "RunEnd", "RunOrder", "run"]

log = structlog.get_logger()

FINISHED = frozenset({"completed", "partial", "refused"})


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is asked of a run besides its scope."""

    row: RunRow
    max_duration: timedelta | None = None
    verify_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended. `stopped_by` says what stopped it early, `refusal` which limit held back writes."""

    summary: dict[str, Any]
    status: str
    stopped_by: RunStopped | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Means:
    """What a run is carried out with. `seen` hears of every unit worked, `planned` how many there are to work, and
    `concluded` of the verdicts that waited for the end.
    """

    ledger: RunLedger
    locks: Locks
    engine: Engine
    tools: Tools
    seen: Seen
    planned: Callable[[int], None]
    concluded: Seen


async def run(order: RunOrder, means: Means, stop: asyncio.Event) -> RunEnd:
    """Carry out a run to its end, or as far as it gets.

    Raises:
        AlreadyDone: there is nothing to do for this key.
        RunStopped: the books could not be begun, or not be closed; what was recorded stands, the rest is still to do.
    """
    await _close_abandoned(order.row, means)
    row = await (_join(order.row, means) if means.engine.shared else _begin(order.row, means))
    stopped_by: RunStopped | None = None
    timer = _set_after(stop, order.max_duration)
    try:
        await means.engine.plan(row.run_id, means.tools.clock.now())
        means.planned((await means.ledger.totals(row.run_id)).remaining)
        await _work(row, means, stop)
        if not means.engine.shared:
            await _weigh_losses(row, means, stop)
            await _verify(order, row, means, stop)
    except* RunStopped as group:
        stopped_by = _first(group)
    finally:
        if timer:
            timer.cancel()
    if isinstance(stopped_by, DatabaseUnreachable):
        raise stopped_by  # with the connection the locks are gone: the books may be another's by now
    if means.engine.shared:
        return await _end_together(order, row, means, stop, stopped_by)
    return await _conclude(row, means, stopped_by, stopped=stop.is_set())


def _first(group: BaseExceptionGroup[RunStopped]) -> RunStopped:
    """What stopped the run; that the database is gone outweighs the rest."""
    leaves: list[RunStopped] = []
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions
        elif isinstance(error, RunStopped):
            leaves.append(error)
    return next((e for e in leaves if isinstance(e, DatabaseUnreachable)), leaves[0])


def _set_after(stop: asyncio.Event, delay: timedelta | None) -> asyncio.TimerHandle | None:
    return asyncio.get_running_loop().call_later(delay.total_seconds(), stop.set) if delay else None


# ---------------------------------------------------------------- beginning


async def _begin(row: RunRow, means: Means) -> RunRow:
    """Begin a run that is this process's alone, or take over one that was left."""
    await have_the_key(row.run_key, means.locks)
    return await _opened(row, means, means.locks.take)


async def _join(row: RunRow, means: Means) -> RunRow:
    """Begin a run that others may join, or join it."""
    async with at_the_door(row.run_key, means.locks):
        return await _opened(row, means, means.locks.join)


async def _opened(row: RunRow, means: Means, hold: Callable[[str], Awaitable[bool]]) -> RunRow:
    """Open the run's books, or those that its key has already. From here on `hold` says that somebody is at it."""
    ledger = means.ledger
    existing = await ledger.of_key(row.run_key) if row.run_key is not None else None
    if existing is None:
        await hold(f"run:{row.run_id}")
        entry = AuditEntry(
            tag=AuditTag.RUN_STARTED,
            at=means.tools.clock.now(),
            run_id=row.run_id,
            after={"scope": dict(row.scope), "dry_run": row.dry_run, "reason": row.reason, "policy": dict(row.policy)},
        )
        try:
            await ledger.start(row, entry)
        except KeyTaken:
            return await _opened(row, means, hold)
        return row
    if existing[0].dry_run != row.dry_run:  # a dry run that goes on in earnest would write under books that deny it
        kind = "a dry run" if existing[0].dry_run else "no dry run"
        raise AlreadyDone(f"the run of key {row.run_key!r} was {kind}; take another key")
    asked, (row, status) = row, existing
    if status in FINISHED and not (status == "partial" and (await ledger.totals(row.run_id)).remaining):
        raise AlreadyDone(f"the run of key {row.run_key!r} is already finished ({status})")
    if not await hold(name := f"run:{row.run_id}"):
        raise await under_way(row.run_key, name, means.locks)
    if _names(asked) != _names(row):
        log.warning("a run goes on with the scope it was begun with", run_key=row.run_key, scope=dict(row.scope))
    if status != "running" or not means.engine.shared:
        await ledger.resume(row.run_id)
        log.info("run resumed", run_id=str(row.run_id), run_key=row.run_key)
    return row


def _names(row: RunRow) -> dict[str, Any]:
    """A run's scope but for its times, which `48h` makes others each time."""
    return {name: values for name, values in row.scope.items() if isinstance(values, list)}


async def _close_abandoned(own: RunRow, means: Means) -> None:
    """Close the books of runs whose processes are gone; their events are still due. The own key's run goes on.

    A run for which somebody is still writing, frozen in the midst of it, is left to the next one.
    """
    ledger, locks = means.ledger, means.locks
    for row in await ledger.abandoned():
        name = f"run:{row.run_id}"
        goes_on = own.run_key is not None and (row.run_key, row.dry_run) == (own.run_key, own.dry_run)
        if goes_on or not await locks.take(name):
            continue
        try:
            closed = await ledger.finish(row, means.tools.clock.now(), {}, lambda _totals, _refusal: "partial")
            if closed is not None:
                log.warning(
                    "run abandoned by its process, closed",
                    run_id=str(row.run_id),
                    accounts_left=closed.summary["accounts"]["left"],
                    seal=closed.summary["seal"],
                )
        except StillWriting:
            log.warning("run abandoned by its process, which hangs in the midst of writing", run_id=str(row.run_id))
        finally:
            await locks.release(name)


# ---------------------------------------------------------------- working


async def _work(row: RunRow, means: Means, stop: asyncio.Event) -> None:
    told = _Told()

    async def work(unit: Unit) -> None:
        try:
            result = await work_unit(unit, means.tools)
        except (RunStopped, asyncio.CancelledError) as end:
            if not isinstance(end, DatabaseUnreachable) and (asked := means.tools.meter.taken()):
                await landed(means.ledger.spent(unit, {"requests": asked}))
            raise
        means.seen(result)
        for error in (result.error, *result.more_errors):
            if error is not None:
                log.warning("account left", account_id=unit.account_id, kind=error.kind, why=error.message)
        if result.refusal:
            log.warning("account held back", account_id=unit.account_id, why=result.refusal)
        await _tell_refusal(row, means, told)

    await means.engine.work_through(row.run_id, work, stop)


@dataclass(slots=True)
class _Told:
    """What the processes of a run have told each other about its limits."""

    refusal: str | None = None
    asked_at: float = 0.0


async def _tell_refusal(row: RunRow, means: Means, told: _Told) -> None:
    """A limit that one process meets holds for all of them: they hear of it within a second."""
    brakes, now = means.tools.brakes, asyncio.get_running_loop().time()
    if brakes.refusal is not None:
        if told.refusal is None:
            told.refusal = brakes.refusal
            await means.ledger.refuse(row.run_id, brakes.refusal)
    elif means.engine.shared and now - told.asked_at > 1:
        told.asked_at = now
        if (why := await means.ledger.refusal(row.run_id)) is not None:
            told.refusal = why
            brakes.stop_writing(why)


async def _weigh_losses(row: RunRow, means: Means, stop: asyncio.Event) -> None:
    """All accounts are through: what waited for that is done now, or left if too many lost the same thing at once."""
    if stop.is_set():
        return
    if (why := await not_believed(row.run_id, means.tools)) is not None:
        means.tools.brakes.stop_writing(why)
        await means.ledger.refuse(row.run_id, str(means.tools.brakes.refusal))
    elif await means.engine.reopen(row.run_id, "waiting"):
        await _work(row, means, stop)


async def _verify(order: RunOrder, row: RunRow, means: Means, stop: asyncio.Event) -> None:
    """Look again at what was repaired, after a while."""
    if order.verify_after is None or means.tools.dry_run or stop.is_set():
        return
    counts = await means.ledger.counts(row.run_id)
    if not counts.get("outcomes", {}).get("repaired"):
        return
    try:
        async with asyncio.timeout(order.verify_after.total_seconds()):
            await stop.wait()
    except TimeoutError:
        await means.engine.reopen(row.run_id, "repaired")
        await _work(row, means, stop)


# ---------------------------------------------------------------- ending


async def _end_together(
    order: RunOrder, row: RunRow, means: Means, stop: asyncio.Event, stopped_by: RunStopped | None
) -> RunEnd:
    """End a shared run: one process concludes it when all is done, or who leaves last; the others go by its books."""
    name = f"run-end:{row.run_id}"
    while stopped_by is None:
        if (taken := await means.locks.take(name)) or await is_a_strangers(name, means.locks):
            try:
                end = await _ended(row, means) or await _conclude_for_all(order, row, means, stop)
            finally:
                if taken:
                    await asyncio.shield(means.locks.release(name))
            if end is None:
                break
            return end
        if (end := await _ended(row, means)) is not None:
            return end
        if stop.is_set():
            break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await stop.wait()
    return await _leave(row, means, stopped_by)


async def _ended(row: RunRow, means: Means) -> RunEnd | None:
    """The end of the run as another process has written it down; null if it is still under way."""
    closed = await means.ledger.ended(row.run_id)
    if closed is None:
        return None
    at, incidents = datetime.fromisoformat(closed.summary["finished_at"]), closed.summary["incidents"]
    seal = closed.summary.get("seal")
    books = await _books(row, closed.status, means, incidents, at, seal)  # the same, and in the same order
    return RunEnd(books, closed.status, refusal=closed.refusal)


async def _conclude_for_all(order: RunOrder, row: RunRow, means: Means, stop: asyncio.Event) -> RunEnd | None:
    """Conclude, the others waiting for it; null if there is work left that is not to be done now."""
    stopped_by: RunStopped | None = None
    try:
        if (await means.ledger.totals(row.run_id)).todo and not stop.is_set():
            await _work(row, means, stop)  # who was to look again at the repairs has died over it
        if (await means.ledger.totals(row.run_id)).todo:
            return None
        await _weigh_losses(row, means, stop)
        if (await means.ledger.totals(row.run_id)).todo:
            return None
        await _verify(order, row, means, stop)
    except* RunStopped as group:
        stopped_by = _first(group)
    if isinstance(stopped_by, DatabaseUnreachable):
        raise stopped_by
    if stopped_by is not None:
        return await _leave(row, means, stopped_by)
    return await _conclude(row, means, stopped=stop.is_set())


async def _leave(row: RunRow, means: Means, stopped_by: RunStopped | None) -> RunEnd:
    """Leave a run with work left. Who is the last to leave closes its books; the others only say how it stands."""
    async with at_the_door(row.run_key, means.locks):
        name = f"run:{row.run_id}"
        if await means.locks.take(name):  # beside this process's own hold there is nobody's
            try:
                return await _ended(row, means) or await _conclude(row, means, stopped_by, stopped=True)
            finally:
                await asyncio.shield(means.locks.release(name))
        await means.locks.leave(name)
    refusal = means.tools.brakes.refusal or await means.ledger.held_back(row.run_id)
    status = _status(await means.ledger.totals(row.run_id), stopped_by, refusal, stopped=True)
    return RunEnd(await _books(row, status, means, {}, means.tools.clock.now()), status, stopped_by, refusal)


async def _conclude(row: RunRow, means: Means, stopped_by: RunStopped | None = None, *, stopped: bool) -> RunEnd:
    """What is known only at the end, and the end of the books."""
    incidents = {"opened": 0, "closed": 0}
    tools = means.tools
    if stopped_by is None or isinstance(stopped_by, ApiUnreachable):
        incidents = await infer_outages(row.run_id, means.ledger, tools)
        await judge_held(row.run_id, means.ledger, means.locks, tools, means.concluded)
        if not tools.dry_run:
            await resolve_spent_notices(row.run_id, means.ledger, means.locks, tools.clock.now())
    if tools.brakes.refusal is not None:
        await means.ledger.refuse(row.run_id, tools.brakes.refusal)
    closed = await means.ledger.finish(
        row,
        tools.clock.now(),
        incidents,
        lambda totals, refusal: _status(totals, stopped_by, refusal, stopped=stopped),
    )
    if closed is None:
        raise LocksLost  # nobody else closes the books of a run that is in somebody's hands
    log.info("run closed", run_id=str(row.run_id), status=closed.status, seal=closed.summary["seal"])
    await means.engine.forget(row.run_id)
    return RunEnd(closed.summary, closed.status, stopped_by, closed.refusal)


async def _books(
    row: RunRow, status: str, means: Means, incidents: dict[str, int], at: datetime, seal: str | None = None
) -> dict[str, Any]:
    ledger, run_id = means.ledger, row.run_id
    totals, counts, errors = await ledger.totals(run_id), await ledger.counts(run_id), await ledger.errors(run_id)
    return summary(row, status, at, totals, counts, incidents, errors, seal)


def _status(totals: Totals, stopped_by: RunStopped | None, refusal: str | None, *, stopped: bool) -> str:
    if stopped_by is not None:
        return "stopped" if totals.done else "failed"
    if stopped and totals.remaining:
        return "stopped"
    if refusal:
        return "refused"
    return "partial" if totals.failed or totals.errors else "completed"
