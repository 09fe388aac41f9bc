"""Durations and moments as people write them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.durations import parse_duration, parse_moment
from tests.builders import DAY, HOUR, MINUTE, NOW


@pytest.mark.parametrize(
    "text, meant",
    [
        ("90s", 90 * timedelta(seconds=1)),
        ("15m", 15 * MINUTE),
        ("24h", DAY),
        ("7d", 7 * DAY),
        ("2w", 14 * DAY),
        ("1.5h", 90 * MINUTE),
        (" 15 M ", 15 * MINUTE),
        ("0", timedelta()),
        ("0s", timedelta()),
        ("PT15M", 15 * MINUTE),
        ("pt15m", 15 * MINUTE),
        ("P1D", DAY),
        ("P1W", 7 * DAY),
        ("P1DT2H3M4.5S", DAY + 2 * HOUR + 3 * MINUTE + timedelta(seconds=4.5)),
        ("PT36H", 36 * HOUR),
    ],
)
def test_a_duration_is_read(text: str, meant: timedelta) -> None:
    assert parse_duration(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "15", "m", "15 min", "-5m", "+5m", "1h30m", "P", "PT", "P1M", "PT1D", "1e3s", "nan", "infs", "1..5h",
        "9" * 30 + "d", "9" * 400 + "w", "P" + "9" * 30 + "D",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: write 90s, 15m, 24h, 7d or ISO 8601") as raised:
        parse_duration(text)
    assert len(str(raised.value)) < 120


@given(st.integers(0, 10_000), st.sampled_from("smhdw"))
def test_short_and_iso_forms_mean_the_same(number: int, unit: str) -> None:
    iso = f"P{number}{unit.upper()}" if unit in "dw" else f"PT{number}{unit.upper()}"
    assert parse_duration(f"{number}{unit}") == parse_duration(iso)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_plain_error(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta()
    except ValueError as error:
        assert "write 90s" in str(error)  # noqa: PT017 - both outcomes are right


# ---------------------------------------------------------------- moments


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize(
    "text, meant",
    [
        ("2026-03-01T09:00:00Z", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01T09:00Z", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01T09:00:00+02:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),
        ("2026-03-01T09:00:00", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        (" 2026-03-01 ", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_is_taken_as_it_is_in_utc_unless_it_has_an_offset(text: str, meant: datetime, ahead: bool) -> None:
    moment = parse_moment(text, NOW, ahead=ahead)
    assert moment == meant
    assert moment.tzinfo is not None


def test_a_duration_counts_from_now_ahead_or_back() -> None:
    assert parse_moment("48h", NOW, ahead=True) == NOW + 2 * DAY
    assert parse_moment("48h", NOW, ahead=False) == NOW - 2 * DAY
    assert parse_moment("PT1H", NOW, ahead=False) == NOW - HOUR


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("text", ["", "soon", "2026-02-30", "99999999d", "9" * 30 + "d"])
def test_what_is_no_moment_is_told_how_to_write_one(text: str, ahead: bool) -> None:
    with pytest.raises(ValueError, match=r"is no time: write ISO 8601 \(2026-03-01T09:00Z\) or 48h, 7d"):
        parse_moment(text, NOW, ahead=ahead)
