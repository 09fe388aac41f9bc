"""Event times: dates, moments, zones, and the hours that a clock change skips or repeats."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.times import (
    AllDay,
    EventTime,
    Instant,
    TimeUnreadable,
    day_that_begins,
    parse_event_time,
    same_time,
    starts_by,
    zone,
)
from tests import strategies


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-03-01", " 2026-03-01 ", "2026-03-01\n"])
@pytest.mark.parametrize("tzid", [None, "Europe/Berlin", "No/Where"])
def test_a_date_is_a_whole_day_whatever_the_zone(text: str, tzid: str | None) -> None:
    assert parse_event_time(text, tzid) == AllDay(date(2026, 3, 1))


@pytest.mark.parametrize(
    "text, tzid, moment",
    [
        pytest.param("2026-03-01T09:00:00Z", None, "2026-03-01T09:00:00", id="Z"),
        pytest.param("2026-03-01T09:00:00Z", "Asia/Tokyo", "2026-03-01T09:00:00", id="Z, whatever the zone"),
        pytest.param("2026-03-01T09:00:00+02:00", None, "2026-03-01T07:00:00", id="offset"),
        pytest.param("2026-03-01T09:00:00-05:30", "Asia/Tokyo", "2026-03-01T14:30:00", id="offset, whatever the zone"),
        pytest.param("2026-03-01T00:30:00+02:00", None, "2026-02-28T22:30:00", id="offset across midnight"),
        pytest.param("2026-03-01 09:00:00 UTC", None, "2026-03-01T09:00:00", id="the word UTC"),
        pytest.param("2026-03-01T09:00:00UTC", "Asia/Tokyo", "2026-03-01T09:00:00", id="the word UTC, no blank"),
        pytest.param("2026-03-01T09:00:00", None, "2026-03-01T09:00:00", id="no zone: UTC"),
        pytest.param("2026-03-01T09:00:00", "", "2026-03-01T09:00:00", id="empty zone: UTC"),
        pytest.param("2026-03-01T09:00:00", "Europe/Berlin", "2026-03-01T08:00:00", id="Berlin in winter"),
        pytest.param("2026-07-01T09:00:00", "Europe/Berlin", "2026-07-01T07:00:00", id="Berlin in summer"),
        pytest.param("2026-03-01T09:00", "America/New_York", "2026-03-01T14:00:00", id="New York, no seconds"),
        pytest.param("2026-03-01T09:00:00.25Z", None, "2026-03-01T09:00:00.250", id="fractions"),
    ],
)
def test_a_time_is_a_moment_in_utc(text: str, tzid: str | None, moment: str) -> None:
    parsed = parse_event_time(text, tzid)
    assert parsed == Instant(utc(moment))
    assert isinstance(parsed, Instant)
    assert parsed.at.tzinfo is UTC


@pytest.mark.parametrize(
    "local, tzid, moment",
    [
        pytest.param("2026-03-29T01:59:59", "Europe/Berlin", "2026-03-29T00:59:59", id="Berlin, before the gap"),
        pytest.param("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:30:00", id="Berlin, in the gap"),
        pytest.param("2026-03-29T03:00:00", "Europe/Berlin", "2026-03-29T01:00:00", id="Berlin, after the gap"),
        pytest.param("2026-10-25T01:59:59", "Europe/Berlin", "2026-10-24T23:59:59", id="Berlin, before the overlap"),
        pytest.param("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00", id="Berlin, the first of two"),
        pytest.param("2026-10-25T03:00:00", "Europe/Berlin", "2026-10-25T02:00:00", id="Berlin, after the overlap"),
        pytest.param("2026-03-08T01:59:59", "America/New_York", "2026-03-08T06:59:59", id="New York, before the gap"),
        pytest.param("2026-03-08T02:30:00", "America/New_York", "2026-03-08T07:30:00", id="New York, in the gap"),
        pytest.param("2026-03-08T03:00:00", "America/New_York", "2026-03-08T07:00:00", id="New York, after the gap"),
        pytest.param("2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00", id="New York, the first of two"),
        pytest.param(
            "2026-11-01T02:00:00", "America/New_York", "2026-11-01T07:00:00", id="New York, after the overlap"
        ),
    ],
)
def test_a_local_time_survives_the_clock_change(local: str, tzid: str, moment: str) -> None:
    assert parse_event_time(local, tzid) == Instant(utc(moment))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "tomorrow",
        "2026-02-30",
        "2026-13-01T09:00:00Z",
        "2026-03-01T25:00:00Z",
        "2026-03-01T09:00:00+99:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "09:00",
        "1772355600",
        "\ud800",
    ],
)
def test_what_is_no_date_or_time_says_so(text: str) -> None:
    with pytest.raises(TimeUnreadable, match="is no date or time"):
        parse_event_time(text)


def test_a_long_text_is_not_repeated_whole() -> None:
    with pytest.raises(TimeUnreadable) as raised:
        parse_event_time("x" * 5000)
    assert len(str(raised.value)) < 100


@pytest.mark.parametrize("tzid", ["No/Where", "Europe", "../etc/passwd", "/etc/localtime", "a\0b", "x" * 300, "\ud800"])
def test_a_zone_that_does_not_exist_is_unreadable(tzid: str) -> None:
    with pytest.raises(TimeUnreadable, match="does not exist"):
        zone(tzid)
    with pytest.raises(TimeUnreadable, match="does not exist"):
        parse_event_time("2026-03-01T09:00:00", tzid)
    assert parse_event_time("2026-03-01T09:00:00Z", tzid) == Instant(utc("2026-03-01T09:00:00"))


def test_no_zone_is_utc() -> None:
    assert zone(None) == zone("") == ZoneInfo("Etc/UTC")


@given(st.text(max_size=30) | st.from_regex(r"[0-9T:Z+. -]{0,30}", fullmatch=True), st.text(max_size=20) | st.none())
def test_any_text_is_a_time_or_unreadable(text: str, tzid: str | None) -> None:
    try:
        parsed = parse_event_time(text, tzid)
    except TimeUnreadable:
        return
    assert isinstance(parsed, AllDay) or parsed.at.utcoffset() == timedelta()


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.sampled_from(("Europe/Berlin", "America/New_York")))  # noqa: DTZ001 - local times are meant
def test_a_local_time_and_the_same_with_its_offset_are_one_moment(local: datetime, tzid: str) -> None:
    with_offset = local.replace(tzinfo=ZoneInfo(tzid), fold=0).isoformat()
    assert parse_event_time(local.isoformat(), tzid) == parse_event_time(with_offset)


# ---------------------------------------------------------------- when it begins


@pytest.mark.parametrize(
    "day, tzid, begins",
    [
        (date(2026, 3, 2), None, "2026-03-02T00:00:00"),
        (date(2026, 3, 2), "Europe/Berlin", "2026-03-01T23:00:00"),
        (date(2026, 7, 2), "Europe/Berlin", "2026-07-01T22:00:00"),
        (date(2026, 3, 2), "America/New_York", "2026-03-02T05:00:00"),
        (date(2026, 3, 2), "No/Where", "2026-03-02T00:00:00"),
        (date(2026, 3, 29), "Europe/Berlin", "2026-03-28T23:00:00"),
        (date.min, "Asia/Tokyo", "0001-01-01T00:00:00"),
        (date.max, "America/New_York", "9999-12-31T05:00:00"),
    ],
)
def test_a_day_begins_at_its_midnight(day: date, tzid: str | None, begins: str) -> None:
    assert starts_by(AllDay(day), tzid) == utc(begins)


@given(strategies.instants, st.sampled_from(strategies.ZONES))
def test_a_moment_begins_when_it_is_whatever_the_zone(moment: Instant, tzid: str | None) -> None:
    assert starts_by(moment, tzid) == moment.at


@given(st.dates(), st.sampled_from(strategies.ZONES))
def test_every_day_begins_within_a_day_of_its_utc_midnight(day: date, tzid: str | None) -> None:
    begins = starts_by(AllDay(day), tzid)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert abs(begins - midnight) < timedelta(days=1)


# ---------------------------------------------------------------- the same time

NINE = Instant(utc("2026-03-02T09:00:00"))
FIRST = AllDay(date(2026, 3, 1))


@pytest.mark.parametrize(
    "one, other, same",
    [
        (NINE, NINE, True),
        (NINE, Instant(NINE.at + timedelta(microseconds=999_999)), True),
        (NINE, Instant(NINE.at + timedelta(seconds=1)), False),
        (NINE, Instant(NINE.at - timedelta(seconds=1)), False),
        (FIRST, AllDay(date(2026, 3, 1)), True),
        (FIRST, AllDay(date(2026, 3, 2)), False),
        (FIRST, Instant(utc("2026-03-01T00:00:00")), True),
        (FIRST, Instant(utc("2026-03-01T01:00:00")), False),
    ],
)
def test_times_are_the_same_to_the_second(one: EventTime, other: EventTime, same: bool) -> None:
    assert same_time(one, other) is same
    assert same_time(other, one) is same


def test_a_day_is_the_same_as_its_midnight_where_it_is() -> None:
    midnight = Instant(utc("2026-02-28T23:00:00"))
    assert same_time(FIRST, midnight, "Europe/Paris")
    assert not same_time(FIRST, midnight, "Asia/Tokyo")


@pytest.mark.parametrize(
    "text, day",
    [
        ("2026-03-01T00:00:00+09:00", FIRST),
        ("2026-03-01T00:00:00Z", FIRST),
        ("2026-03-01", FIRST),
        ("2026-03-01T00:00:01Z", None),
        ("start", None),
    ],
)
def test_a_midnight_begins_the_day_of_its_own_clock(text: str, day: AllDay | None) -> None:
    assert day_that_begins(text) == day
