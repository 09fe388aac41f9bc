"""Times of the database that Python cannot hold are read as the end of the calendar that they lie beyond."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.postgres.moments import EARLIEST, LATEST, is_usable, moment_from, moment_in, moment_to
from reconciler.postgres.pool import open_pool

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@given(st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC)))
def test_a_moment_comes_back_as_it_went(moment: datetime) -> None:
    assert moment_from(moment_to(moment)) == moment


def test_a_moment_goes_by_its_own_zone_and_not_without_one() -> None:
    assert moment_to(NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))) == moment_to(NOON)
    with pytest.raises(TypeError):
        moment_to(NOON.replace(tzinfo=None))


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_stored_time_is_read_and_can_be_shown_in_any_zone(stored: int) -> None:
    moment = moment_from((stored,))
    assert EARLIEST <= moment <= LATEST
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        assert moment.astimezone(ZoneInfo(zone)) == moment


@pytest.mark.parametrize(
    "text", ["infinity", "-infinity", "52000-01-01T00:00:00+00:00", "0044-03-15T00:00:00+00:00 BC"]
)
def test_a_time_in_json_that_python_cannot_hold_is_none(text: str) -> None:
    assert moment_in(text) is None


def test_a_time_in_json_is_read() -> None:
    assert (moment_in(NOON.isoformat()), moment_in(None)) == (NOON, None)


def test_what_is_stored_is_usable_and_the_ends_are_not() -> None:
    assert [is_usable(moment) for moment in (NOON, None, EARLIEST, LATEST)] == [True, False, False, False]


async def test_every_statement_reads_and_writes_them(database: str) -> None:
    query = (
        "SELECT t, ARRAY[t] AS several"
        " FROM unnest($1::text[]) WITH ORDINALITY AS w (x, n), CAST(x AS timestamptz) t ORDER BY n"
    )
    async with open_pool(database, 2) as pool:
        rows = await pool.fetch(query, ["infinity", "-infinity", "52000-01-01", "0044-03-15 BC", NOON.isoformat()])
        assert [row["t"] for row in rows] == [LATEST, EARLIEST, LATEST, EARLIEST, NOON]
        assert [row["several"] for row in rows] == [[row["t"]] for row in rows]
        assert await pool.fetchval("SELECT $1::timestamptz[]", [NOON, None]) == [NOON, None]
        assert await pool.fetchval("SELECT $1::timestamptz = '2026-03-02 12:00+00'", NOON) is True
