"""The events that a listing shows, page by page."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed, storable
from reconciler.cronofy.wire.times import ZonedTime, listed_time
from reconciler.domain.event import Absent, Assigned, Conferencing, Pending, summary_digest
from reconciler.domain.evidence import Found, Unreadable
from reconciler.domain.ids import CalendarId, EventId, EventKey
from reconciler.domain.times import Instant, TimeUnreadable, parse_event_time


class _Conferencing(Struct, gc=False):
    pending: bool | None = None
    join_url: str | None = None
    provider_name: str | None = None


class _Event(Struct, gc=False):
    calendar_id: str | None = None
    event_id: str | None = None
    start: str | ZonedTime | None = None
    end: str | ZonedTime | None = None
    deleted: bool | None = None
    status: str | None = None
    event_status: str | None = None
    updated: str | None = None
    conferencing: _Conferencing | None = None
    event_uid: Any = None
    summary: Any = None


class _Key(Struct):
    calendar_id: str | None = None
    event_id: str | None = None


class _Pages(Struct):
    next_page: str | None = None


class _Page(Struct):
    events: list[_Event]
    pages: _Pages | None = None


class _RawPage(Struct):
    events: list[Raw]
    pages: _Pages | None = None


_PAGE = msgspec.json.Decoder(_Page)
_RAW_PAGE = msgspec.json.Decoder(_RawPage)
_EVENT = msgspec.json.Decoder(_Event)
_KEY = msgspec.json.Decoder(_Key)

_MALFORMED_TIMES = Unreadable("event_malformed", "start or end is missing or is no date or time")
_MALFORMED_SHAPE = Unreadable("event_malformed", "a field has another type than documented")

_ABSENT = Absent()
_PENDING = Pending()


_Place = tuple[str, str]
"""Calendar id and event id, as a page names them."""


class _Shown(Mapping[EventKey, Found | Unreadable]):
    """A listing by event. What an event looks like is worked out when asked for: most of them nobody asks for."""

    def __init__(self, events: Mapping[_Place, _Event | Unreadable]) -> None:
        self._events = events

    def __getitem__(self, key: EventKey) -> Found | Unreadable:
        return _found(self._events[key.calendar_id, key.event_id])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, EventKey) and (key.calendar_id, key.event_id) in self._events

    def __iter__(self) -> Iterator[EventKey]:
        return (EventKey(CalendarId(calendar), EventId(event)) for calendar, event in self._events)

    def __len__(self) -> int:
        return len(self._events)


class PagesRead:
    """The events of a listing so far. Of an event listed twice the later `updated` stays, else the later page's."""

    def __init__(self) -> None:
        self._events: dict[_Place, _Event | Unreadable] = {}

    @property
    def events(self) -> Mapping[EventKey, Found | Unreadable]:
        """What the pages show of each event."""
        return _Shown(self._events)

    def add(self, page: "Page") -> bool:
        """Add a page; whether it showed anything that no page before did, or what is not ours and so not known."""
        known = len(self._events)
        for place, event in page.events:
            earlier = self._events.setdefault(place, event)
            if earlier is not event and not _is_newer(_updated(earlier), _updated(event)):
                self._events[place] = event
        return len(self._events) > known or page.entries > len(page.events)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; `next_page` is an absolute address, null on the last page.

    `entries` counts what the page holds, events that are not ours included.
    """

    events: Sequence[tuple[_Place, _Event | Unreadable]] = field(repr=False)
    next_page: str | None = field(repr=False)
    entries: int


def read_page(body: bytes) -> Page:
    """Read a page. Events without `event_id` or `calendar_id` are not ours and are left out.

    Raises:
        Malformed: this is no page at all.
    """
    body = storable(body)
    try:
        page = _PAGE.decode(body)
    except UNDECODABLE:
        return _read_page_event_by_event(body)
    events = [((e.calendar_id, e.event_id), e) for e in page.events if e.event_id and e.calendar_id]
    return Page(events, _next_page(page.pages), len(page.events))


def _read_page_event_by_event(body: bytes) -> Page:
    """The slow way, taken when any event of the page has an unknown shape: the others are read all the same."""
    try:
        page = _RAW_PAGE.decode(body)
    except UNDECODABLE:
        raise Malformed("the answer is no page of events") from None
    return Page([entry for raw in page.events for entry in _listed(raw)], _next_page(page.pages), len(page.events))


def _next_page(pages: _Pages | None) -> str | None:
    return pages.next_page or None if pages else None


def _listed(raw: Raw) -> Iterable[tuple[_Place, _Event | Unreadable]]:
    try:
        key = _KEY.decode(raw)
    except UNDECODABLE:
        return
    if not key.event_id or not key.calendar_id:
        return
    place = key.calendar_id, key.event_id
    try:
        yield place, _EVENT.decode(raw)
    except UNDECODABLE:
        yield place, _MALFORMED_SHAPE


def _found(event: _Event | Unreadable) -> Found | Unreadable:
    if isinstance(event, Unreadable):
        return event
    try:
        start, start_text = listed_time(event.start)
        end, end_text = listed_time(event.end)
    except TimeUnreadable:
        return _MALFORMED_TIMES
    return Found(
        _conferencing(event.conferencing),
        start,
        end,
        bool(event.deleted),
        "cancelled" in {(event.status or "").lower(), (event.event_status or "").lower()},
        start_text,
        end_text,
        event.event_uid if isinstance(event.event_uid, str) and _UID.fullmatch(event.event_uid) else None,
        summary_digest(event.summary),
    )


_UID = re.compile(r"[\w.@:-]{1,200}", re.ASCII)
"""No rule rests on it: one of another shape is none, and spoils nothing."""


def _conferencing(value: _Conferencing | None) -> Conferencing:
    if value is None:
        return _ABSENT
    if value.join_url and value.join_url.strip():
        return Assigned(value.join_url, value.provider_name)
    return _PENDING if value.pending else _ABSENT


def _updated(event: _Event | Unreadable) -> str | None:
    return None if isinstance(event, Unreadable) else event.updated


def _is_newer(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return False
    try:
        a, b = parse_event_time(one), parse_event_time(other)
    except TimeUnreadable:
        return False
    return isinstance(a, Instant) and isinstance(b, Instant) and a.at > b.at
