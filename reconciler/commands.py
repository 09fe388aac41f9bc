"""What each command does, between the command line and the parts: open, carry out, print, choose the exit code."""

import asyncio
import json
import math
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog

from reconciler.bootstrap import Books, Worker, open_books, open_worker, policy_from, policy_json
from reconciler.config import Settings
from reconciler.domain.casework import Scope, UnitResult
from reconciler.domain.ids import CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.outage import OUTAGE, Aftermath
from reconciler.domain.policy import Policy
from reconciler.domain.run import RunRow
from reconciler.pipeline.guide import Change, Guide, Planned, as_planned, back
from reconciler.pipeline.prove import Proof, replay, verify
from reconciler.pipeline.run import AlreadyDone, Means, RunEnd, RunOrder, run
from reconciler.ports import RunStopped, SafetyLimits, WrongConfiguration
from reconciler.postgres.report_reader import ReportQuery, build
from reconciler.postgres.run_ledger import plan_digest
from reconciler.reporting import render
from reconciler.reporting.explain import story, story_text
from reconciler.reporting.progress import Bar
from reconciler.reporting.summary_text import plan_text, run_text, status_text

log = structlog.get_logger()


class Exit(IntEnum):
    """The exit codes of the command line."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    PARTIAL = 3
    REFUSED = 4
    STOPPED = 5
    UNREACHABLE = 69
    ALREADY = 75
    CONFIGURATION = 78


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


def say(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print a result as the one JSON document."""
    say(json.dumps(value, ensure_ascii=False, default=_plain, indent=2 if sys.stdout.isatty() else None))


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def complain(message: str) -> None:
    """One line on stderr that says what to change."""
    sys.stderr.write(f"reconciler: {' '.join(message.split())}\n")


def exit_code_of(error: RunStopped) -> Exit:
    """Wrong configuration is not unreachability."""
    return Exit.CONFIGURATION if isinstance(error, WrongConfiguration) else Exit.UNREACHABLE


@asynccontextmanager
async def _stopping() -> AsyncIterator[asyncio.Event]:
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


async def run_command(settings: Settings, options: RunOptions) -> Exit:
    """`reconciler run`."""
    shared = settings.engine == "pgqueuer"
    if shared and options.run_key is None:
        complain("RECONCILER_ENGINE=pgqueuer needs --run-key: its processes share the run of that key")
        return Exit.USAGE
    async with (
        _stopping() as stop,
        open_worker(settings, options.scope, dry_run=options.dry_run, recheck=options.recheck, shared=shared) as worker,
    ):
        try:
            end = await _run(settings, options, worker, stop)
        except AlreadyDone as already:
            complain(str(already))
            return Exit.ALREADY
        plan_id = await _kept_plan(settings, worker, end)
        aftermath = await _aftermath(worker, end)
    if options.as_json:
        say_json(end.summary)
    else:
        say(run_text(end.summary, aftermath))
        _warn_of_nothing(end, options)
    return _exit_of(end, f"apply {plan_id}")


async def _aftermath(worker: Worker, end: RunEnd) -> Aftermath | None:
    """What became of the events that had waited for their provider, as far as the run looked at them."""
    counts = await worker.books.ledger.counts(UUID(end.summary["run_id"]))
    return Aftermath.of(counts.get(OUTAGE, {}))


async def _kept_plan(settings: Settings, worker: Worker, end: RunEnd) -> UUID | None:
    """The plan of the repairs that a limit held back, closed so that it can be applied."""
    if end.status != "refused":
        return None
    plan = await worker.books.ledger.close_plan(UUID(end.summary["run_id"]), settings.allowance[1])
    end.summary["plan_id"] = str(plan["plan_id"])
    return UUID(str(plan["plan_id"]))


def _warn_of_nothing(end: RunEnd, options: RunOptions) -> None:
    if not end.summary["accounts"]["due"] and options.scope.as_json():
        complain("nothing that is due fits the scope; check its names")


def _exit_of(end: RunEnd, kept: str) -> Exit:
    """What to say of the end, and the exit code. `kept` is the command that goes on with what a limit held back."""
    if end.stopped_by is not None:
        complain(str(end.stopped_by))
        if end.summary["accounts"]["done"] and not isinstance(end.stopped_by, WrongConfiguration):
            return Exit.STOPPED
        return exit_code_of(end.stopped_by)
    match end.status:
        case "stopped":
            complain("stopped early; the rest stays due")
            return Exit.STOPPED
        case "refused":
            complain(f"refused: {end.refusal}; the repairs held back are kept: reconciler {kept}")
            return Exit.REFUSED
        case "partial":
            complain(f"{end.summary['accounts']['failed']} accounts could not be read or written; they stay due")
            return Exit.PARTIAL
        case _:
            return Exit.DONE


async def _run(settings: Settings, options: RunOptions, worker: Worker, stop: asyncio.Event) -> RunEnd:
    order = RunOrder(
        row=RunRow(
            run_id=uuid4(),
            run_key=options.run_key,
            trigger="schedule" if options.run_key else "on_demand",
            reason=options.reason,
            scope=options.scope.as_json(),
            dry_run=options.dry_run,
            started_at=worker.books.clock.now(),
            policy=policy_json(settings.policy),
        ),
        max_duration=settings.max_duration if options.max_duration is None else options.max_duration,
        verify_after=settings.verify_after if options.verify_after is None else options.verify_after,
    )
    with Bar(shown=sys.stderr.isatty() and not options.verbose) as bar:

        def planned(accounts: int) -> None:
            bar.due(accounts)
            if warning := too_slow(settings, accounts, order.max_duration):
                complain(warning)

        def seen(result: UnitResult) -> None:
            bar.done(result)
            if options.verbose:
                _tell(result)

        means = Means(worker.books.ledger, worker.locks, worker.engine, worker.tools, seen, planned)
        return await run(order, means, stop)


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
    share = f" or RECONCILER_RATE_SHARE (now {settings.rate_share:g})" if settings.rate_share < 1 else ""
    return (
        f"only {pace:.3g} requests a minute are allowed, so that the {accounts} due accounts take {_span(minutes)} "
        f"or more{ends}: raise RECONCILER_{name} (now {getattr(settings, name.lower()):g}){share}"
    )


def _span(minutes: float) -> str:
    if minutes >= _HOURS_FROM:
        return f"{minutes / 60:,.1f} h"
    return f"{minutes:.1f} min" if minutes >= 1 else f"{60 * minutes:.1f} s"


_HOURS_FROM = 120


def _tell(result: UnitResult) -> None:
    """One line per remedy."""
    for state in result.states:
        if state.cause is not None:
            sys.stderr.write(f"{state.key}  {state.cause}  {state.remedy}\n")
    for verdict in result.verdicts:
        sys.stderr.write(f"{verdict.key}  {verdict.cause}  planned\n")


async def plan_command(settings: Settings, options: RunOptions) -> Exit:
    """`reconciler plan`: a run that writes nothing but the plan."""
    async with (
        _stopping() as stop,
        open_worker(settings, options.scope, dry_run=True, recheck=options.recheck) as worker,
    ):
        end = await _run(settings, options, worker, stop)
        run_id = UUID(end.summary["run_id"])
        plan = await worker.books.ledger.close_plan(run_id, settings.allowance[1])
        items = await worker.books.ledger.plan_items(plan["plan_id"])
        aftermath = await _aftermath(worker, end)
    if options.as_json:
        say_json({**end.summary, **plan, "items": [_item(i) for i in items]})
    else:
        say(plan_text(plan, items))
        say(run_text(end.summary, aftermath))
    return _exit_of(end, f"apply {plan['plan_id']}")


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("calendar_id", "event_id", "starts_at", "cause", "detail", "evidence_digest")}


async def apply_command(settings: Settings, plan_id: UUID, *, as_json: bool) -> Exit:
    """`reconciler apply`: what a stored plan says, and only what in it still holds."""
    async with open_books(settings) as books:
        plan, items = await books.ledger.plan(plan_id), await books.ledger.plan_items(plan_id)
    if plan is None:
        complain(f"there is no plan {plan_id}: `reconciler plan` makes one")
        return Exit.USAGE
    if plan["expired"] or plan["digest"] != plan_digest(items):
        why = (
            f"expired at {plan['expires_at']:%Y-%m-%d %H:%M} UTC" if plan["expired"] else "was altered or never closed"
        )
        complain(f"refused: plan {plan_id} {why}; make a new one with `reconciler plan`")
        return Exit.REFUSED
    approved = {key_in(i): Planned(i["cause"], i["detail"]) for i in items}
    return await _guided(settings, tuple(approved), as_planned(approved), f"apply {plan_id}", as_json=as_json)


async def undo_command(settings: Settings, run_id: UUID, *, as_json: bool) -> Exit:
    """`reconciler undo`: put back what a run changed, where nothing moved since."""
    async with open_books(settings) as books:
        rows = await books.ledger.changes(run_id)
    if rows is None:
        complain(f"there is no run {run_id}: `reconciler status` names the last one")
        return Exit.USAGE
    changed = {
        key_in(r): Change(
            ProfileId(r["before"]["profile_id"]),
            ProfileId(r["after"]["profile_id"]),
            datetime.fromisoformat(r["before"]["written_at"]),
        )
        for r in rows
    }
    return await _guided(settings, tuple(changed), back(run_id, changed), f"undo {run_id}", as_json=as_json)


def key_in(row: Mapping[str, Any]) -> EventKey:
    """The event that a row is about."""
    return EventKey(CalendarId(row["calendar_id"]), EventId(row["event_id"]))


async def _guided(
    settings: Settings, events: tuple[EventKey, ...], guide: Guide, command: str, *, as_json: bool
) -> Exit:
    """A run over exactly these events, in which only what the guide allows is carried out. `command` does it again."""
    if not events:
        complain("nothing to do: it holds no event")
        return Exit.DONE
    options = RunOptions(scope=Scope(events=events), reason=command, as_json=as_json)
    many = len(events)
    limits = SafetyLimits(repairs=many, share=math.inf, per_account=many)  # somebody has looked at exactly these
    async with _stopping() as stop, open_worker(settings, options.scope, guide=guide, limits=limits) as worker:
        end = await _run(settings, options, worker, stop)
        counts = await worker.books.ledger.counts(UUID(end.summary["run_id"]))
    asked, carried = len(events), end.summary["events"]["read"] - counts.get("outcomes", {}).get("drifted", 0)
    end.summary["asked"] = {"events": asked, "carried_out": carried, "drifted": asked - carried}
    if as_json:
        say_json(end.summary)
    else:
        say(run_text(end.summary))
        say(f"  of {asked} events {carried} were as expected; {asked - carried} have moved on and were left alone")
    return _exit_of(end, command)


async def status_command(settings: Settings, *, as_json: bool) -> Exit:
    """`reconciler status`."""
    async with open_books(settings) as books:
        status = await books.status.status(books.clock.now(), settings.cronofy_client_id)
    if as_json:
        say_json(status)
    else:
        say(status_text(status))
    return Exit.DONE


async def explain_command(settings: Settings, key: EventKey, *, as_json: bool) -> Exit:
    """`reconciler explain`."""
    async with open_books(settings) as books:
        event = await books.status.event(key)
        entries = await books.audit.of_event(key)
    if event is None:
        complain(f"reconciler.events holds no event {key}: check the calendar id and the event id")
        return Exit.USAGE
    if as_json:
        say_json(story(event, entries, settings.policy))
    else:
        say(story_text(event, entries, settings.policy))
    return Exit.DONE


async def audit_command(settings: Settings, what: str, run_id: UUID | None, *, as_json: bool) -> Exit:
    """`reconciler audit verify` and `reconciler audit replay`."""
    async with open_books(settings) as books:
        if what == "verify":
            proof = await verify(books.audit)
        else:
            policies = await _policies(books)
            proof = await replay(books.audit, run_id, lambda run: policies.get(run, settings.policy))
    _say_proof(what, proof, as_json=as_json)
    return Exit.INTERNAL if proof.faults else Exit.DONE


async def _policies(books: Books) -> dict[UUID | None, Policy]:
    return {run_id: policy_from(stored) for run_id, stored in await books.ledger.policies()}


def _say_proof(what: str, proof: Proof, *, as_json: bool) -> None:
    if as_json:
        verdict = "failed" if proof.faults else "ok"
        more = {"superseded": proof.superseded} if what == "replay" else {}
        say_json({what: verdict, "entries": proof.entries, **more, "faults": proof.faults})
        return
    done = "verified" if what == "verify" else "replayed to the same cause and remedy"
    say(
        f"{proof.entries} entries {done}"
        if not proof.faults
        else f"{len(proof.faults)} faults in {proof.entries} entries"
    )
    if proof.superseded:
        say(f"  {proof.superseded} were reached by older rules; today's would decide otherwise")
    for fault in proof.faults:
        say(f"  {fault}")


async def report_command(settings: Settings, query: ReportQuery, form: str, output: Path | None) -> Exit:
    """`reconciler report`: to a file, or to stdout."""
    async with open_books(settings) as books:
        try:
            content = render(await build(books.pool, query), form)
        except LookupError as error:
            complain(str(error))
            return Exit.USAGE
    if output is None:
        sys.stdout.buffer.write(content)
        return Exit.DONE
    try:
        await asyncio.to_thread(output.write_bytes, content)
    except OSError as error:
        complain(f"-o {output}: {error.strerror}")
        return Exit.USAGE
    return Exit.DONE


def migrate_command(settings: Settings) -> Exit:
    """`reconciler migrate`."""
    from reconciler.postgres.migrate import migrate  # noqa: PLC0415 - no other command needs psycopg and yoyo

    done = migrate(settings.dsn())
    for name in done.applied:
        say(f"applied {name}")
    say(f"{len(done.applied)} migrations applied, {done.before} had been applied before")
    return Exit.DONE


def guarded(work: Any) -> Exit:
    """Run a command's coroutine; failures that a user can cause become one line and their exit code."""
    try:
        return Exit(asyncio.run(work))
    except RunStopped as error:
        complain(str(error))
        return exit_code_of(error)
    except TimeoutError:
        complain("Postgres does not answer in time; check RECONCILER_DATABASE_URL")
        return Exit.UNREACHABLE
