"""An event's times, as a listing and as a stored body hold them."""

from datetime import datetime
from functools import lru_cache

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE
from reconciler.domain.times import AllDay, EventTime, Instant, TimeUnreadable, parse_event_time


class ZonedTime(Struct, gc=False):
    """A time with the name of its zone."""

    time: str
    tzid: str | None = None


_TIME = msgspec.json.Decoder(str | ZonedTime)

_USUAL_LENGTH = len("2026-03-01T09:00:00Z")
"""Nearly all times look like this, and meetings begin at few different ones; the full parser takes 2 µs for each."""


@lru_cache(maxsize=16_384)
def _usual_time(text: str) -> Instant:
    return Instant(datetime.fromisoformat(text))


def listed_time(value: str | ZonedTime | None) -> tuple[EventTime, str]:
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
    text = text.upper()
    parsed = parse_event_time(text, tzid)
    if isinstance(parsed, AllDay) or parse_event_time(text, "Etc/GMT+1") == parsed:
        return parsed, text
    return parsed, _utc_text(parsed)


def _utc_text(moment: Instant) -> str:
    return moment.at.isoformat().replace("+00:00", "Z")


def stored_time(raw: Raw, tzid: str | None) -> tuple[EventTime, str | None]:
    """A time, and the zone that it names itself; where it names none, `tzid` holds."""
    try:
        value = _TIME.decode(raw)
    except UNDECODABLE:
        raise TimeUnreadable("missing or of another type") from None
    if isinstance(value, str):
        return parse_event_time(value, tzid), None
    return parse_event_time(value.time, value.tzid or tzid), value.tzid
