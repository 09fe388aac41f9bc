"""What the commands that work have in common: the signal to stop, a run before a terminal, and what its end means."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from reconciler.bootstrap import Worker, policy_json
from reconciler.commands.streams import drawn_on
from reconciler.commands.terminal import Exit, complain, exit_code_of, note
from reconciler.config import Settings
from reconciler.domain.casework import Scope, UnitResult
from reconciler.domain.plural import many
from reconciler.domain.run import RunRow
from reconciler.pipeline.engine import BARRED
from reconciler.pipeline.run import Means, RunEnd, RunOrder, run
from reconciler.ports import WrongConfiguration
from reconciler.reporting.progress import Bar
from reconciler.reporting.summary_text import told


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `run` and `plan` were asked."""

    scope: Scope
    dry_run: bool = False
    run_key: str | None = None
    reason: str | None = None
    max_duration: timedelta | None = None
    verify_after: timedelta | None = None
    recheck: bool = False
    as_json: bool = False
    verbose: bool = False


@asynccontextmanager
async def stopping() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def work(settings: Settings, options: RunOptions, worker: Worker, stop: asyncio.Event) -> RunEnd:
    """Do a run as the options say, with a bar on a terminal."""
    order = RunOrder(
        row=RunRow(
            run_id=uuid4(),
            run_key=options.run_key,
            trigger="schedule" if options.run_key and options.reason is None else "on_demand",
            reason=options.reason,
            scope=options.scope.as_json(),
            dry_run=options.dry_run,
            started_at=worker.books.clock.now(),
            policy=policy_json(settings.policy),
        ),
        max_duration=settings.max_duration if options.max_duration is None else options.max_duration,
        verify_after=settings.verify_after if options.verify_after is None else options.verify_after,
    )
    with Bar(drawn_on(), shown=sys.stderr.isatty() and not options.verbose) as bar:

        def planned(accounts: int) -> None:
            bar.due(accounts)
            if warning := too_slow(settings, accounts, order.max_duration):
                complain(warning)

        def seen(result: UnitResult) -> None:
            bar.done(result)
            tell(result)

        def tell(result: UnitResult) -> None:
            if options.verbose:
                for line in told(result, dry_run=options.dry_run):
                    note(line)

        means = Means(worker.books.ledger, worker.locks, worker.engine, worker.tools, seen, planned, concluded=tell)
        return await run(order, means, stop)


def _tell_of_left(end: RunEnd) -> None:
    barred = [error["message"] for error in end.summary["errors"] if error["kind"] == BARRED]
    if barred:
        others = f" (and so it is with {len(barred) - 1} more)" if barred[1:] else ""
        complain(f"{many(len(barred), 'account')} left, and due: {barred[0]}{others}")
    if left := end.summary["accounts"]["left"] - len(barred):
        accounts, they = ("account is", "it") if left == 1 else ("accounts are", "them")
        complain(f"{left} {accounts} in another run's hands, which looks after {they}")


def _tell_of_failed(end: RunEnd) -> None:
    if failed := end.summary["accounts"]["failed"]:
        stay = "it stays" if failed == 1 else "they stay"
        complain(f"{many(failed, 'account')} could not be read or written; {stay} due")
    elif any(error["kind"] != BARRED for error in end.summary["errors"]):
        complain("everything was read, but not all could be put into the application's database: see the errors")


_A_DAY = timedelta(hours=24)


def too_slow(settings: Settings, accounts: int, max_duration: timedelta | None) -> str | None:
    """One line where the allowance is too small for the work that is due: an account takes a request at the least."""
    per_second, per_minute = settings.allowance
    name, pace = min(("RATE_PER_MINUTE", per_minute), ("RATE_PER_SECOND", 60 * per_second), key=lambda pair: pair[1])
    minutes = accounts / pace
    limit = max_duration or _A_DAY
    if not accounts or (pace >= 1 and minutes <= limit.total_seconds() / 60):
        return None
    ends = f" (this run ends after {_span(limit.total_seconds() / 60)})" if max_duration else ""
    more_time = "allow more time (--max-duration), or " if max_duration else ""
    share = f"RECONCILER_RATE_SHARE (now {settings.rate_share:g}), or " if settings.rate_share < 1 else ""
    take = many(accounts, "due account takes", "due accounts take")
    return (
        f"only {pace:.3g} requests a minute are allowed, so that the {take} {_span(minutes)} "
        f"or more{ends}: {more_time}raise {share}RECONCILER_{name} (now {getattr(settings, name.lower()):g}) as far as "
        "Cronofy grants"
    )


def _span(minutes: float) -> str:
    if minutes >= _HOURS_FROM:
        return f"{minutes / 60:,.1f} h"
    return f"{minutes:.1f} min" if minutes >= 1 else f"{60 * minutes:.1f} s"


_HOURS_FROM = 120


def exit_of(end: RunEnd, kept: str) -> Exit:
    """What to say of the end, and the exit code. `kept` is the command that goes on with what a limit held back."""
    if end.stopped_by is not None:
        complain(str(end.stopped_by))
        if end.summary["accounts"]["done"] and not isinstance(end.stopped_by, WrongConfiguration):
            return Exit.STOPPED
        return exit_code_of(end.stopped_by)
    if end.status not in {"stopped", "refused"}:
        _tell_of_left(end)
    match end.status:
        case "stopped":
            complain("stopped early; the rest stays due")
            return Exit.STOPPED
        case "refused":
            complain(f"refused: {end.refusal}; the repairs held back are kept: reconciler {kept}")
            return Exit.REFUSED
        case "partial":
            _tell_of_failed(end)
            return Exit.PARTIAL
        case _:
            return Exit.DONE
