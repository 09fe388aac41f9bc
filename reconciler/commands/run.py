"""`reconciler run` and `reconciler plan`: all that is due in a scope, carried out or only worked out."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from reconciler.bootstrap import Worker, open_worker
from reconciler.commands.terminal import Exit, complain, say, say_json
from reconciler.commands.working import RunOptions, exit_of, stopping, work
from reconciler.config import Settings
from reconciler.cronofy.limits import seconds_for
from reconciler.domain.outage import OUTAGE, Aftermath
from reconciler.domain.plural import many
from reconciler.pipeline.run import AlreadyDone, RunEnd
from reconciler.reporting.summary_text import plan_text, run_text


async def run_command(settings: Settings, options: RunOptions) -> Exit:
    """`reconciler run`."""
    shared = settings.engine == "pgqueuer"
    if shared and options.run_key is None:
        complain("RECONCILER_ENGINE=pgqueuer needs --run-key: its processes share the run of that key")
        return Exit.USAGE
    async with (
        stopping() as stop,
        open_worker(
            settings, options.scope, dry_run=options.dry_run, recheck=options.recheck, shared=shared, stop=stop
        ) as worker,
    ):
        try:
            end = await work(settings, options, worker, stop)
        except AlreadyDone as already:
            complain(str(already))
            return Exit.ALREADY
        plan = await _kept_plan(settings, worker, end)
        aftermath = await _aftermath(worker, end)
        would = await worker.books.plans.remedies(UUID(end.summary["run_id"])) if options.dry_run else {}
        await _warn_of_names(worker, end, options)
    if options.as_json:
        say_json(end.summary)
    else:
        say(run_text(end.summary, aftermath, plan, would))
    if options.dry_run:
        keeps = "`reconciler plan` with the same options keeps"
        if not options.as_json:
            say(f"  plan       none is kept for `reconciler apply`: {keeps} one")
        _warn_of_limits(settings, end, would, f"{keeps} them for `reconciler apply`")
    return exit_of(end, f"apply {plan['plan_id']}" if plan else "")


async def plan_command(settings: Settings, options: RunOptions) -> Exit:
    """`reconciler plan`: a run that writes nothing but the plan."""
    async with (
        stopping() as stop,
        open_worker(settings, options.scope, dry_run=True, recheck=options.recheck, stop=stop) as worker,
    ):
        end = await work(settings, options, worker, stop)
        run_id = UUID(end.summary["run_id"])
        plan = await worker.books.plans.close(run_id, lambda requests: seconds_for(requests, *settings.allowance))
        items = await worker.books.plans.items(UUID(plan["plan_id"]))
        aftermath = await _aftermath(worker, end)
        await _warn_of_names(worker, end, options)
    if options.as_json:
        say_json({**end.summary, **plan, "items": [_item(i) for i in items]})
    else:
        say(plan_text(plan, items))
        say(run_text(end.summary, aftermath, would=plan["remedies"]))
        say(f"  plan       kept for a day: reconciler apply {plan['plan_id']}")
    _warn_of_limits(settings, end, plan["remedies"], f"once looked through: reconciler apply {plan['plan_id']}")
    return exit_of(end, f"apply {plan['plan_id']}")


def _warn_of_limits(settings: Settings, end: RunEnd, remedies: Mapping[str, int], way: str) -> None:
    """A run that looks only meets no limit: say where one that writes would; `way` is how to get past it."""
    repairs = remedies.get("reupsert", 0)
    if repairs > (allowed := settings.limits.allowed(end.summary["events"]["read"])):
        complain(
            f"a run would make at most {allowed} of these {many(repairs, 'repair')} (RECONCILER_MAX_REPAIRS, "
            f"RECONCILER_MAX_REPAIR_SHARE); {way}"
        )


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("calendar_id", "event_id", "starts_at", "cause", "detail", "evidence_digest")}


async def _aftermath(worker: Worker, end: RunEnd) -> Aftermath | None:
    """What became of the events that had waited for their provider, as far as the run looked at them."""
    counts = await worker.books.ledger.counts(UUID(end.summary["run_id"]))
    return Aftermath.of(counts.get(OUTAGE, {}))


async def _kept_plan(settings: Settings, worker: Worker, end: RunEnd) -> dict[str, Any] | None:
    """The plan of the repairs that a limit held back, closed so that it can be applied."""
    if end.status != "refused":
        return None
    plan = await worker.books.plans.close(
        UUID(end.summary["run_id"]), lambda requests: seconds_for(requests, *settings.allowance)
    )
    end.summary["plan_id"] = plan["plan_id"]
    return plan


async def _warn_of_names(worker: Worker, end: RunEnd, options: RunOptions) -> None:
    """A mistyped name must not pass for a scope in which all is well."""
    if not end.summary["accounts"]["due"] and options.scope.as_json():
        complain("nothing that is due fits the scope; check its names")
    for name in await worker.books.status.unlisted(options.scope.providers):
        complain(
            f"no account read so far has a profile of the provider {name}:"
            " only events whose provider is not known yet were looked at for it"
        )
