"""One event's story in words that a colleague understands, from the audit trail."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reconciler.domain.audit import AuditEntry, AuditTag, BadEntry, StoredEntry
from reconciler.domain.cause import RULES
from reconciler.domain.event import Absent, Assigned, Conferencing, Pending
from reconciler.domain.evidence import Evidence, Found, NotListed, Unauthorized, Unreadable
from reconciler.domain.evidence_json import UNREADABLE, evidence_from, why_unreadable
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import REMEDY_NAMES, Escalate
from reconciler.domain.support import SUPPORT, SUPPORT_ADDRESS, support_text
from reconciler.domain.visible import page
from reconciler.reporting.summary_text import service_text

_WHAT = {
    AuditTag.EVENT_JUDGED: "judged",
    AuditTag.EVENT_CONFIRMED: "the repair is confirmed: the link is there",
    AuditTag.EVENT_ESCALATED: f"to be handed to Cronofy's support ({SUPPORT_ADDRESS}) by the engineer on call",
    AuditTag.REPAIR_INTENDED: "about to write it again",
    AuditTag.REPAIR_APPLIED: "Cronofy accepted the write",
    AuditTag.REPAIR_UNNEEDED: "not written after all",
    AuditTag.REPAIR_REJECTED: "Cronofy refused the write",
    AuditTag.REPAIR_IN_DOUBT: "it is not known whether the write took effect",
    AuditTag.REPAIR_UNSENT: "the write was not carried out",
    AuditTag.REPAIR_OVERTAKEN: "the application wrote it while our write was under way",
    AuditTag.CORRECTION_REFUSED: "the application's database refused to put that into its row",
    AuditTag.PLAN_DRIFTED: "left alone, no longer as approved",
}

_NEXT = {
    "settle": "nothing more; it is read again only if the application writes it",
    "wait": "it is read again, with growing gaps and by every run within 24 h of the start",
    "reupsert": "the next run reads it to see whether the link has come",
    "notify": "once the person has acted (Cronofy may first send a mail in which they have to confirm it), Cronofy"
    " makes the link by itself and a later run finds it",
    "park": "the account is not read until the application stores new tokens and sets it active",
    "report": "a person must decide; it stays in the account manager's report and is read again",
    "escalate": f"the engineer on call hands it to Cronofy's support ({SUPPORT_ADDRESS}); it is read again meanwhile",
    "leave": "the next run tries again",
}

_IN_DOUBT = "whether the write took effect is not known; the next run reads it before anything is written again"


_Entries = Sequence[StoredEntry | BadEntry]


def story(event: Mapping[str, Any], entries: _Entries, policy: Policy) -> dict[str, Any]:
    """The story as a plain value, for `--json`. `unreadable` says why an entry, or its evidence, cannot be read."""
    last = _last_evidence(entries)
    return {
        "event": {name: value for name, value in event.items() if name != "planned"},
        "rules": _rules(last, policy) if last else [],
        "planned": event["planned"],
        "expected_next": _expected_next(event),
        "not_due": _not_due(event, policy),
        "support": _support(event, entries),
        "entries": [_entry_json(e) for e in entries],
    }


_NAMES = ("at", "run_id", "tag", "cause", "remedy", "outcome", "before", "after", "evidence")


def _entry_json(stored: StoredEntry | BadEntry) -> dict[str, Any]:
    if isinstance(stored, BadEntry):
        known = {"run_id": stored.run_id, "tag": stored.tag}
        return {"entry_id": stored.entry_id, **dict.fromkeys(_NAMES), **known, "unreadable": stored.why}
    named = {name: getattr(stored.entry, name) for name in _NAMES}
    return {"entry_id": stored.entry_id, **named, "unreadable": _evidence_of(stored)[1]}


def _evidence_of(stored: StoredEntry) -> tuple[Evidence | None, str | None]:
    """The evidence that a verdict rests on; or why it cannot be read."""
    if stored.entry.evidence is None or stored.entry.cause is None:
        return None, None
    try:
        return evidence_from(stored.entry.evidence), None
    except UNREADABLE as error:
        return None, why_unreadable(error)


def _last_evidence(entries: _Entries) -> Evidence | None:
    """What was read last, as far as that can be read."""
    found = (_evidence_of(e)[0] for e in reversed(entries) if isinstance(e, StoredEntry))
    return next((evidence for evidence in found if evidence is not None), None)


def _rules(evidence: Evidence, policy: Policy) -> list[dict[str, Any]]:
    """The rules in order, up to the one that fits; none where one cannot be asked."""
    tried: list[dict[str, Any]] = []
    for rule in RULES:
        try:
            fits = rule.fits(evidence, policy)
        except UNREADABLE:
            return []
        tried.append({"cause": rule.cause.value, "when": rule.when, "fits": fits})
        if fits:
            break
    return tried


def story_text(event: Mapping[str, Any], entries: _Entries, policy: Policy) -> str:
    """The story as text."""
    person = f"{event['name']} " if event.get("name") else ""
    customer = f" of {event['customer']}" if event.get("customer") else ""
    lines = [
        f"{event['calendar_id']}/{event['event_id']}",
        f"  {person}({event['account_id']}){customer}",
        _as_written(event),
    ]
    if event.get("cancelled_at"):
        lines.append(f"  deleted by the application {_when(event['cancelled_at'])}")
    lines += [f"  cannot be used: {what}" for what in event["faults"]]
    planned = event["planned"]
    if not entries and not planned:
        lines.append("  nothing on record: no run has decided anything about it yet")
    for stored in entries:
        lines += _entry_lines(stored)
    if planned:
        lines.append(f"  {_planned(planned, event['profile_id'])}")
    if event.get("left_at"):
        lines.append(f"{_when(event['left_at'])}  trouble with its account: {event['left_kind']}: {event['left_why']}")
    if (last := _last_evidence(entries)) is not None and (rules := _rules(last, policy)):
        *before, fits = (f"  {r['cause']}: {r['when']}" for r in rules)
        lines += ["the first rule that fits what was read last:", fits]
        lines += ["rules before it that did not fit:", *before] if before else []
    if expected := _expected_next(event):
        lines.append(f"expected next: {expected}")
    if not_due := _not_due(event, policy):
        lines.append(f"not due: {not_due}")
    elif event.get("next_read_at"):
        lines.append(f"due again from {_when(event['next_read_at'])}")
    if details := _support(event, entries):
        heading = f"for Cronofy's support ({SUPPORT_ADDRESS}), to be pasted into a mail:"
        lines += ["", heading, "", *_support_lines(details)]
    return page(lines)


def _expected_next(event: Mapping[str, Any]) -> str | None:
    return _IN_DOUBT if event.get("intended_at") else _NEXT.get(_remedy_word(event))


def _not_due(event: Mapping[str, Any], policy: Policy) -> str | None:
    """Why no run will look at the event, whatever is on record of it; null where one will, or it is settled."""
    if event["dropped"] or event.get("cancelled_at") or event.get("settled_at"):
        return None
    if (event["profile_id"] or "none") in {"none", "explicit"}:
        return "it asks for no conferencing that Cronofy makes"
    if event["starts_at"] is None:
        return None
    if event["starts_at"] <= event["now"]:
        return "it has started"
    if event["starts_at"] > event["now"] + policy.horizon:
        return "it starts further ahead than RECONCILER_HORIZON"
    if not event["account_known"]:
        return "reconciler.accounts holds no such account"
    if event["account_state"] == "parked":
        return f"its account is {event['account_state']} ({event['parked_reason'] or 'no reason on record'})"
    return None


def _planned(planned: Mapping[str, Any], asked: str | None) -> str:
    """What a run worked out for the event and did not carry out, and the command that does."""
    run, remedy = planned["run_id"], _remedy(planned["detail"], {"profile_id": asked}) or planned["remedy"]
    who = f"planned by run {run}" if planned["dry_run"] else f"worked out by run {run}, not carried out"
    why = [f"held back by {planned['held_back']}"] if planned["held_back"] else []
    command = [f"`reconciler apply {planned['plan_id']}`"] if planned["closed"] else []
    more = "; ".join(why + command)
    return f"{who}: {planned['cause']}, {remedy}" + (f" ({more})" if more else "")


def _remedy_word(event: Mapping[str, Any]) -> str:
    return str(event.get("remedy") or "").split(" ", maxsplit=1)[0]


def _support(event: Mapping[str, Any], entries: _Entries) -> dict[str, Any] | None:
    """The details for support, as the last escalation knew them, while the event is with a person."""
    if _remedy_word(event) != REMEDY_NAMES[Escalate]:
        return None
    escalated = [
        e.entry.after or {} for e in entries if isinstance(e, StoredEntry) and e.entry.tag is AuditTag.EVENT_ESCALATED
    ]
    details = escalated[-1].get(SUPPORT) if escalated else None
    return details if isinstance(details, dict) else None


def _support_lines(details: dict[str, Any]) -> list[str]:
    try:
        return support_text(details).split("\n")
    except UNREADABLE:
        return ["what was stored cannot be read; see `reconciler audit verify`"]


def _as_written(event: Mapping[str, Any]) -> str:
    if event["dropped"]:
        return "  the application no longer holds it; this is what was on record"
    return (
        f"  starts {_when(event['starts_at'])}, asks for {event['profile_id'] or 'no conferencing'}, "
        f"last written by the application {_when(event['written_at'])}"
    )


def _entry_lines(stored: StoredEntry | BadEntry) -> list[str]:
    if isinstance(stored, BadEntry):
        return [f"entry {stored.entry_id}: {stored.why}; see `reconciler audit verify`"]
    entry = stored.entry
    head = f"{_when(entry.at)}  {_WHAT.get(entry.tag, entry.tag.value)}"
    evidence, why = _evidence_of(stored)
    if why is not None:
        return [f"{head}: entry {stored.entry_id}: {why}; see `reconciler audit replay`"]
    try:
        return _told(entry, head, evidence)
    except UNREADABLE as error:
        return [f"{head}: entry {stored.entry_id} cannot be told ({error}); see `reconciler audit replay`"]


def _told(entry: AuditEntry, head: str, evidence: Evidence | None) -> list[str]:
    if evidence is None:
        if not entry.after:
            return [head]
        told = _remedy(entry.after, entry.before) or ", ".join(f"{k} {v}" for k, v in entry.after.items())
        return [f"{head}: {told}"]
    why = "" if (entry.after or {}).get("undoes") else f"{entry.cause}, so "  # an undo asks for no cause
    pushed = evidence.found.pushed_at if evidence.found else None
    how = f"pushed by Cronofy at {_when(pushed)}, not read" if pushed else "read"
    lines = [f"{head}: {why}{_remedy(entry.after, entry.before) or entry.remedy}", f"    {how}: {_read(evidence)}"]
    if evidence.roster is not None:
        listed = ", ".join(
            f"{p.profile_id} ({p.provider_name}, {'connected' if p.connected else 'disconnected'})"
            for p in evidence.roster.conferencing
        )
        lines.append(f"    profiles: {listed or 'none listed'}")
    lines += [
        f"    Cronofy said {n.type}{f' {n.subtype}' if n.subtype else ''} at {_when(n.at)}" for n in evidence.notified
    ]
    return lines


def _remedy(after: Mapping[str, Any] | None, before: Mapping[str, Any] | None = None) -> str | None:
    """What was done or is to be; `before` says what the event asked for until then."""
    if not after or "remedy" not in after:
        return None
    match after["remedy"]:
        case "reupsert":
            drift = " and with the times that the person moved it to" if "drift" in after else ""
            why = "".join(f", {k} {after[k]}" for k in ("status", "keys", "reason") if after.get(k))
            if after.get("undoes"):
                return f"back to asking for {after['profile_id']} (undo of run {after['undoes']}){drift}{why}"
            service = service_text(after["provider_name"], after["provider_change"])
            if after.get("restores"):
                return f"write it again as the application last wrote it, asking for {after['profile_id']}{drift}{why}"
            old = (before or {}).get("profile_id")
            instead = f" instead of {old}" if old not in {None, after["profile_id"]} else ""
            return f"write it again asking for {after['profile_id']}{instead} ({service}){drift}{why}"
        case "notify":
            others = (other["profile_id"] for other in after.get("others", ()))
            about = ", ".join(profile for profile in (after["profile_id"], *others) if profile)
            return f"notice {after['kind']}" + (f" about {about}" if about else "")
        case other:
            return str(other) + (f" ({after['reason']})" if after.get("reason") else "")


def _read(evidence: Evidence) -> str:
    read = evidence.read_back
    match read:
        case Unreadable(kind, message):
            return f"could not be read ({kind}: {message})"
        case Unauthorized(reason):
            return f"Cronofy refused the account ({reason})"
        case NotListed(times):
            return "not in a complete listing, " + ("for the first time" if times == 1 else f"{times} times in a row")
        case Found():
            return _found(read, evidence.now - evidence.touched_at)


def _link(conferencing: Conferencing, age: object) -> str:
    match conferencing:
        case Assigned(_, provider):
            return f"has its link ({provider or 'explicit'})"
        case Pending():
            return f"link pending, {str(age).split('.', maxsplit=1)[0]} after the last write"
        case Absent():
            return "no conferencing at all"


def _found(found: Found, age: object) -> str:
    text = _link(found.conferencing, age)
    flags = [name for name, is_so in (("deleted", found.deleted), ("cancelled", found.cancelled)) if is_so]
    starts = "listed at several times, the last begins" if found.times_differ else "starts"
    return text + (f", {' and '.join(flags)}" if flags else "") + f", {starts} {found.start_text}"


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "at no time that can be used"
