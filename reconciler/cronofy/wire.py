"""JSON as Cronofy speaks it, to and from domain values. The only file that knows field names.

Pure. Unknown fields are skipped and lists of words stay open. What cannot be read becomes a value for one event and
`Malformed` for a whole answer; neither carries anything of the content. Field names and shapes are those of Cronofy's
read-events, userinfo, upsert-event, batch and refresh-token pages.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from reconciler.domain.event import (
    NO_BODY,
    Absent,
    Assigned,
    BodyState,
    Conferencing,
    Pending,
    StoredBody,
)
from reconciler.domain.evidence import Found, Unreadable
from reconciler.domain.ids import CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.roster import Calendar, CalendarProfile, ConferencingProfile, Roster
from reconciler.domain.times import AllDay, EventTime, Instant, TimeUnreadable, parse_event_time
from reconciler.ports import UpsertRequest

_UNDECODABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
"""Everything decoding may raise on a hostile answer: no JSON, another shape, endless nesting, no text."""


class Malformed(ValueError):
    """An answer, or a stored body, of another shape than documented. The message holds none of its content."""


# ---------------------------------------------------------------- listings


class _ZonedTime(Struct, gc=False):
    time: str
    tzid: str | None = None


class _Conferencing(Struct, gc=False):
    pending: bool | None = None
    join_url: str | None = None
    provider_name: str | None = None


class _Event(Struct, gc=False):
    calendar_id: str | None = None
    event_id: str | None = None
    start: str | _ZonedTime | None = None
    end: str | _ZonedTime | None = None
    deleted: bool | None = None
    status: str | None = None
    updated: str | None = None
    conferencing: _Conferencing | None = None
    event_uid: Any = None


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

    def add(self, page: "Page") -> None:
        """Add a page."""
        for place, event in page.events:
            earlier = self._events.setdefault(place, event)
            if earlier is not event and not _is_newer(_updated(earlier), _updated(event)):
                self._events[place] = event


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
        page = _PAGE.decode(body)
    except _UNDECODABLE:
        return _read_page_event_by_event(body)
    events = [((e.calendar_id, e.event_id), e) for e in page.events if e.event_id and e.calendar_id]
    return Page(events, _next_page(page.pages), len(page.events))


def _read_page_event_by_event(body: bytes) -> Page:
    """The slow way, taken when any event of the page has an unknown shape: the others are read all the same."""
    try:
        page = _RAW_PAGE.decode(body)
    except _UNDECODABLE:
        raise Malformed("the answer is no page of events") from None
    return Page([entry for raw in page.events for entry in _listed(raw)], _next_page(page.pages), len(page.events))


def _next_page(pages: _Pages | None) -> str | None:
    return pages.next_page or None if pages else None


def _listed(raw: Raw) -> Iterable[tuple[_Place, _Event | Unreadable]]:
    try:
        key = _KEY.decode(raw)
    except _UNDECODABLE:
        return
    if not key.event_id or not key.calendar_id:
        return
    place = key.calendar_id, key.event_id
    try:
        yield place, _EVENT.decode(raw)
    except _UNDECODABLE:
        yield place, _MALFORMED_SHAPE


def _found(event: _Event | Unreadable) -> Found | Unreadable:
    if isinstance(event, Unreadable):
        return event
    try:
        start, start_text = _read_time(event.start)
        end, end_text = _read_time(event.end)
    except TimeUnreadable:
        return _MALFORMED_TIMES
    return Found(
        _conferencing(event.conferencing),
        start,
        end,
        bool(event.deleted),
        event.status == "cancelled",
        start_text,
        end_text,
        event.event_uid if isinstance(event.event_uid, str) and _UID.fullmatch(event.event_uid) else None,
    )


_UID = re.compile(r"[\w.@:-]{1,200}", re.ASCII)
"""No rule rests on it: one of another shape is none, and spoils nothing."""

_USUAL_LENGTH = len("2026-03-01T09:00:00Z")
"""Nearly all times look like this, and meetings begin at few different ones; the full parser takes 2 µs for each."""


@lru_cache(maxsize=16_384)
def _usual_time(text: str) -> Instant:
    return Instant(datetime.fromisoformat(text))


def _read_time(value: str | _ZonedTime | None) -> tuple[EventTime, str]:
    """A time, and the text that means the same wherever it is sent: a date, or a time with its own offset."""
    if isinstance(value, str):
        if len(value) == _USUAL_LENGTH and value[-1] == "Z":
            try:
                return _usual_time(value), value
            except ValueError:
                pass
        text, tzid = value, None
    elif value is None:
        raise TimeUnreadable("missing")
    else:
        text, tzid = value.time, value.tzid
    parsed = parse_event_time(text, tzid)
    if isinstance(parsed, AllDay) or parse_event_time(text, "Etc/GMT+1") == parsed:
        return parsed, text
    return parsed, _utc_text(parsed)


def _utc_text(moment: Instant) -> str:
    return moment.at.isoformat().replace("+00:00", "Z")


def _conferencing(value: _Conferencing | None) -> Conferencing:
    if value is None:
        return _ABSENT
    if value.join_url:
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


# ---------------------------------------------------------------- userinfo


class _Calendar(Struct):
    calendar_id: str
    calendar_readonly: bool | None = None
    calendar_deleted: bool | None = None
    calendar_integrated_conferencing_available: bool | None = None


class _Profile(Struct):
    profile_id: str
    provider_name: str | None = None
    profile_name: str | None = None
    profile_connected: bool | None = None
    profile_relink_url: str | None = None

    @property
    def connected(self) -> bool:
        """As stated; else by the relink address, which only a disconnected profile has."""
        return not self.profile_relink_url if self.profile_connected is None else self.profile_connected


class _CalendarProfile(_Profile):
    profile_calendars: list[_Calendar] | None = None


class _Data(Struct):
    profiles: list[_CalendarProfile] | None = None
    conferencing_profiles: list[_Profile] | None = None


class _Userinfo(Struct):
    data: _Data = msgspec.field(name="cronofy.data")


_USERINFO = msgspec.json.Decoder(_Userinfo)

_NO_NAME = "unknown"


def read_userinfo(body: bytes) -> Roster:
    """Read a person's profiles and calendars.

    All or nothing: a profile left out would look removed, and a removed profile calls for a write.

    Raises:
        Malformed: something in it has another shape than documented.
    """
    try:
        data = _USERINFO.decode(body).data
    except _UNDECODABLE:
        raise Malformed("userinfo has another shape than documented") from None
    conferencing = data.conferencing_profiles or ()
    profiles = data.profiles or ()
    return Roster(
        conferencing=tuple(
            ConferencingProfile(ProfileId(p.profile_id), p.provider_name or _NO_NAME, p.profile_name, p.connected)
            for p in conferencing
        ),
        calendar_profiles=tuple(
            CalendarProfile(ProfileId(p.profile_id), p.provider_name or _NO_NAME, p.connected) for p in profiles
        ),
        calendars=None if data.profiles is None else tuple(_calendars(data.profiles)),
        relink_urls={
            ProfileId(p.profile_id): p.profile_relink_url for p in (*profiles, *conferencing) if p.profile_relink_url
        },
    )


def _calendars(profiles: Sequence[_CalendarProfile]) -> Iterable[Calendar]:
    for profile in profiles:
        for c in profile.profile_calendars or ():
            yield Calendar(
                CalendarId(c.calendar_id),
                ProfileId(profile.profile_id),
                bool(c.calendar_readonly),
                bool(c.calendar_deleted),
                c.calendar_integrated_conferencing_available,
            )


# ---------------------------------------------------------------- upserts

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_OBJECT_OR_NULL = msgspec.json.Decoder(dict[str, Raw] | None)
_TEXT = msgspec.json.Decoder(str)
_ENCODER = msgspec.json.Encoder()


def events_path(calendar_id: CalendarId) -> str:
    """Where events of a calendar are written."""
    return f"/v1/calendars/{quote(calendar_id, safe='')}/events"


def upsert_body(request: UpsertRequest) -> bytes:
    """The stored body with another `conferencing.profile_id` and, after a drift, other times.

    Every other value goes out byte for byte as it is stored, numbers and escapes included.

    Raises:
        Malformed: the stored body is no JSON object, or would write another event.
    """
    try:
        body = _OBJECT.decode(request.body_text)
        event_id = _TEXT.decode(body.get("event_id", b"null"))
        conferencing = _OBJECT_OR_NULL.decode(body.get("conferencing", b"null")) or {}
    except _UNDECODABLE:
        raise Malformed("the stored body cannot be sent as it is") from None
    if event_id != request.key.event_id:
        raise Malformed("the stored body carries another event_id")
    conferencing["profile_id"] = _raw(request.profile_id)
    body["conferencing"] = Raw(_ENCODER.encode(conferencing))
    if request.drift is not None:
        body["start"] = _raw(request.drift.start_text)
        body["end"] = _raw(request.drift.end_text)
    return _ENCODER.encode(body)


def _raw(text: str) -> Raw:
    return Raw(_ENCODER.encode(text))


def batch_body(entries: Iterable[tuple[CalendarId, bytes]]) -> bytes:
    """Several upserts as one request; the bodies are embedded as they are."""
    batch = [
        {"method": "POST", "relative_url": events_path(calendar_id), "data": Raw(body)} for calendar_id, body in entries
    ]
    return _ENCODER.encode({"batch": batch})


class _Entry(Struct):
    status: int
    data: Raw = Raw()


class _Batch(Struct):
    batch: list[_Entry]


_BATCH = msgspec.json.Decoder(_Batch)


@dataclass(frozen=True, slots=True)
class EntryAnswer:
    """What a batch says of one of its entries."""

    status: int
    keys: tuple[str, ...]


def read_batch(body: bytes) -> Sequence[EntryAnswer]:
    """Read the answers of a batch, in the order of its entries.

    Raises:
        Malformed: this is no answer to a batch.
    """
    try:
        return [EntryAnswer(e.status, read_error_keys(e.data)) for e in _BATCH.decode(body).batch]
    except _UNDECODABLE:
        raise Malformed("the answer to a batch has another shape than documented") from None


class _ErrorKey(Struct):
    key: str


class _Errors(Struct):
    errors: dict[str, list[Raw]]


_ERRORS = msgspec.json.Decoder(_Errors)
_ERROR_KEY = msgspec.json.Decoder(_ErrorKey)
_SAFE_KEY = re.compile(r"errors\.[a-z0-9_.]{1,72}")
_MOST_KEYS = 20


def read_error_keys(body: bytes | Raw) -> tuple[str, ...]:
    """The error keys of a 422, each once. Empty where the body is anything else; descriptions are left behind."""
    try:
        errors = _ERRORS.decode(body).errors
    except _UNDECODABLE:
        return ()
    keys: dict[str, None] = {}
    for entries in errors.values():
        for raw in entries:
            try:
                key = _ERROR_KEY.decode(raw).key
            except _UNDECODABLE:
                continue
            if _SAFE_KEY.fullmatch(key):
                keys[key] = None
    return tuple(keys)[:_MOST_KEYS]


# ---------------------------------------------------------------- stored bodies


class _StoredBody(Struct):
    event_id: Raw = Raw()
    start: Raw = Raw()
    end: Raw = Raw()
    tzid: Raw = Raw()
    conferencing: Raw = Raw()


_STORED_BODY = msgspec.json.Decoder(_StoredBody)
_TIME = msgspec.json.Decoder(str | _ZonedTime)


_CONFERENCING_PLACE = re.compile(rb"\s*(\{|null|$)")


def stored_body(text: str | None, event_id: EventId) -> StoredBody:
    """What a decision needs to know of the body the application last wrote, `text` as it is stored.

    Times without an offset take their own `tzid`, else the body's, else UTC.
    """
    if text is None:
        return NO_BODY
    try:
        body = _STORED_BODY.decode(text)
    except _UNDECODABLE:
        return StoredBody(BodyState.NOT_AN_OBJECT)
    if _text_or_none(body.event_id) != event_id:
        return StoredBody(BodyState.OTHER_EVENT)
    if not _CONFERENCING_PLACE.match(bytes(body.conferencing)):
        return StoredBody(BodyState.CONFERENCING_UNREADABLE)
    tzid = _text_or_none(body.tzid)
    try:
        start, start_tzid = _stored_time(body.start, tzid)
        end, _ = _stored_time(body.end, tzid)
    except TimeUnreadable:
        return StoredBody(BodyState.TIMES_UNREADABLE, tzid=tzid)
    return StoredBody(BodyState.USABLE, start, end, tzid or start_tzid)


def _text_or_none(raw: Raw) -> str | None:
    try:
        return _TEXT.decode(raw)
    except _UNDECODABLE:
        return None


def _stored_time(raw: Raw, tzid: str | None) -> tuple[EventTime, str | None]:
    try:
        value = _TIME.decode(raw)
    except _UNDECODABLE:
        raise TimeUnreadable("missing or of another type") from None
    if isinstance(value, str):
        return parse_event_time(value, tzid), None
    return parse_event_time(value.time, value.tzid or tzid), value.tzid


# ---------------------------------------------------------------- tokens


class _Granted(Struct):
    access_token: str
    refresh_token: object = None
    expires_in: object = None


class _TokenError(Struct):
    error: str


_GRANTED = msgspec.json.Decoder(_Granted)
_TOKEN_ERROR = msgspec.json.Decoder(_TokenError)


@dataclass(frozen=True, slots=True)
class Granted:
    """What a refresh gave. `refresh` is null where the old one stays; `expires_in` is in seconds."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_in: float | None


def refresh_body(client_id: str, client_secret: str, refresh_token: str) -> bytes:
    """The request that turns a refresh token into a new pair."""
    return _ENCODER.encode(
        {
            "client_id": client_id,
            "client_secret": client_secret,
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
        }
    )


def read_granted(body: bytes) -> Granted:
    """Read a new pair of tokens. Whatever else is odd, the access token is not thrown away: the old one may be dead.

    Raises:
        Malformed: there is no access token in it.
    """
    try:
        granted = _GRANTED.decode(body)
    except _UNDECODABLE:
        raise Malformed("the answer of the token endpoint holds no access token") from None
    if not granted.access_token:
        raise Malformed("the access token in the answer of the token endpoint is empty")
    refresh, seconds = granted.refresh_token, granted.expires_in
    return Granted(
        granted.access_token,
        refresh if isinstance(refresh, str) and refresh else None,
        seconds if isinstance(seconds, int | float) else None,
    )


_TOKEN_ERRORS = frozenset({
    "invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "unauthorized_client",
    "unsupported_grant_type",
})  # fmt: skip
"""RFC 6749, section 5.2. Anything else might be an echo of what was sent."""


def read_token_error(body: bytes) -> str | None:
    """The OAuth error code, such as `invalid_grant`; null where there is none."""
    try:
        error = _TOKEN_ERROR.decode(body).error
    except _UNDECODABLE:
        return None
    return error if error in _TOKEN_ERRORS else None
