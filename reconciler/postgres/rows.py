"""Database rows to domain values and back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from reconciler.domain.casework import Case, Caseload, Counts, Tried, Unit, UnitResult
from reconciler.domain.cause import Cause
from reconciler.domain.event import BodyState, CalendarEvent, StoredBody
from reconciler.domain.evidence import Evidence, KnownProfile, Notified
from reconciler.domain.evidence_json import UNREADABLE, event_time, evidence_json, rejections_from, rejections_json
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.notice import Addressee, Notice, Subject
from reconciler.domain.pushed import PushedEvent, PushedLink
from reconciler.domain.remedy import NoticeKind
from reconciler.domain.roster import CalendarProfile, ConferencingProfile, Roster
from reconciler.domain.state import EventState
from reconciler.domain.times import EventTime
from reconciler.ports import Density
from reconciler.postgres.moments import moment_in

Row = asyncpg.Record | Mapping[str, Any]

ReadBody = Callable[[str | None, EventId], StoredBody]
"""Reads what a decision needs of a stored upsert body; the vendor's field names stay with the API adapter."""

ReadPushed = Callable[[str], PushedEvent | None]
"""Reads the event that a notification carries; the vendor's field names stay with the API adapter."""

T = TypeVar("T")


def _notified_from(stored: list[list[str]] | None) -> tuple[Notified, ...]:
    """What Cronofy pushed about an event: type, subtype and moment each. One of no usable moment proves nothing."""
    pushed = ((kind, subtype, moment_in(at)) for kind, subtype, at in stored or ())
    return tuple(Notified(kind, subtype, at) for kind, subtype, at in pushed if at is not None)


def _pushed_from(stored: list[Any] | None, read_pushed: ReadPushed) -> PushedLink | None:
    """A link that Cronofy pushed: when it was received, and what it said."""
    return PushedLink(datetime.fromisoformat(stored[0]), read_pushed(stored[1])) if stored else None


def _tried_from(stored: list[list[Any]] | None) -> tuple[Tried, ...]:
    """What came of our writes of an event: moment, profile, outcome and error keys each."""
    return _readable(
        stored,
        lambda at, profile_id, answer, keys: (
            Tried(datetime.fromisoformat(at), ProfileId(profile_id), answer, tuple(keys or ()))
            if profile_id and answer
            else None
        ),
    )


def _sent_from(stored: list[list[str | None]] | None) -> tuple[tuple[EventTime, EventTime], ...]:
    """The times that our latest writes gave an event."""
    return _readable(stored, lambda start, end: (event_time(start), event_time(end)) if start and end else None)


def _readable(stored: Iterable[Sequence[Any]] | None, read: Callable[..., T | None]) -> tuple[T, ...]:
    """What audit entries say of earlier writes; one that no program of ours wrote says nothing."""
    values = []
    for row in stored or ():
        with suppress(*UNREADABLE):
            values.append(read(*row))
    return tuple(value for value in values if value is not None)


def key_of(row: Row) -> EventKey:
    """The event a row is about."""
    return EventKey(CalendarId(row["calendar_id"]), EventId(row["event_id"]))


_TWICE, _TOO_LARGE = StoredBody(BodyState.TWICE), StoredBody(BodyState.TOO_LARGE)


def _body_of(row: Row, key: EventKey, read_body: ReadBody) -> StoredBody:
    if "twice" in row:
        return _TWICE
    return _TOO_LARGE if row["body"] is None and row["has_body"] else read_body(row["body"], key.event_id)


def _event_from(row: Row, read_body: ReadBody) -> CalendarEvent:
    """A row of the application's events."""
    key = key_of(row)
    return CalendarEvent(
        key=key,
        account_id=AccountId(row["account_id"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        profile_id=ProfileId(row["profile_id"] or "none"),
        written_at=row["written_at"],
        body=_body_of(row, key, read_body),
    )


def _state_from(row: Row) -> EventState:
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
        linked_at=row["linked_at"],
        repairs=row["repairs"],
        repaired_at=row["repaired_at"],
        confirmed_at=row["confirmed_at"],
        intended_at=row["intended_at"],
        intended_profile=ProfileId(row["intended_profile"]) if row["intended_profile"] else None,
        misses=row["misses"],
        unchanged_looks=row["unchanged_looks"],
        seen_written_at=row["seen_written_at"],
        rejections=rejections_from(row["rejections"]),
        uncorrected=ProfileId(row["uncorrected_profile"]) if row["uncorrected_profile"] else None,
        uncorrected_reason=row["uncorrected_reason"],
        stamped_from=row["stamped_from"],
    )


def loaded_case(row: Row, read_body: ReadBody, read_pushed: ReadPushed) -> Case:
    """A due event's row with what is on record about it, and what Cronofy pushed."""
    return replace(
        case_from(row, read_body),
        notified=_notified_from(row["notified"]),
        pushed=_pushed_from(row["pushed"], read_pushed),
        to_look_at=tuple(row["to_look_at"] or ()),
    )


_TOLD_APART = ("account_id", "starts_at", "ends_at", "profile_id", "body", "written_at")


def one_of_each(rows: Sequence[Row]) -> Sequence[Row]:
    """One row for each event: of one that stands twice, with different values, none can be trusted to be written."""
    first: dict[EventKey, Row] = {}
    for row in rows:
        there = first.setdefault(key_of(row), row)
        if any(there[name] != row[name] for name in _TOLD_APART):
            first[key_of(row)] = {**dict(there), "twice": True}
    return list(first.values())


def writable_bodies(rows: Iterable[asyncpg.Record]) -> dict[EventKey, str]:
    """The stored bodies of the events that may be written: all rows of an event say so, and hold the same."""
    held: dict[EventKey, set[str | None]] = {}
    for row in rows:
        held.setdefault(key_of(row), set()).add(row["body"] if row["writable"] else None)
    return {key: body for key, bodies in held.items() if len(bodies) == 1 and (body := next(iter(bodies))) is not None}


def case_from(row: Row, read_body: ReadBody) -> Case:
    """A row of the application's events with what is on record about it.

    An event whose row could not be corrected asks for what Cronofy was given.
    """
    event, state = _event_from(row, read_body), _state_from(row)
    surely, perhaps = state.overtaken_by(event.written_at), state.perhaps_overtaken_by(event.written_at)
    bearing = state.for_write(event.written_at)
    return Case(
        replace(event, profile_id=bearing.uncorrected) if bearing.uncorrected else event,
        bearing,
        overtaken=surely or perhaps,
        perhaps=perhaps and not surely,
        lost_doubt=state.intended_profile if surely else None,
        sent=_sent_from(row["sent"]),
        tried=_tried_from(row["tried"]) if state.seen_written_at == event.written_at else (),
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
        "linked_at": _iso(state.linked_at),
        "repairs": state.repairs,
        "repaired_at": _iso(state.repaired_at),
        "confirmed_at": _iso(state.confirmed_at),
        "intended_at": _iso(state.intended_at),
        "intended_profile": state.intended_profile,
        "misses": state.misses,
        "unchanged_looks": state.unchanged_looks,
        "seen_written_at": _iso(state.seen_written_at),
        "rejections": rejections_json(state.rejections),
        "uncorrected_profile": state.uncorrected,
        "uncorrected_reason": state.uncorrected_reason,
        "stamped_from": _iso(state.stamped_from),
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
    subject, more = Subject(NoticeKind(row["kind"]), profile), max(0, row["events_affected"] - len(events))
    return Notice(subject, events, row["provider_name"], row["relink_url"], more=more)


def notice_events(notice: Notice) -> list[dict[str, str]]:
    """The events of a notice as its jsonb column holds them."""
    return [
        {"calendar_id": key.calendar_id, "event_id": key.event_id, "starts_at": starts_at.isoformat()}
        for key, starts_at in notice.events
    ]


def unit_row(result: UnitResult, counts: Counts) -> dict[str, Any]:
    """A result as a row of run_units."""
    error = result.error
    return {
        "account_id": result.unit.account_id,
        "state": "failed" if error else "waiting" if result.waits else "done",
        "counts": counts,
        "observed": {p: {"overdue": o.overdue, "total": o.total, "told": o.told} for p, o in result.observed.items()},
        "error_kind": error.kind if error else None,
        "error_message": error.message if error else None,
        "more_errors": more_errors(result),
        "parked": result.park is not None,
        "refusal": result.refusal,
        "events_read": result.counts.get("events", {}).get("read", 0),
        "roster_compared": result.roster_compared,
        "roster_lost": result.roster_lost,
        "access_lost": result.access_lost,
    }


def more_errors(result: UnitResult) -> list[list[str]]:
    """A result's further errors as run_units holds them."""
    return [[error.kind, error.message] for error in result.more_errors]


def held_row(account_id: AccountId, key: EventKey, evidence: Evidence) -> dict[str, Any]:
    """Evidence whose verdict waits, as a row of run_held."""
    return {
        "account_id": account_id,
        "calendar_id": key.calendar_id,
        "event_id": key.event_id,
        "evidence": evidence_json(evidence),
    }


def density_from(stored: Sequence[tuple[str, str, int]] | None) -> Density:
    """How many events start on each day, calendar by calendar."""
    found: dict[CalendarId, dict[date, int]] = {}
    for calendar_id, day, events in stored or ():
        found.setdefault(CalendarId(calendar_id), {})[date.fromisoformat(day)] = events
    return found


def caseload_from(unit: Unit, account: Mapping[str, Any], cases: Sequence[Case]) -> Caseload:
    """What `sql/fragments/account.sql` says of an account, with its cases."""
    on_record, linked_at = account["profiles"] or (), account["default_linked_at"]
    conferencing = [p[2:] + p[:1] for p in on_record if p[1] == "conferencing"]
    who = Addressee(unit.account_id, account["email"], account["customer"], account["account_manager"])
    return Caseload(
        unit=unit,
        addressee=who,
        data_center=account["data_center"] or "us",
        cases=tuple(cases),
        profiles={
            ProfileId(profile_id): KnownProfile(provider, name) for provider, name, *_, profile_id in conferencing
        },
        listed_before=sum(1 for *_, listed, _, _ in conferencing if listed) if on_record else None,
        open_notices=tuple(notice_from(row) for row in account["notices"] or ()),
        disconnected={ProfileId(p): datetime.fromisoformat(since) for *_, since, p in conferencing if since},
        default_linked_at=datetime.fromisoformat(linked_at) if linked_at else None,
    )


def profile_rows(result: UnitResult, roster: Roster) -> Iterable[dict[str, Any]]:
    """A roster's profiles as rows of known_profiles; of one that is listed twice the last."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for p in roster.conferencing:
        rows[p.profile_id, "conferencing"] = {"profile_name": p.profile_name, **_profile_row(p)}
    for c in roster.calendar_profiles:
        rows[c.profile_id, "calendar"] = _profile_row(c)
    common = {"account_id": result.unit.account_id, "seen_at": result.at.isoformat()}
    return ({**row, **common, "profile_id": profile_id, "kind": kind} for (profile_id, kind), row in rows.items())


def _profile_row(profile: ConferencingProfile | CalendarProfile) -> dict[str, Any]:
    return {"provider_name": profile.provider_name, "connected": profile.connected}
