"""How long to wait before asking again: arithmetic only. Chance and the time of day arrive as arguments."""

import re
from datetime import UTC, datetime

LONGEST_WAIT = 60.0
"""Seconds. No limit that a server may speak of is counted over more than a minute."""

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"


def http_date(text: str | None) -> datetime | None:
    """The moment of an HTTP date; null where it is none. Obsolete forms are not read."""
    try:
        return datetime.strptime((text or "").strip(), _HTTP_DATE).replace(tzinfo=UTC)
    except ValueError:
        return None


def retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds a `Retry-After` asks for, however many: `heeded` says how long to wait.

    `now` is the server's own time where it said so: a date is by its clock. Null where the header is missing, no
    number and no date, or not in the future: the caller's own backoff holds then.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        until = http_date(text)
        seconds = (until - now).total_seconds() if until else 0.0
    return seconds if seconds > 0 else None


def makes_sense(asked: float) -> bool:
    """Whether so many seconds are a wait that an honest server asks for."""
    return asked <= LONGEST_WAIT


def heeded(asked: float, patience: float) -> float:
    """How long to wait where a server asks for `asked` seconds: as long, but `patience` where that makes no sense."""
    return asked if makes_sense(asked) else min(patience, LONGEST_WAIT)


def backoff(attempt: int, chance: float, *, base: float = 0.5, longest: float = 20.0) -> float:
    """Exponential, with full jitter: anything up to `base` after the first attempt, then up to twice that, and so on.

    `chance` is in [0, 1).
    """
    return chance * min(longest, base * 2.0 ** min(attempt - 1, 32))


def pause_after_429(attempt: int, chance: float) -> float:
    """How long all keep still after a 429 that does not say: growing, and never a mere instant.

    The limit that was met may be the minute's, so the three pauses of one call together outlast half a minute.
    """
    longest = min(LONGEST_WAIT, 10.0 * 2.0 ** min(attempt - 1, 32))
    return longest * (0.5 + 0.5 * chance)


def batch_size(per_second: float, per_minute: float, most: int) -> int:
    """How many writes may travel together: each counts as a request, and they start at one moment."""
    return max(1, min(most, int(0.9 * min(per_second, per_minute))))


def left_in_a_minute(per_second: float, per_minute: float, pace: float, behind: float, taken: int) -> tuple[int, int]:
    """How many requests may still start in this minute, and how many of an idle minute's there are.

    `per_second` and `per_minute` are the allowance, in requests. `pace` is the part of it that is used since the last
    429, in (0, 1]. `behind` is how many seconds of it are given away or paused already, `taken` the requests that
    started within the last minute or have their turn.
    """
    whole = min(per_minute, 60 * per_second)
    in_time = per_second * pace * max(0.0, 60.0 - behind)
    return max(0, int(min(in_time, whole * pace - taken))), int(whole)


def seconds_for(requests: int, per_second: float, per_minute: float) -> float:
    """How long so many requests take where the minute before was idle: the minute's whole allowance at the pace of the
    second, and again."""
    minutes, rest = divmod(requests, max(1, int(min(per_minute, 60 * per_second))))
    return 60.0 * minutes + rest / per_second


def expires_at(now: datetime, expires_in: float | None) -> datetime | None:
    """When a token given for `expires_in` seconds ends; null where that is not said or senseless."""
    if expires_in is None or not 0 < expires_in < _LONGEST_LIFE:
        return None
    return datetime.fromtimestamp(now.timestamp() + expires_in, UTC)


_LONGEST_LIFE = 10 * 366 * 86_400
