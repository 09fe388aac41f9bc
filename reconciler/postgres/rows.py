"""Database rows to domain values and back."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from reconciler.domain.casework import Tried
from reconciler.domain.cause import Cause
from reconciler.domain.event import CalendarEvent, StoredBody
from reconciler.domain.evidence import Notified
from reconciler.domain.evidence_json import event_time, rejections_from, rejections_json
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.notice import Notice, Subject
from reconciler.domain.remedy import NoticeKind
from reconciler.domain.state import EventState
from reconciler.domain.times import EventTime

ReadBody = Callable[[str | None, EventId], StoredBody]
"""Reads what a decision needs of a stored upsert body; the vendor's field names stay with the API adapter."""

LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def notified_from(stored: list[list[str]] | None) -> tuple[Notified, ...]:
    """What Cronofy pushed about an event: type, subtype and moment each."""
    return tuple(Notified(kind, subtype, datetime.fromisoformat(at)) for kind, subtype, at in stored or ())


def tried_from(stored: list[list[Any]] | None) -> tuple[Tried, ...]:
    """What came of our writes of an event: moment, profile, outcome and error keys each."""
    return tuple(
        Tried(datetime.fromisoformat(at), ProfileId(profile_id), answer, tuple(keys or ()))
        for at, profile_id, answer, keys in stored or ()
        if profile_id and answer
    )


def sent_from(stored: list[list[str | None]] | None) -> tuple[tuple[EventTime, EventTime], ...]:
    """The times that our latest writes gave an event."""
    return tuple((event_time(start), event_time(end)) for start, end in stored or () if start and end)


def finite(moment: datetime | None) -> datetime | None:
    """A moment of the application's; null for Postgres's `infinity`, which arrives without a zone."""
    return moment if moment is not None and moment.tzinfo else None


def key_of(row: asyncpg.Record) -> EventKey:
    """The event a row is about."""
    return EventKey(CalendarId(row["calendar_id"]), EventId(row["event_id"]))


def event_from(row: asyncpg.Record, read_body: ReadBody) -> CalendarEvent:
    """A row of the application's events."""
    key = key_of(row)
    return CalendarEvent(
        key=key,
        account_id=AccountId(row["account_id"]),
        starts_at=row["starts_at"],
        ends_at=finite(row["ends_at"]),
        profile_id=ProfileId(row["profile_id"] or "none"),
        written_at=finite(row["written_at"]) or LONG_AGO,
        body=read_body(row["body"], key.event_id),
        body_text=row["body"],
    )


def state_from(row: asyncpg.Record) -> EventState:
    """Our own row beside an event's; a blank state where there is none."""
    key, account_id = key_of(row), AccountId(row["account_id"])
    if not row["known"]:
        return EventState(key, account_id)
    return EventState(
        key=key,
        account_id=account_id,
        conferencing=row["conferencing"],
        cause=Cause(row["cause"]) if row["cause"] else None,
        remedy=row["remedy"],
        join_url=row["join_url"],
        provider_name=row["provider_name"],
        asked_provider=row["asked_provider"],
        read_at=row["read_at"],
        pending_since=row["pending_since"],
        next_read_at=row["next_read_at"],
        settled_at=row["settled_at"],
        repairs=row["repairs"],
        repaired_at=row["repaired_at"],
        confirmed_at=row["confirmed_at"],
        intended_at=row["intended_at"],
        intended_profile=ProfileId(row["intended_profile"]) if row["intended_profile"] else None,
        misses=row["misses"],
        unchanged_looks=row["unchanged_looks"],
        seen_written_at=row["seen_written_at"],
        rejections=rejections_from(row["rejections"]),
    )


def state_row(state: EventState, run_id: UUID) -> dict[str, Any]:
    """A state as `jsonb_populate_recordset` reads it."""
    return {
        "calendar_id": state.key.calendar_id,
        "event_id": state.key.event_id,
        "account_id": state.account_id,
        "conferencing": state.conferencing,
        "cause": state.cause,
        "remedy": state.remedy,
        "join_url": state.join_url,
        "provider_name": state.provider_name,
        "asked_provider": state.asked_provider,
        "read_at": _iso(state.read_at),
        "pending_since": _iso(state.pending_since),
        "next_read_at": _iso(state.next_read_at),
        "settled_at": _iso(state.settled_at),
        "repairs": state.repairs,
        "repaired_at": _iso(state.repaired_at),
        "confirmed_at": _iso(state.confirmed_at),
        "intended_at": _iso(state.intended_at),
        "intended_profile": state.intended_profile,
        "misses": state.misses,
        "unchanged_looks": state.unchanged_looks,
        "seen_written_at": _iso(state.seen_written_at),
        "rejections": rejections_json(state.rejections),
        "run_id": str(run_id),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def notice_from(row: Mapping[str, Any]) -> Notice:
    """An open notice."""
    events = tuple(
        (EventKey(CalendarId(e["calendar_id"]), EventId(e["event_id"])), datetime.fromisoformat(e["starts_at"]))
        for e in row["events"]
    )
    profile = ProfileId(row["profile_id"]) if row["profile_id"] is not None else None
    return Notice(Subject(NoticeKind(row["kind"]), profile), events, row["provider_name"], row["relink_url"])


def notice_events(notice: Notice) -> list[dict[str, str]]:
    """The events of a notice as its jsonb column holds them."""
    return [
        {"calendar_id": key.calendar_id, "event_id": key.event_id, "starts_at": starts_at.isoformat()}
        for key, starts_at in notice.events
    ]
