"""Evidence as the audit trail stores it, and back again, so that a verdict can be replayed.

Carries no join URL: that there was one is all that a rule asks.
"""

import hashlib
import json
from datetime import date, datetime
from typing import Any, assert_never

from reconciler.domain.cause import RULES_VERSION
from reconciler.domain.event import Absent, Assigned, BodyState, Conferencing, Pending, StoredBody
from reconciler.domain.evidence import (
    CalendarFact,
    Evidence,
    Found,
    KnownProfile,
    Notified,
    NotListed,
    ReadBack,
    Rejection,
    RosterFact,
    Unauthorized,
    Unreadable,
)
from reconciler.domain.ids import ProfileId
from reconciler.domain.roster import ConferencingProfile
from reconciler.domain.times import AllDay, EventTime, Instant

EVIDENCE_VERSION = 1
LINK_KEPT_ELSEWHERE = "kept in event_states"

UNREADABLE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What comes of stored JSON that no program of ours wrote, whatever was made of it."""

Json = dict[str, Any]


def why_unreadable(error: Exception) -> str:
    """What is said of evidence that cannot be read."""
    return f"its evidence cannot be read ({str(error)[:200]})"


def evidence_json(e: Evidence) -> Json:
    """A plain JSON value that `evidence_from` turns into equal evidence (but for the join URL)."""
    out: Json = {
        "version": EVIDENCE_VERSION,
        "rules": RULES_VERSION,
        "now": e.now.isoformat(),
        "asked": e.asked,
        "starts_at": e.starts_at.isoformat(),
        "written_at": e.written_at.isoformat(),
        "body": {
            "state": e.body.state.value,
            "start": _time_json(e.body.start),
            "end": _time_json(e.body.end),
            "tzid": e.body.tzid,
            **({"recurs": True} if e.body.recurs else {}),
            **({"location": True} if e.body.sets_location else {}),
        },
        "read_back": _read_back_json(e.read_back),
        "repairs": e.repairs,
    }
    if e.roster is not None:
        out["roster"] = _roster_json(e.roster)
    if e.previous is not None:
        out["previous"] = {"provider_name": e.previous.provider_name, "profile_name": e.previous.profile_name}
    if e.repaired_at is not None:
        out["repaired_at"] = e.repaired_at.isoformat()
    if e.notified:
        out["notified"] = [{"type": n.type, "subtype": n.subtype, "at": n.at.isoformat()} for n in e.notified]
    if e.rejections:
        out["rejections"] = rejections_json(e.rejections)
    if e.open_incidents:
        out["open_incidents"] = list(e.open_incidents)
    if e.not_default:
        out["not_default"] = list(e.not_default)
    return out


def digest_of(evidence: Evidence) -> str:
    """A digest of what a verdict rests on, without the moment of observation: equal while nothing changed."""
    stored = evidence_json(evidence)
    stored.pop("now")
    text = json.dumps(stored, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def evidence_from(stored: Json) -> Evidence:
    """The evidence that was stored.

    Raises:
        UNREADABLE: it is none, or of a version that this program does not know.
    """
    if stored["version"] != EVIDENCE_VERSION:
        raise ValueError(f"evidence of version {stored['version']}, this program reads {EVIDENCE_VERSION}")
    body = stored["body"]
    roster, previous, repaired = stored.get("roster"), stored.get("previous"), stored.get("repaired_at")
    return Evidence(
        now=datetime.fromisoformat(stored["now"]),
        asked=ProfileId(stored["asked"]),
        starts_at=datetime.fromisoformat(stored["starts_at"]),
        written_at=datetime.fromisoformat(stored["written_at"]),
        body=StoredBody(
            BodyState(body["state"]),
            _time_or_none(body["start"]),
            _time_or_none(body["end"]),
            body["tzid"],
            recurs=body.get("recurs", False),
            sets_location=body.get("location", False),
        ),
        read_back=_read_back(stored["read_back"]),
        roster=_roster(roster) if roster is not None else None,
        previous=KnownProfile(previous["provider_name"], previous["profile_name"]) if previous else None,
        repaired_at=datetime.fromisoformat(repaired) if repaired else None,
        repairs=stored["repairs"],
        notified=tuple(
            Notified(n["type"], n["subtype"], datetime.fromisoformat(n["at"])) for n in stored.get("notified", ())
        ),
        rejections=rejections_from(stored.get("rejections", [])),
        open_incidents=tuple(stored.get("open_incidents", ())),
        not_default=tuple(ProfileId(p) for p in stored.get("not_default", ())),
    )


def rejections_json(rejections: tuple[Rejection, ...]) -> list[Json]:
    """Rejections as a plain JSON value."""
    return [{"profile_id": r.profile_id, "keys": list(r.keys), "about_profile": r.about_profile} for r in rejections]


def rejections_from(stored: list[Json]) -> tuple[Rejection, ...]:
    """The rejections that were stored."""
    return tuple(Rejection(ProfileId(r["profile_id"]), tuple(r["keys"]), r["about_profile"]) for r in stored)


def _time_json(value: EventTime | None) -> str | None:
    match value:
        case None:
            return None
        case AllDay(day):
            return day.isoformat()
        case Instant(at):
            return at.isoformat()
    assert_never(value)


def event_time(text: str) -> EventTime:
    """A time as stored evidence holds it."""
    return Instant(datetime.fromisoformat(text)) if "T" in text else AllDay(date.fromisoformat(text))


def _moment_or_none(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def _time_or_none(text: str | None) -> EventTime | None:
    return event_time(text) if text is not None else None


def _read_back_json(read: ReadBack) -> Json:
    match read:
        case Found():
            uid = {"event_uid": read.event_uid} if read.event_uid is not None else {}
            pushed = {"pushed_at": read.pushed_at.isoformat()} if read.pushed_at is not None else {}
            return {
                "kind": "found",
                "conferencing": _conferencing_json(read.conferencing),
                "start": _time_json(read.start),
                "end": _time_json(read.end),
                "deleted": read.deleted,
                "cancelled": read.cancelled,
                "start_text": read.start_text,
                "end_text": read.end_text,
                **uid,
                **pushed,
                **({"times_differ": True} if read.times_differ else {}),
            }
        case NotListed(times):
            return {"kind": "not_listed", "times": times}
        case Unreadable(kind, message):
            return {"kind": "unreadable", "why": kind, "message": message}
        case Unauthorized(reason):
            return {"kind": "unauthorized", "reason": reason}
    assert_never(read)


def _read_back(stored: Json) -> ReadBack:
    match stored["kind"]:
        case "found":
            return Found(
                _conferencing(stored["conferencing"]),
                event_time(stored["start"]),
                event_time(stored["end"]),
                stored["deleted"],
                stored["cancelled"],
                stored["start_text"],
                stored["end_text"],
                stored.get("event_uid"),
                pushed_at=_moment_or_none(stored.get("pushed_at")),
                times_differ=stored.get("times_differ", False),
            )
        case "not_listed":
            return NotListed(stored["times"])
        case "unreadable":
            return Unreadable(stored["why"], stored["message"])
        case "unauthorized":
            return Unauthorized(stored["reason"])
        case other:
            raise ValueError(f"no read-back is called {other!r}")


def _conferencing_json(conferencing: Conferencing) -> Json:
    match conferencing:
        case Absent():
            return {"state": "absent"}
        case Pending():
            return {"state": "pending"}
        case Assigned(_, provider_name):
            return {"state": "assigned", "provider_name": provider_name}
    assert_never(conferencing)


def _conferencing(stored: Json) -> Conferencing:
    match stored["state"]:
        case "absent":
            return Absent()
        case "pending":
            return Pending()
        case "assigned":
            return Assigned(LINK_KEPT_ELSEWHERE, stored["provider_name"])
        case other:
            raise ValueError(f"no conferencing is called {other!r}")


def _roster_json(roster: RosterFact) -> Json:
    calendar = roster.calendar
    return {
        "conferencing": [
            {
                "profile_id": p.profile_id,
                "provider_name": p.provider_name,
                "profile_name": p.profile_name,
                "connected": p.connected,
            }
            for p in roster.conferencing
        ],
        "calendar": None
        if calendar is None
        else {
            "listed": calendar.listed,
            "deleted": calendar.deleted,
            "readonly": calendar.readonly,
            "integrated": calendar.integrated,
            "profile_id": calendar.profile_id,
            "profile_provider": calendar.profile_provider,
            "profile_connected": calendar.profile_connected,
        },
    }


def _roster(stored: Json) -> RosterFact:
    profiles = tuple(ConferencingProfile(**p) for p in stored["conferencing"])
    calendar = stored["calendar"]
    return RosterFact(profiles, CalendarFact(**calendar) if calendar is not None else None)
