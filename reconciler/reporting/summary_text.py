"""A run's summary, a plan and the present state of the work in plain words, for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.domain.casework import UnitResult, Verdict
from reconciler.domain.outage import Aftermath
from reconciler.domain.plural import many
from reconciler.domain.remedy import Reupsert, remedy_text
from reconciler.domain.visible import page


def run_text(
    summary: Mapping[str, Any],
    aftermath: Aftermath | None = None,
    kept: Mapping[str, Any] | None = None,
    would: Mapping[str, int] | None = None,
) -> str:
    """What `reconciler run` prints at its end.

    `aftermath` is of the events that had waited for their provider, `kept` the plan of what a limit held back, `would`
    counts by remedy what a dry run worked out.
    """
    accounts, events, requests = summary["accounts"], summary["events"], summary["requests"]
    looks = summary["dry_run"]
    title, nothing, be = ("dry run", "; nothing was written", "to be ") if looks else ("run", "", "")
    lines = [
        f"{title} {summary['run_id']}: {summary['status']} in {summary['duration_seconds']:.1f} s{nothing}",
        f"  accounts   {accounts['due']} due, {accounts['done']} done, {accounts['failed']} failed, "
        f"{accounts['parked']} {be}parked, {accounts['left']} left",
        f"  events     {events['due']} due, {events['read']} read, {events['settled']} {be}settled",
    ]
    lines += _table("causes", summary["causes"], terms=True)
    if looks:
        lines += _would(summary, would or {})
    else:
        lines += _table("outcomes", {k: v for k, v in summary["outcomes"].items() if v})
        lines += _table("notices", {k: v for k, v in summary["notices"].items() if v})
        lines += _table("incidents", {k: v for k, v in summary["incidents"].items() if v})
    if aftermath is not None:
        lines.append(f"  outage     {aftermath.text}")
    lines.append(f"  requests   {requests['total']}{_by_kind(requests)}")
    if kept is not None:
        lines.append(f"  held back  {_kept(sum(kept['remedies'].values()), kept['plan_id'])}")
    lines += _failed(summary["errors"])
    lines += [f"  seal       {summary['seal']}"] if summary.get("seal") else []
    return page(lines)


def _would(summary: Mapping[str, Any], remedies: Mapping[str, int]) -> list[str]:
    """What a run would do that a dry run only looked at: the first three lines whatever the numbers."""
    notices, incidents, waiting = summary["notices"], summary["incidents"], summary["outcomes"]["waiting"]
    more = [
        f"{verb} {many(counts[name], noun)}"
        for noun, counts, verbs in (("notice", notices, _NOTICE_VERBS), ("incident", incidents, _INCIDENT_VERBS))
        for name, verb in verbs.items()
        if counts[name]
    ]
    lines = [
        f"would write {many(remedies.get('reupsert', 0), 'event')} again",
        f"would queue {many(notices['queued'], 'notice')}",
        f"would park {many(summary['accounts']['parked'], 'account')}",
        *(f"would {what}" for what in more),
    ]
    lines += [
        f"would {verb} {many(remedies[remedy], 'event')}"
        for remedy, verb in (("report", "report"), ("escalate", "escalate"))
        if remedies.get(remedy)
    ]
    lines += [f"would wait for the link of {many(waiting, 'event')}"] if waiting else []
    return [f"  {'outcomes' if i == 0 else '':<10} {line}" for i, line in enumerate(lines)]


_NOTICE_VERBS = {"updated": "update", "resolved": "resolve"}
_INCIDENT_VERBS = {"opened": "open", "closed": "close"}


def told(result: UnitResult, *, dry_run: bool) -> list[str]:
    """What `-v` says of an account: a line for each event that got a verdict."""
    waits = {key for key, _ in result.held}
    lines = [f"{s.key}  {s.cause}  {s.remedy}" for s in result.states if s.cause is not None and s.key not in waits]
    verdicts = [f"{v.key}  {v.cause}  {verdict_text(v)}" for v in result.verdicts]
    why = "waits until all accounts are through" if result.waits else "held back by a limit"
    return verdicts if dry_run else lines + [f"{line}, {why}" for line in verdicts]


def verdict_text(verdict: Verdict) -> str:
    """What a run would do about an event; of a repair what it asks for now and what it would ask for."""
    match verdict.remedy:
        case Reupsert(profile_id, provider, change):
            return f"write again: {verdict.evidence.asked} -> {profile_id} ({service_text(provider, change.value)})"
        case remedy:
            return remedy_text(remedy)


def _failed(errors: Sequence[Mapping[str, str]]) -> list[str]:
    return [f"  failed     {e['account_id'] or '(no account)'}: {e['kind']}: {e['message']}" for e in errors]


FATES = {
    "carried_out": ("", ""),
    "refused": ("Cronofy refused {}", "Cronofy refused {}"),
    "in_doubt": ("whether {} took effect is not known", "whether {} took effect is not known"),
    "failed": ("{} could not be read or written", "{} could not be read or written"),
    "drifted": ("{} has changed since and was left alone", "{} have changed since and were left alone"),
    "held_back": ("a limit held back {}", "a limit held back {}"),
    "left": ("{} was not reached", "{} were not reached"),
    "elsewhere": ("{} was in another run's hands", "{} were in another run's hands"),
}
"""What becomes of an event that a run is told by name, and how it is said of one and of several."""

_DONE = {
    "reupsert": "repaired",
    "notify": "noticed",
    "park": "parked with a notice",
    "report": "reported",
    "escalate": "escalated",
}


def fates_text(asked: int, fates: Mapping[str, Mapping[str, int]], *, undoes: bool) -> str:
    """What became of the events of a plan or, if it `undoes` one, of a run. The numbers add up to `asked`."""
    done = fates.get("carried_out", {})
    by_remedy = ", ".join(f"{done[remedy]} {words}" for remedy, words in _DONE.items() if remedy in done)
    carried = "put back" if undoes else "carried out" + (f" ({by_remedy})" if by_remedy else "")
    parts = [f"{sum(done.values())} of {asked} {carried}"]
    counted = {fate: sum(fates[fate].values()) for fate in FATES if fate in fates and fate != "carried_out"}
    parts += [FATES[fate][number != 1].format(number) for fate, number in counted.items()]
    lines = ["  " + "; ".join(parts)]
    if undoes and done:
        lines.append(
            "  the next run judges them anew and repairs what it finds broken: suspend the nightly run, or have the "
            "application write a profile that works"
        )
    return page(lines)


def _by_kind(requests: Mapping[str, int]) -> str:
    spent = ", ".join(f"{kind} {n}" for kind, n in requests.items() if n and kind != "total")
    return f": {spent}" if spent else ""


def _spent(requests: Mapping[str, int] | None) -> str:
    return f", spent {many(requests['total'], 'request')}{_by_kind(requests)}" if requests else ""


def _table(title: str, values: Mapping[str, int], *, terms: bool = False) -> list[str]:
    """One line per value. `terms` are names that users write and look for, kept as they are."""
    width = max((len(str(n)) for n in values.values()), default=1)
    return [
        f"  {title if i == 0 else '':<10} {number:>{width}}  {name if terms else name.replace('_', ' ')}"
        for i, (name, number) in enumerate(values.items())
    ]


_CHANGES = {
    "same": "the same service as before",
    "changed": "another service than before",
    "unknown": "whether the service changes is not known",
}


def service_text(provider: str | None, change: str) -> str:
    """With which video service a write asks for a link, and whether it is another one than before."""
    return f"{provider}, {_CHANGES[change]}" if provider else _CHANGES[change]


def plan_text(plan: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str:
    """What `reconciler plan` prints: the writes one by one, the rest counted."""
    lines = [f"plan {plan['plan_id']}", f"  digest     {plan['digest']}"]
    lines += _table("remedies", plan["remedies"])
    cost, seconds = plan["expected_requests"], plan["expected_seconds"]
    lines.append(f"  requests   about {cost} to carry it out, {seconds:.0f} s at this share")
    for item in items:
        detail = item["detail"]
        if detail.get("remedy") == "reupsert":
            change = f" ({_CHANGES[detail['provider_change']]})" if detail["provider_change"] != "same" else ""
            key = f"{item['calendar_id']}/{item['event_id']}"
            lines.append(f"  reupsert   {key}: {item['asked']} -> {detail['profile_id']}{change}")
    return page(lines)


def status_text(status: Mapping[str, Any]) -> str:
    """What `reconciler status` prints."""
    due = status["due"]
    soonest = f", soonest start {due['soonest']:%Y-%m-%d %H:%M} UTC" if due.get("soonest") else ""
    lines = [f"due now: {many(due['events'], 'event')} of {many(due['accounts'], 'account')}{soonest}"]
    for run in status["runs"]:
        lines += _run_lines(run)
    if not status["runs"]:
        lines.append("no run under way")
    if last := status["last_run"]:
        lines.append(
            f"last run {last['run_id']}: {last['status']}, finished {last['finished_at']:%Y-%m-%d %H:%M:%S} UTC"
            + _spent(last["requests"])
        )
        lines += _held_back(last)
        lines += _trouble(last["trouble"])
    if budget := status["budget"]:
        held = f", held for {budget['held_for_seconds']:.0f} s after a 429" if budget["held_for_seconds"] else ""
        left = f"{budget['left_this_minute']} of {budget['per_minute']} requests left in this minute"
        lines.append(f"request budget: {left}, pace {budget['pace']:.0%}{held}")
    lines += [
        f"open notices: {n['notices']} {kind} for {many(n['events'], 'event')}" for kind, n in status["notices"].items()
    ]
    lines += [
        f"incident: {incident['provider_name']} since {incident['opened_at']:%Y-%m-%d %H:%M} UTC"
        for incident in status["incidents"]
    ]
    return page(lines)


def _run_lines(run: Mapping[str, Any]) -> list[str]:
    key = f" ({run['run_key']})" if run["run_key"] else ""
    more = f", {run['processes']} processes" if run["processes"] > 1 else ""
    if run["abandoned"]:
        who = "a run with its key goes on with it, any other" if run["run_key"] else "the next run"
        more = f" (its process is gone; {who} closes it)"
    lines = [
        f"run {run['run_id']}{key}: {run['accounts_done']} of {many(run['accounts'], 'account')} "
        f"since {run['started_at']:%H:%M:%S} UTC{more}"
    ]
    if run["expected_end"] and not run["abandoned"]:
        lines.append(f"  expected end {run['expected_end']:%Y-%m-%d %H:%M:%S} UTC, at the pace so far")
    lines += [f"  waits for {what}" for what in run["waits_for"]]
    if run["refusal"]:
        return [*lines, f"  writes nothing more: {run['held_back']}"]
    return lines + _held_back(run)


def _held_back(run: Mapping[str, Any]) -> list[str]:
    kept = f"; {_kept(run['kept'], run['plan_id'])}" if run.get("plan_id") else ""
    return [f"  held back: {run['held_back']}{kept}"] if run["held_back"] else []


def _kept(remedies: int, plan_id: object) -> str:
    return f"{many(remedies, 'remedy is', 'remedies are')} kept: reconciler apply {plan_id}"


def _trouble(trouble: Mapping[str, Any]) -> list[str]:
    errors, more = trouble["errors"], trouble["accounts"] - len(trouble["errors"])
    return _failed(errors) + ([f"  failed     and {more} more"] if more else [])
