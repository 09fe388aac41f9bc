"""The bodies that the application last wrote, as it stored them."""

import re

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE
from reconciler.cronofy.wire.times import stored_time
from reconciler.domain.event import NO_BODY, BodyState, StoredBody, summary_digest
from reconciler.domain.ids import EventId
from reconciler.domain.times import LONGEST_TIME, TimeUnreadable, ZoneUnknown, zone


class _StoredBody(Struct):
    event_id: Raw = Raw()
    start: Raw = Raw()
    end: Raw = Raw()
    tzid: Raw = Raw()
    conferencing: Raw = Raw()
    summary: Raw = Raw()
    recurrence: Raw = Raw()
    location: Raw = Raw()


class _Location(Struct):
    description: str | None = None


_TEXT = msgspec.json.Decoder(str)
_STORED_BODY = msgspec.json.Decoder(_StoredBody)
_LOCATION = msgspec.json.Decoder(_Location)

_LINK_WANTED_THERE = "cronofy.conferencing"
"""A template for the link itself, which Cronofy fills in (docs, "templating")."""

_CONFERENCING_PLACE = re.compile(rb"\s*(\{|null|$)")


def stored_body(text: str | None, event_id: EventId) -> StoredBody:
    """What a decision needs to know of the body the application last wrote, `text` as it is stored.

    Times without an offset take their own `tzid`, else the body's, else UTC. A zone that does not exist is refused also
    where no time needs it: Cronofy would not take the body.
    """
    if text is None:
        return NO_BODY
    try:
        body = _STORED_BODY.decode(text)
    except UNDECODABLE:
        return StoredBody(BodyState.NOT_AN_OBJECT)
    if _text_or_none(body.event_id) != event_id:
        return StoredBody(BodyState.OTHER_EVENT)
    if not _CONFERENCING_PLACE.match(bytes(body.conferencing)):
        return StoredBody(BodyState.CONFERENCING_UNREADABLE)
    tzid = _text_or_none(body.tzid)
    try:
        start, start_tzid = stored_time(body.start, tzid)
        end, end_tzid = stored_time(body.end, tzid)
        for name in (tzid, start_tzid, end_tzid):
            zone(name)
    except ZoneUnknown:
        return StoredBody(BodyState.ZONE_UNKNOWN, tzid=tzid)
    except TimeUnreadable:
        return StoredBody(BodyState.TIMES_UNREADABLE, tzid=(tzid or "")[:LONGEST_TIME] or None)
    summary = summary_digest(_text_or_none(body.summary))
    return StoredBody(
        BodyState.USABLE,
        start,
        end,
        tzid or start_tzid,
        summary,
        recurs=_is_given(body.recurrence),
        sets_location=_sets_location(body.location),
    )


def _is_given(raw: Raw) -> bool:
    return bytes(raw) not in {b"", b"null"}


def _sets_location(raw: Raw) -> bool:
    """Whether a place is named; one that cannot be read decides nothing."""
    try:
        description = _LOCATION.decode(raw).description
    except UNDECODABLE:
        return False
    return description is not None and bool(description.strip()) and _LINK_WANTED_THERE not in description


def _text_or_none(raw: Raw) -> str | None:
    try:
        return _TEXT.decode(raw)
    except UNDECODABLE:
        return None
