"""How long to wait before asking again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cronofy import limits

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
chances = st.floats(min_value=0, max_value=1, exclude_max=True)
attempts = st.integers(min_value=1, max_value=10_000)


@pytest.mark.parametrize(
    "per_second, per_minute, pace, behind, taken, left",
    [
        (25.0, 250.0, 1.0, 0.0, 0, (250, 250)),
        (25.0, 250.0, 1.0, 0.0, 93, (157, 250)),
        (25.0, 250.0, 1.0, 30.0, 0, (250, 250)),
        (25.0, 250.0, 1.0, 58.0, 0, (50, 250)),
        (25.0, 250.0, 0.5, 0.0, 25, (100, 250)),
        (25.0, 250.0, 0.5, 0.0, 200, (0, 250)),
        (25.0, 250.0, 1.0, 60.0, 0, (0, 250)),
        (25.0, 250.0, 1.0, 500.0, 0, (0, 250)),
        (2.0, 250.0, 1.0, 0.0, 20, (100, 120)),
    ],
)
def test_what_is_left_of_a_minute_is_what_is_neither_given_away_nor_paused(
    per_second: float, per_minute: float, pace: float, behind: float, taken: int, left: tuple[int, int]
) -> None:
    assert limits.left_in_a_minute(per_second, per_minute, pace, behind, taken) == left


@pytest.mark.parametrize(
    "requests, per_second, per_minute, seconds",
    [(0, 25, 250, 0), (93, 25, 250, 3.72), (250, 25, 250, 60), (300, 25, 250, 62), (10, 2, 250, 5), (3, 0.5, 60, 6)],
)
def test_how_long_requests_take_from_an_idle_minute_on(
    requests: int, per_second: float, per_minute: float, seconds: float
) -> None:
    assert limits.seconds_for(requests, per_second, per_minute) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value, seconds",
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0", None),
        ("-5", None),
        ("120", 120.0),
        ("121", 121.0),
        ("9" * 400, float("inf")),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("１２", None),
        ("soon", None),
        ("5; 6", None),
        ("Mon, 02 Mar 2026 09:00:30 GMT", 30.0),
        ("Mon, 02 Mar 2026 08:59:30 GMT", None),
        ("Mon, 02 Mar 2026 09:00:00 GMT", None),
        ("Tue, 03 Mar 2026 09:00:00 GMT", 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_629_858_799.0),
        ("Monday, 02-Mar-26 09:00:30 GMT", None),
        ("Mon, 32 Mar 2026 09:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_anything_else_says_nothing(
    value: str | None, seconds: float | None
) -> None:
    assert limits.retry_after(value, NOW) == seconds


@given(st.text() | st.from_regex(r"[0-9]+", fullmatch=True))
def test_no_retry_after_brings_about_a_senseless_wait(value: str) -> None:
    seconds = limits.retry_after(value, NOW)
    assert seconds is None or 0 < limits.heeded(seconds, 30.0) <= limits.LONGEST_WAIT


@pytest.mark.parametrize(
    "asked, patience, seconds",
    [(7, 30, 7), (60, 30, 60), (61, 30, 30), (999_999_999, 30, 30), (float("inf"), 0.5, 0.5), (3600, 300, 60)],
)
def test_a_wait_that_makes_no_sense_is_heeded_for_a_timeout(asked: float, patience: float, seconds: float) -> None:
    assert limits.heeded(asked, patience) == seconds


def test_an_http_date_is_read_in_utc() -> None:
    assert limits.http_date("Mon, 02 Mar 2026 09:00:00 GMT") == NOW
    assert limits.http_date(None) is None


@given(attempts, chances)
def test_backoff_has_full_jitter_and_a_ceiling(attempt: int, chance: float) -> None:
    assert 0 <= limits.backoff(attempt, chance) <= 20.0


@given(st.integers(min_value=1, max_value=40), st.floats(min_value=0.01, max_value=0.99))
def test_backoff_never_shrinks_with_the_attempts(attempt: int, chance: float) -> None:
    assert limits.backoff(attempt, chance) <= limits.backoff(attempt + 1, chance)


def test_backoff_doubles() -> None:
    assert [limits.backoff(n, 1.0) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]


@given(attempts, chances)
def test_a_pause_after_429_is_never_a_mere_instant(attempt: int, chance: float) -> None:
    assert 5.0 <= limits.pause_after_429(attempt, chance) <= limits.LONGEST_WAIT


def test_the_pauses_of_one_call_outlast_half_a_minute_even_with_the_worst_of_luck() -> None:
    assert sum(limits.pause_after_429(n, 0.0) for n in (1, 2, 3)) >= 30


@pytest.mark.parametrize(
    "expires_in, at",
    [
        (3600, NOW + timedelta(hours=1)),
        (0.5, NOW + timedelta(seconds=0.5)),
        (None, None),
        (0, None),
        (-1, None),
        (10**400, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
)
def test_a_token_ends_when_the_answer_says_and_senseless_lives_are_unknown(
    expires_in: float | None, at: datetime | None
) -> None:
    assert limits.expires_at(NOW, expires_in) == at
