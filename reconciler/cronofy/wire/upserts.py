"""Upserts as they are sent: where to, and which bytes."""

from collections.abc import Iterable
from urllib.parse import quote

import msgspec
from msgspec import Raw

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed
from reconciler.domain.ids import CalendarId
from reconciler.ports import UpsertRequest

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_OBJECT_OR_NULL = msgspec.json.Decoder(dict[str, Raw] | None)
_NO_SEGMENT = frozenset({"", ".", ".."})
"""What a path cannot hold as one of its steps, encoded or not."""

_TEXT = msgspec.json.Decoder(str)
_ENCODER = msgspec.json.Encoder()


def events_path(calendar_id: CalendarId) -> str:
    """Where events of a calendar are written."""
    return f"/v1/calendars/{quote(calendar_id, safe='')}/events"


def upsert_body(request: UpsertRequest) -> bytes:
    """The stored body with another `conferencing.profile_id` and, after a drift, other times.

    Every other value goes out byte for byte as it is stored, numbers and escapes included.

    Raises:
        Malformed: the stored body is no JSON object, or would write another event, or somewhere else.
    """
    if request.key.calendar_id in _NO_SEGMENT:
        raise Malformed("no calendar has such an id")
    try:
        body = _OBJECT.decode(request.body_text)
        event_id = _TEXT.decode(body.get("event_id", b"null"))
        conferencing = _OBJECT_OR_NULL.decode(body.get("conferencing", b"null")) or {}
    except UNDECODABLE:
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
