"""When an event that is not settled is read again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.schedule import next_read_at
from tests import strategies
from tests.builders import DAY, HOUR, MINUTE, NOW

FAR = NOW + 30 * DAY


@pytest.mark.parametrize(
    "looks, gap",
    [(0, 5), (1, 15), (2, 60), (3, 180), (4, 360), (5, 360), (1000, 360)],
)
def test_the_gap_grows_with_each_look_that_changed_nothing(looks: int, gap: int) -> None:
    assert next_read_at(NOW, FAR, looks) == NOW + gap * MINUTE


@pytest.mark.parametrize(
    "now, looks, expected",
    [
        ("2026-03-02T20:00", 4, "2026-03-03T00:00"),
        ("2026-03-02T18:00", 4, "2026-03-03T00:00"),
        ("2026-03-02T17:59", 4, "2026-03-02T23:59"),
        ("2026-03-02T23:58", 0, "2026-03-03T00:00"),
        ("2026-03-02T00:00", 4, "2026-03-02T06:00"),
        ("2026-12-31T23:00", 4, "2027-01-01T00:00"),
    ],
)
def test_no_gap_reaches_past_the_next_midnight(now: str, looks: int, expected: str) -> None:
    at, until = (datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (now, expected))
    assert next_read_at(at, at + 30 * DAY, looks) == until


@pytest.mark.parametrize(
    "starts_in, every_run",
    [(DAY, True), (DAY + timedelta(microseconds=1), False), (HOUR, True), (timedelta(), True), (-HOUR, True)],
)
def test_every_run_reads_what_starts_within_a_day(starts_in: timedelta, every_run: bool) -> None:
    assert (next_read_at(NOW, NOW + starts_in, 4) == NOW) is every_run


def test_what_is_in_doubt_is_read_by_the_very_next_run() -> None:
    assert next_read_at(NOW, FAR, 4, in_doubt=True) == NOW


@given(strategies.moments(), strategies.moments(), st.integers(0, 50), st.booleans())
def test_the_next_look_is_never_before_now_nor_after_the_night(
    now: datetime, starts_at: datetime, looks: int, in_doubt: bool
) -> None:
    at = next_read_at(now, starts_at, looks, in_doubt=in_doubt)
    assert now <= at <= now + 6 * HOUR
    assert at.date() == now.date() or at.time() == datetime.min.time()
    assert next_read_at(now, starts_at, looks + 1, in_doubt=in_doubt) >= at
