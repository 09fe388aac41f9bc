"""Which days are listed to read an account's events back."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.event import NO_BODY, CalendarEvent
from reconciler.domain.ids import CalendarId
from reconciler.domain.times import AllDay, starts_by
from reconciler.domain.windows import pages
from reconciler.pipeline.read_back import Call, PageSize, cheapest_calls, window_for
from reconciler.ports import Listing, Window
from tests import strategies
from tests.builders import CALENDAR, DAY, HOUR, MINUTE, NOW, a_body, an_event

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


# ---------------------------------------------------------------- the cheapest listings

OTHER = CalendarId("cal_other")
SOON, LATE = an_event("evt-1", starts_in=2 * DAY), an_event("evt-2", starts_in=20 * DAY)


def on_day(ahead: int) -> Window:
    return Window(TODAY + ahead * DAY, TODAY + (ahead + 1) * DAY)


def test_one_listing_is_asked_for_where_little_lies_between() -> None:
    assert cheapest_calls([SOON, LATE], {CALENDAR: {TODAY + 9 * DAY: 3}}, 100, NOW) == [
        Call(window_for([SOON, LATE], NOW))
    ]


def test_a_full_page_between_is_not_listed() -> None:
    density = {CALENDAR: {TODAY + 9 * DAY: 250}}
    assert cheapest_calls([LATE, SOON], density, 100, NOW) == [Call(on_day(2)), Call(on_day(20))]


def test_other_calendars_are_left_out_where_that_saves_a_request() -> None:
    busy = {CALENDAR: {TODAY + 9 * DAY: 3}, OTHER: {TODAY + 9 * DAY: 250}}
    calls = cheapest_calls([SOON, LATE], busy, 100, NOW)
    assert calls == [Call(window_for([SOON, LATE], NOW), (CALENDAR,))]


def test_other_calendars_are_listed_too_where_that_costs_nothing() -> None:
    quiet = {CALENDAR: {TODAY + 9 * DAY: 3}, OTHER: {TODAY + 9 * DAY: 40}}
    assert cheapest_calls([SOON, LATE], quiet, 100, NOW) == [Call(window_for([SOON, LATE], NOW))]


@given(
    st.lists(st.integers(1, 199), min_size=1, max_size=6),
    st.dictionaries(st.integers(1, 199), st.integers(1, 300), max_size=6),
    st.sampled_from((1, 50, 100)),
)
def test_the_listings_cover_every_event_for_no_more_than_one_window_costs(
    due: list[int], there: dict[int, int], page_size: int
) -> None:
    events = [an_event(f"evt-{n}", starts_in=ahead * DAY) for n, ahead in enumerate(due)]
    per_day = {TODAY + ahead * DAY: number for ahead, number in there.items()}
    calls = cheapest_calls(events, {CALENDAR: per_day}, page_size, NOW)

    def cost(window: Window) -> int:
        return pages(sum(n for day, n in per_day.items() if window.since <= day < window.until), page_size)

    for event in events:
        assert any(c.window.since <= event.starts_at.date() < c.window.until for c in calls)
    assert sum(cost(c.window) for c in calls) <= cost(window_for(events, NOW))


def test_the_size_of_a_page_is_learnt_from_a_listing_that_shows_it() -> None:
    size = PageSize()
    guess = size.events
    size.learn(Listing({}))
    assert size.events == guess
    size.learn(Listing({}, page_size=250))
    assert size.events == 250
