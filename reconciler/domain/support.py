"""What Cronofy's support asks for about an event that nobody can explain: account and event details, and no secret.

Stored with the escalation, so that it says what was known then. Deliberately absent: tokens, links, titles, attendees,
bodies, and names of people.
"""

from datetime import UTC, datetime
from typing import Any, assert_never

from reconciler.domain.casework import Case, Caseload
from reconciler.domain.event import Absent, Assigned, Conferencing, Pending
from reconciler.domain.evidence import Evidence
from reconciler.domain.ids import names_profile
from reconciler.domain.outcome import OUTCOME_NAMES, InDoubt
from reconciler.domain.policy import Policy
from reconciler.domain.visible import page

SUPPORT_ADDRESS = "support@cronofy.com"

SUPPORT = "support"
"""Where an escalation's `after` holds it."""

Json = dict[str, Any]


def support_details(
    case: Case, caseload: Caseload, evidence: Evidence, policy: Policy, pending_since: datetime | None
) -> Json:
    """The details of one event, as plain JSON; moments in UTC, `grace_seconds` as the run had it.

    `pending_since` is when we first saw it without a link: it may have been so since `written_at`.
    """
    found, profile = evidence.found, evidence.roster.profile(evidence.asked) if evidence.roster else None
    return {
        "send_to": SUPPORT_ADDRESS,
        "account_id": case.event.account_id,
        "data_center": caseload.data_center,
        "calendar_id": case.event.key.calendar_id,
        "event_id": case.event.key.event_id,
        "event_uid": found.event_uid if found else None,
        "start": found.start_text if found else None,
        "profile_id": evidence.asked,
        "profile_connected": profile.connected if profile else None,
        "profile_listed": profile is not None if evidence.roster and names_profile(evidence.asked) else None,
        "provider_name": _provider(case, evidence),
        "conferencing": _word(found.conferencing) if found else "not listed",
        "written_at": utc(evidence.written_at),
        "read_at": utc(evidence.now),
        "pending_since": utc(pending_since) if pending_since else None,
        "grace_seconds": int(policy.grace.total_seconds()),
        "location_set": evidence.body.sets_location,
        "repairs": _repairs(case),
        "notifications": [{"at": utc(n.at), "type": n.type, "subtype": n.subtype} for n in evidence.notified],
    }


def utc(moment: datetime) -> str:
    """A moment as support reads it: ISO 8601, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _provider(case: Case, evidence: Evidence) -> str | None:
    """The provider that should make the link, as now listed, else as last listed."""
    previous = evidence.previous.provider_name if evidence.previous else None
    return evidence.provider or previous or case.state.asked_provider


def _word(conferencing: Conferencing) -> str:
    match conferencing:
        case Pending():
            return "pending"
        case Absent():
            return "absent"
        case Assigned():
            return "assigned"
    assert_never(conferencing)


def _repairs(case: Case) -> list[Json]:
    done = [
        {"at": utc(tried.at), "profile_id": tried.profile_id, "answer": tried.answer, "keys": list(tried.keys)}
        for tried in case.tried
    ]
    state = case.state
    said = bool(done) and done[-1]["answer"] == OUTCOME_NAMES[InDoubt]
    if state.intended_at is not None and state.intended_profile is not None and not said:
        lost = {
            "at": utc(state.intended_at),
            "profile_id": state.intended_profile,
            "answer": OUTCOME_NAMES[InDoubt],
            "keys": [],
        }
        done.append(lost)
    return done


_WIDTH = 30
_LINES = (
    ("Account (sub)", "account_id"),
    ("Data center", "data_center"),
    ("Calendar", "calendar_id"),
    ("Event id", "event_id"),
    ("Event uid", "event_uid"),
    ("Start", "start"),
    ("Profile asked for", "profile_id"),
    ("Provider", "provider_name"),
    ("Conferencing as read", "conferencing"),
    ("Last written by us at", "written_at"),
    ("First seen without a link at", "pending_since"),
    ("Last read at", "read_at"),
)


def support_text(details: Json) -> str:
    """The details as text to be pasted into a mail; what is not known is said to be so."""
    lines = [f"{title + ':':<{_WIDTH}}{_said(details.get(name))}" for title, name in _LINES]
    lines.insert(7, f"{'Profile state:':<{_WIDTH}}{_profile_state(details)}")
    lines.append(f"{'Normal waiting time:':<{_WIDTH}}{details['grace_seconds']} s after a write")
    if details.get("location_set"):
        lines.append(f"{'Location:':<{_WIDTH}}set by the body that was written")
    lines += _listed("Written again", [_repair_text(r) for r in details["repairs"]])
    lines += _listed("Notified by Cronofy", [_notified_text(n) for n in details["notifications"]])
    return page(lines)


def _said(value: object) -> str:
    return "not known" if value is None else str(value)


def _profile_state(details: Json) -> str:
    if details["profile_listed"] is False:
        return "not listed by userinfo"
    connected = details["profile_connected"]
    return "not known" if connected is None else "connected" if connected else "disconnected"


def _repair_text(repair: Json) -> str:
    keys = f" ({', '.join(repair['keys'])})" if repair["keys"] else ""
    return f"{repair['at']} asking for {repair['profile_id']}: {repair['answer'].replace('_', ' ')}{keys}"


def _notified_text(notified: Json) -> str:
    return f"{notified['at']} {notified['type']}" + (f" {notified['subtype']}" if notified["subtype"] else "")


def _listed(title: str, lines: list[str]) -> list[str]:
    first, *rest = lines or ["never"]
    return [f"{title + ':':<{_WIDTH}}{first}", *(f"{'':<{_WIDTH}}{line}" for line in rest)]
