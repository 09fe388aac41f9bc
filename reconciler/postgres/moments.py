"""Times of the database. Postgres holds times that Python cannot: BC, after the year 9999, and infinite ones.

One of those must not cost every row that is read with it: it is read as the end of the calendar that it lies beyond,
a day inside what Python holds, so that it can be compared and shown in any zone.
"""

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, tzinfo=UTC)

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_FIRST, _LAST = (EARLIEST - _POSTGRES_EPOCH) // _TICK, (LATEST - _POSTGRES_EPOCH) // _TICK


def moment_from(stored: tuple[int]) -> datetime:
    """A timestamptz as it travels: microseconds since 2000, at the ends of 64 bits for the infinite ones."""
    return _POSTGRES_EPOCH + timedelta(microseconds=min(max(stored[0], _FIRST), _LAST))


def moment_to(moment: datetime) -> tuple[int]:
    """A moment as Postgres takes it. One without a zone is refused."""
    return ((moment - _POSTGRES_EPOCH) // _TICK,)


def is_usable(moment: datetime | None) -> bool:
    """Whether a moment is what was stored, not the end that it lies beyond."""
    return moment is not None and EARLIEST < moment < LATEST


def moment_in(text: str | None) -> datetime | None:
    """A moment as Postgres writes it into JSON; null for none, and for one that Python cannot hold."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if is_usable(moment) else None
