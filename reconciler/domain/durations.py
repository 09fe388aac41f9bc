"""Durations as people write them: `90s 15m 24h 7d`, or ISO 8601 (`PT15M`)."""

import re
from datetime import UTC, datetime, timedelta

_SHORT = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)", re.IGNORECASE)
_ISO = re.compile(
    r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?", re.IGNORECASE
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """A duration.

    Raises:
        ValueError: it is none; the message shows the forms that are.
    """
    stripped = text.strip()
    try:
        if short := _SHORT.fullmatch(stripped):
            return timedelta(**{_UNITS[short[2].lower()]: float(short[1])})
        if (iso := _ISO.fullmatch(stripped)) and any(iso.groups()):
            return timedelta(**{_UNITS[unit]: float(number) for unit, number in iso.groupdict().items() if number})
        if stripped == "0":
            return timedelta()
    except OverflowError:
        pass
    raise ValueError(f"{stripped[:40]!r} is no duration: write 90s, 15m, 24h, 7d or ISO 8601")


def parse_moment(text: str, now: datetime, *, ahead: bool) -> datetime:
    """A moment: ISO 8601 (UTC unless it has an offset), or a duration from now, ahead or back.

    Raises:
        ValueError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return now + parse_duration(text) if ahead else now - parse_duration(text)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text[:40]!r} is no time: write ISO 8601 (2026-03-01T09:00Z) or 48h, 7d") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
