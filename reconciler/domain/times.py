"""Event times as calendars write them: a date for an all-day event, an instant for a timed one.

Cronofy writes `"2026-03-01"`, `"2026-03-01T09:00:00Z"` or `{"time": "…", "tzid": "Europe/Paris"}` and accepts the
same in an upsert (Cronofy docs, read-events and upsert-event). A time with an offset is an instant whatever the zone
says; one without is local to the zone given.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

LONGEST_TIME = 100
"""Characters. Python reads fractions of any length, and what was read is stored."""


class TimeUnreadable(ValueError):
    """A text that is no event time, or a zone that does not exist. The message names neither event nor person."""


class ZoneUnknown(TimeUnreadable):
    """A time zone that does not exist."""


@dataclass(frozen=True, slots=True)
class AllDay:
    """A whole day; as an end it is exclusive."""

    day: date


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment, always in UTC."""

    at: datetime


EventTime = AllDay | Instant


def zone(tzid: str | None) -> ZoneInfo:
    """The zone of an IANA name; UTC when none is given.

    Raises:
        ZoneUnknown: there is no such zone.
    """
    if len(tzid or "") > LONGEST_TIME:
        raise TimeUnreadable("a time zone of so long a name does not exist")
    try:
        return ZoneInfo(tzid or "Etc/UTC")
    except (ValueError, OSError, KeyError) as error:
        raise ZoneUnknown(f"time zone {tzid!r} does not exist") from error


def parse_event_time(text: str, tzid: str | None = None) -> EventTime:
    """Read a time as Cronofy or an application wrote it.

    Letters may be of either case (RFC 3339). Local times take `tzid`. In the hour that a clock change repeats, the
    first is meant; in the hour that it skips, the moment the clock would have shown.

    Raises:
        TimeUnreadable: no such date, time or zone.
    """
    stripped = text.strip().upper()
    if len(stripped) > LONGEST_TIME:
        raise TimeUnreadable("longer than any date or time")
    try:
        if _DATE.fullmatch(stripped):
            return AllDay(date.fromisoformat(stripped))
        moment = datetime.fromisoformat(re.sub(r"\s*UTC$", "+00:00", stripped))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone(tzid))
        return Instant(moment.astimezone(UTC))
    except TimeUnreadable:
        raise
    except (ValueError, OverflowError) as error:
        raise TimeUnreadable(f"{stripped[:40]!r} is no date or time") from error


def starts_by(event_time: EventTime, tzid: str | None = None) -> datetime:
    """The moment an event time begins. A day begins at midnight in `tzid`, or in UTC where the zone is unknown.

    Total: the first day of the calendar, which begins before any moment there is in zones east of Greenwich, does so in
    UTC.
    """
    match event_time:
        case Instant(at):
            return at
        case AllDay(day):
            try:
                local = zone(tzid)
            except TimeUnreadable:
                local = zone(None)
            try:
                return datetime.combine(day, time(), tzinfo=local).astimezone(UTC)
            except OverflowError:
                return datetime.combine(day, time(), tzinfo=UTC)
    assert_never(event_time)


def same_time(one: EventTime, other: EventTime, tzid: str | None = None) -> bool:
    """Whether two event times mean the same, to the second. A day means the same as its midnight in `tzid`, or UTC."""
    match one, other:
        case AllDay(a), AllDay(b):
            return a == b
        case _:
            return abs(starts_by(one, tzid) - starts_by(other, tzid)) < timedelta(seconds=1)


def day_that_begins(text: str) -> AllDay | None:
    """The day whose midnight a time shows by its own clock; null where it shows none."""
    try:
        shown = datetime.fromisoformat(text)
    except ValueError:
        return None
    return AllDay(shown.date()) if shown.time() == time() else None
