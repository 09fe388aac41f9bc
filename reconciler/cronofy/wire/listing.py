"""The events that a listing shows, page by page."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed
from reconciler.cronofy.wire.mending import STAND_IN, decode, is_spoilt
from reconciler.cronofy.wire.times import ZonedTime, listed_time
from reconciler.domain.event import Absent, Assigned, Conferencing, Pending, summary_digest
from reconciler.domain.evidence import Found, Unreadable, together
from reconciler.domain.ids import CalendarId, EventId, EventKey
from reconciler.domain.links import may_be_a_link, meeting_link
from reconciler.domain.pushed import PushedEvent
from reconciler.domain.times import Instant, TimeUnreadable, parse_event_time


class _Conferencing(Struct, gc=False):
    pending: bool | None = None
    join_url: str | None = None
    provider_name: Any = None


class _Event(Struct, gc=False):
    """An event of a page. Of what may be anything, only a text counts: no decision needs it."""

    calendar_id: str | None = None
    event_id: str | None = None
    start: str | ZonedTime | None = None
    end: str | ZonedTime | None = None
    deleted: bool | None = None
    status: str | None = None
    event_status: str | None = None
    updated: Any = None
    conferencing: _Conferencing | None = None
    event_uid: Any = None
    summary: Any = None
    recurring: Any = None


class _NeededConferencing(Struct):
    pending: bool | None = None
    join_url: str | None = None
    provider_name: Raw = Raw()


class _Needed(Struct):
    """The same with what no decision needs left as it is: it may be nothing that a program can hold."""

    start: str | ZonedTime | None = None
    end: str | ZonedTime | None = None
    deleted: bool | None = None
    status: str | None = None
    event_status: str | None = None
    updated: Raw = Raw()
    conferencing: _NeededConferencing | None = None
    event_uid: Raw = Raw()
    summary: Raw = Raw()
    recurring: Raw = Raw()


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
_NEEDED = msgspec.json.Decoder(_Needed)
_TEXT = msgspec.json.Decoder(str)
_KEY = msgspec.json.Decoder(_Key)

_MALFORMED_TIMES = Unreadable("event_malformed", "start or end is missing or is no date or time")
_MALFORMED_SHAPE = Unreadable("event_malformed", "a field has another type than documented")
_MALFORMED_TEXT = Unreadable("event_malformed", "its id or status holds a character that cannot be read")

_ABSENT = Absent()
_PENDING = Pending()


_Place = tuple[str, str]
"""Calendar id and event id, as a page names them."""


class Shown(Enum):
    """What a page shows beyond those before it. `FOREIGN`: only events that are not the application's."""

    WANTED = auto()
    OTHERS = auto()
    FOREIGN = auto()
    NOTHING_NEW = auto()


class _Listed(Mapping[EventKey, Found | Unreadable]):
    """A listing by event. What an event looks like is worked out when asked for: most of them nobody asks for."""

    def __init__(self, events: Mapping[_Place, Sequence[_Event | Unreadable]]) -> None:
        self._events = events

    def __getitem__(self, key: EventKey) -> Found | Unreadable:
        return _as_one(self._events[key.calendar_id, key.event_id])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, EventKey) and (key.calendar_id, key.event_id) in self._events

    def __iter__(self) -> Iterator[EventKey]:
        return (EventKey(CalendarId(calendar), EventId(event)) for calendar, event in self._events)

    def __len__(self) -> int:
        return len(self._events)


class PagesRead:
    """The events of a listing so far, every entry of each: one key may have several."""

    def __init__(self, wanted: Collection[EventKey] | None = None) -> None:
        self._wanted = None if wanted is None else {(key.calendar_id, key.event_id) for key in wanted}
        self._events: dict[_Place, list[_Event | Unreadable]] = {}
        self._pages: set[int] = set()

    @property
    def events(self) -> Mapping[EventKey, Found | Unreadable]:
        """What the pages show of each event; of none that is not wanted, where that was said."""
        return _Listed(self._events)

    def add(self, page: "Page") -> Shown:
        """Add a page, and tell what it shows."""
        if page.entries and not page.events:
            return Shown.FOREIGN
        before, wanted = len(self._events), False
        for place, event in page.events:
            if self._wanted is not None and place not in self._wanted:
                continue
            wanted = True
            held = _bounded(event)
            entries = self._events.setdefault(place, [])
            if held not in entries[-1:]:
                entries.append(held)
        is_known = page.next_page is not None and self._is_known(page)
        if len(self._events) > before or (wanted and not is_known):
            return Shown.WANTED
        return Shown.NOTHING_NEW if is_known or not page.events else Shown.OTHERS

    def _is_known(self, page: "Page") -> bool:
        """Whether a page before had the same entries: of an event that repeats, these differ by their start."""
        place = hash(frozenset((place, str(_start(event))) for place, event in page.events))
        known = place in self._pages
        self._pages.add(place)
        return known


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
    try:
        page = decode(_PAGE, body)
    except UNDECODABLE:
        return _read_page_event_by_event(body)
    events = [_placed(e.calendar_id, e.event_id, e, body) for e in page.events if e.event_id and e.calendar_id]
    return Page(events, _next_page(page.pages), len(page.events))


def _placed(
    calendar_id: str, event_id: str, event: _Event | Unreadable, body: bytes
) -> tuple[_Place, _Event | Unreadable]:
    """An event under its key; unreadable where that is another's, but for a character that is lost."""
    spoilt = is_spoilt(calendar_id, body) or is_spoilt(event_id, body)
    return (calendar_id, event_id), _MALFORMED_TEXT if spoilt else event


def _read_page_event_by_event(body: bytes) -> Page:
    """The slow way, taken when any event of the page has an unknown shape: the others are read all the same."""
    try:
        page = decode(_RAW_PAGE, body)
    except UNDECODABLE:
        raise Malformed("the answer is no page of events") from None
    events = [entry for raw in page.events for entry in _listed(raw, body)]
    return Page(events, _next_page(page.pages), len(page.events))


def _next_page(pages: _Pages | None) -> str | None:
    return pages.next_page or None if pages else None


def _listed(raw: Raw, body: bytes) -> Iterable[tuple[_Place, _Event | Unreadable]]:
    try:
        key = decode(_KEY, raw)
    except UNDECODABLE:
        return
    if key.event_id and key.calendar_id:
        yield _placed(key.calendar_id, key.event_id, _event(raw), body)


def _event(raw: Raw) -> _Event | Unreadable:
    try:
        event = decode(_NEEDED, raw)
    except UNDECODABLE:
        return _MALFORMED_SHAPE
    shown = event.conferencing
    return _Event(
        start=event.start,
        end=event.end,
        deleted=event.deleted,
        status=event.status,
        event_status=event.event_status,
        updated=_text(event.updated),
        conferencing=_Conferencing(shown.pending, shown.join_url, _text(shown.provider_name)) if shown else None,
        event_uid=_text(event.event_uid),
        summary=_text(event.summary),
        recurring=bytes(event.recurring) == b"true",
    )


def _text(raw: Raw) -> str | None:
    try:
        return decode(_TEXT, raw)
    except UNDECODABLE:
        return None


def found_in(raw: Raw) -> PushedEvent | None:
    """One event by itself, with the moment of its last change; null where it cannot be read."""
    event = _bounded(_event(raw))
    found = _found(event)
    return PushedEvent(found, _moment(_updated(event))) if isinstance(found, Found) else None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = parse_event_time(text)
    except TimeUnreadable:
        return None
    return time.at if isinstance(time, Instant) else None


def _as_one(entries: Sequence[_Event | Unreadable]) -> Found | Unreadable:
    """The entries of one event, read together. Where several would do, the one that changed last stands, by its
    `updated`, else by its place."""
    newest, *others = entries
    read = _found(newest)
    for entry in others:
        if _is_newer(_updated(newest), _updated(entry)):
            read = together(_found(entry), read)
        else:
            read, newest = together(read, _found(entry)), entry
    return read


def _found(event: _Event | Unreadable) -> Found | Unreadable:
    if isinstance(event, Unreadable):
        return event
    try:
        start, start_text = listed_time(event.start)
        end, end_text = listed_time(event.end)
    except TimeUnreadable:
        return _MALFORMED_TIMES
    words = {(event.status or "").strip().lower(), (event.event_status or "").strip().lower()}
    if any(STAND_IN in word for word in words):
        return _MALFORMED_TEXT
    return Found(
        _conferencing(event.conferencing),
        start,
        end,
        bool(event.deleted),
        not _CANCELLED.isdisjoint(words),
        start_text,
        end_text,
        event.event_uid if isinstance(event.event_uid, str) and _UID.fullmatch(event.event_uid) else None,
        summary_digest(event.summary),
        repeats=event.recurring is True,
    )


_CANCELLED = frozenset({"cancelled", "canceled"})

_UID = re.compile(r"[\w.@:-]{1,200}", re.ASCII)
"""No rule rests on it: one of another shape is none, and spoils nothing."""


def _conferencing(value: _Conferencing | None) -> Conferencing:
    if value is None:
        return _ABSENT
    if link := meeting_link(value.join_url):
        return Assigned(link, value.provider_name if isinstance(value.provider_name, str) else None)
    return _PENDING if value.pending else _ABSENT


_LONGEST_WORD = 100
"""Characters of times and words: what is longer is none."""
_LONGEST_TEXT = 4_096
"""Characters of a link or a summary."""

_MALFORMED_LENGTH = Unreadable("event_malformed", f"its join_url is longer than {_LONGEST_TEXT} characters")


_UNFIT_LINK = Unreadable("event_malformed", "its join_url is a web address that cannot be handed on")


def _bounded(event: _Event | Unreadable) -> _Event | Unreadable:
    """An event fit to be held in memory and stored: texts that are too long count as missing.

    But a link that is too long, or unfit to be handed on, is a link: the event is not without one, and so not written.
    """
    if isinstance(event, Unreadable):
        return event
    if (shown := event.conferencing) is not None:
        if len(shown.join_url or "") > _LONGEST_TEXT:
            return _MALFORMED_LENGTH
        if may_be_a_link(shown.join_url) and meeting_link(shown.join_url) is None:
            return _UNFIT_LINK
        name = shown.provider_name
        shown.provider_name = name[:_LONGEST_WORD] if isinstance(name, str) else None
    for name in ("start", "end", "status", "event_status", "updated", "event_uid"):
        if _length(getattr(event, name)) > _LONGEST_WORD:
            setattr(event, name, None)
    if _length(event.summary) > _LONGEST_TEXT:
        event.summary = None
    return event


def _length(value: object) -> int:
    """Of a text or a time with its zone; anything else is decoded for no use, and counts as too long."""
    match value:
        case None:
            return 0
        case str():
            return len(value)
        case ZonedTime():
            return len(value.time) + len(value.tzid or "")
        case _:
            return _LONGEST_TEXT + 1


def _start(event: _Event | Unreadable) -> str | ZonedTime | None:
    return None if isinstance(event, Unreadable) else event.start


def _updated(event: _Event | Unreadable) -> str | None:
    return event.updated if isinstance(event, _Event) and isinstance(event.updated, str) else None


def _is_newer(one: str | None, other: str | None) -> bool:
    a, b = _moment(one), _moment(other)
    return a is not None and b is not None and a > b
