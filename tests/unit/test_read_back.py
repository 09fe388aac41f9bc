"""Which days are listed to read an account's events back."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.event import NO_BODY, CalendarEvent
from reconciler.domain.times import AllDay, starts_by
from reconciler.pipeline.read_back import window_for
from reconciler.ports import Window
from tests import strategies
from tests.builders import DAY, HOUR, MINUTE, NOW, a_body, an_event

TODAY = NOW.date()
LAST = TODAY + timedelta(days=201)
"""Cronofy lists no further; exclusive."""


def whole_day(day: date, tzid: str | None = None) -> CalendarEvent:
    begins = starts_by(AllDay(day), tzid)
    return an_event(starts_in=begins - NOW, body=a_body(start=AllDay(day), end=AllDay(day + DAY), tzid=tzid))


def test_one_event_takes_its_day() -> None:
    assert window_for([an_event(starts_in=3 * DAY)], NOW) == Window(date(2026, 3, 5), date(2026, 3, 6))


def test_several_events_take_the_days_from_the_first_to_the_last() -> None:
    events = [an_event(starts_in=9 * DAY), an_event(starts_in=2 * HOUR), an_event(starts_in=4 * DAY)]
    assert window_for(events, NOW) == Window(TODAY, date(2026, 3, 12))


@pytest.mark.parametrize(
    "starts_in, since", [(15 * HOUR - MINUTE, date(2026, 3, 2)), (15 * HOUR, date(2026, 3, 3))], ids=["23:59", "00:00"]
)
def test_days_are_those_of_utc(starts_in: timedelta, since: date) -> None:
    assert window_for([an_event(starts_in=starts_in)], NOW) == Window(since, since + DAY)


def test_an_event_without_a_body_is_looked_for_on_its_day() -> None:
    assert window_for([an_event(starts_in=3 * DAY, body=NO_BODY)], NOW) == Window(date(2026, 3, 5), date(2026, 3, 6))


def test_a_whole_day_is_looked_for_on_the_days_around_it_too() -> None:
    assert window_for([whole_day(date(2026, 3, 5))], NOW) == Window(date(2026, 3, 4), date(2026, 3, 7))


def test_the_window_never_reaches_further_than_cronofy_lists() -> None:
    assert window_for([an_event(starts_in=200 * DAY)], NOW) == Window(LAST - DAY, LAST)
    assert window_for([whole_day(TODAY + 200 * DAY)], NOW).until == LAST
    assert window_for([an_event(starts_in=300 * DAY), an_event()], NOW).until == LAST


def test_the_window_never_begins_before_yesterday() -> None:
    assert window_for([an_event(starts_in=-9 * DAY), an_event()], NOW).since == TODAY - DAY


@given(st.lists(st.timedeltas(timedelta(minutes=1), 200 * DAY), min_size=1, max_size=5))
def test_every_due_event_is_within_the_window(starts: list[timedelta]) -> None:
    window = window_for([an_event(starts_in=span) for span in starts], NOW)
    assert all(window.since <= (NOW + span).date() < window.until for span in starts)


@given(st.integers(1, 199), st.sampled_from([z for z in strategies.ZONES if z != "No/Where"]))
def test_every_whole_day_is_within_the_window_whatever_its_zone(ahead: int, tzid: str | None) -> None:
    day = TODAY + timedelta(days=ahead)
    window = window_for([whole_day(day, tzid)], NOW)
    assert window.since <= day < window.until
