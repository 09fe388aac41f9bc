"""Times as Cronofy writes and reads them (cronofy-api.md sections 3.4 and 6.1), and the virtual clock.

An event time is a date (all day, exclusive end) or an instant. It may be sent as a date, as UTC with `Z`, `UTC` or
`+00:00`, with a space for the `T`, or as `{"time", "tzid"}`; it is read back as a date, as `…Z`, or with
`localized_times=true` as an object.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from zoneinfo import ZoneInfo

UTC_ZONE = "Etc/UTC"
_DATE_LENGTH = len("2026-01-31")
LONGEST_S = 100 * 365 * 86_400
"""No span of time here is longer: a hundred years, in seconds."""


class Clock:
    """The virtual clock: it runs with real time, from a start of one's choice, and can be advanced."""

    def __init__(self, start: datetime | None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("the clock needs an aware datetime")
        self._start = start.astimezone(UTC) if start else datetime.now(UTC)
        self._origin = time.monotonic()
        self._advanced = timedelta()

    def now(self) -> datetime:
        """The present, in UTC."""
        return self._start + self._advanced + timedelta(seconds=time.monotonic() - self._origin)

    def advance(self, seconds: float) -> None:
        """Move on; never back, for nothing that happened can be undone by it."""
        if seconds < 0:
            raise ValueError("the clock cannot go back")
        if self._advanced.total_seconds() + seconds > LONGEST_S:
            raise ValueError("the clock cannot go more than a hundred years ahead")
        self._advanced += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Moment:
    """One end of an event: a date or an instant, and the zone it was given in."""

    value: date | datetime
    tzid: str = UTC_ZONE

    @property
    def all_day(self) -> bool:
        """Whether it is a date."""
        return not isinstance(self.value, datetime)

    def instant(self, tzid: str | None = None) -> datetime:
        """The instant in UTC; a date begins at midnight of the zone asked for, or of its own."""
        if isinstance(self.value, datetime):
            return self.value
        midnight = datetime(self.value.year, self.value.month, self.value.day, tzinfo=zone(tzid or self.tzid))
        return midnight.astimezone(UTC)

    def render(self, *, localized: bool = False) -> str | dict[str, str]:
        """As a read shows it (section 3.4)."""
        if not isinstance(self.value, datetime):
            text = self.value.isoformat()
        elif localized:
            text = self.value.astimezone(zone(self.tzid)).isoformat(timespec="seconds")
        else:
            return stamp(self.value)
        return {"time": text, "tzid": self.tzid} if localized else text


def zone(tzid: object) -> ZoneInfo:
    """The IANA zone of that name; ValueError if there is none."""
    if not isinstance(tzid, str):
        raise ValueError("a zone is named by a string")  # noqa: TRY004 - one kind of error for all bad input
    try:
        return ZoneInfo(tzid)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"no such zone: {tzid}") from error


def parse(value: object, tzid: str = UTC_ZONE) -> Moment:
    """Read an event time in any of the accepted forms; ValueError for anything else."""
    if isinstance(value, dict):
        named = value.get("tzid", tzid)
        zone(named)
        return parse(value.get("time"), named)
    if not isinstance(value, str):
        raise ValueError("a time is a string or {time, tzid}")  # noqa: TRY004 - one kind of error for all bad input
    text = value.strip()
    if len(text) == _DATE_LENGTH:
        return Moment(date.fromisoformat(text), tzid)
    if text.endswith("UTC"):
        text = text[: -len("UTC")].rstrip() + "+00:00"
    parsed = datetime.fromisoformat(text)
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=zone(tzid))
    return Moment(aware.astimezone(UTC), tzid)


def stamp(moment: datetime) -> str:
    """`2026-01-31T12:33:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(moment: datetime) -> str:
    """`Sat, 31 Jan 2026 12:33:00 GMT`, for `Retry-After`."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)
