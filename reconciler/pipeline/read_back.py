"""Reads an account's due events back from Cronofy with as few requests as possible."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from reconciler.domain.casework import Case
from reconciler.domain.event import CalendarEvent
from reconciler.domain.evidence import Found, NotListed, ReadBack, Unreadable, together
from reconciler.domain.ids import CalendarId, EventKey
from reconciler.domain.times import AllDay, starts_by
from reconciler.domain.windows import PAGE_SIZE_GUESS, Days, cheapest_windows, pages
from reconciler.ports import CalendarApi, Credentials, Density, Listing, Window

_FURTHEST = timedelta(days=201)
_DAY = timedelta(days=1)


@dataclass(slots=True)
class PageSize:
    """How many events Cronofy puts on a page: a guess until a listing has shown it."""

    events: int = PAGE_SIZE_GUESS

    def learn(self, listing: Listing) -> None:
        """Take it from a listing of more than one page."""
        self.events = listing.page_size or self.events


@dataclass(frozen=True, slots=True)
class Call:
    """One listing to ask for; no calendars means all of them."""

    window: Window
    calendars: tuple[CalendarId, ...] = ()


def days_of(event: CalendarEvent, now: datetime) -> Days:
    """The days, in UTC, that hold an event's start, or all its starts where it repeats.

    A whole day may begin on the day before or after, by its zone.
    """
    margin = _DAY if isinstance(event.body.start, AllDay) else timedelta()
    furthest = now.date() + _FURTHEST - _DAY
    first = max((event.starts_at - margin).date(), now.date() - _DAY)
    last = furthest if event.body.recurs else min((event.starts_at + margin).date(), furthest)
    return Days(min(first, furthest), last)


def window_ahead(now: datetime) -> Window:
    """All the days ahead that Cronofy lists."""
    return Window(now.date() - _DAY, now.date() + _FURTHEST)


def window_for(events: Iterable[CalendarEvent], now: datetime) -> Window:
    """One window that holds all the events."""
    spans = [days_of(event, now) for event in events]
    return Window(min(s.first for s in spans), max(s.last for s in spans) + _DAY)


def cheapest_calls(events: Sequence[CalendarEvent], density: Density, page_size: int, now: datetime) -> list[Call]:
    """The listings that cover the events for the fewest requests; one, where there is no density to weigh.

    Limited to the events' calendars only where that saves a request.
    """
    if not density:
        return [Call(window_for(events, now))]
    spans = [days_of(event, now) for event in events]
    calendars = tuple(sorted({event.key.calendar_id for event in events}))
    everywhere = _per_day(density, density)
    there = _per_day(density, calendars)
    wide = cheapest_windows(spans, everywhere, page_size)
    narrow = cheapest_windows(spans, there, page_size)
    if _cost(narrow, there, page_size) < _cost(wide, everywhere, page_size):
        return [Call(_window(days), calendars) for days in narrow]
    return [Call(_window(days)) for days in wide]


def _events_in(call: Call, density: Density) -> int:
    """How many events the application has where a call lists."""
    per_day = _per_day(density, call.calendars or density)
    return sum(n for day, n in per_day.items() if call.window.since <= day < call.window.until)


def _per_day(density: Density, calendars: Iterable[CalendarId]) -> Counter[date]:
    total: Counter[date] = Counter()
    for calendar_id in calendars:
        total.update(density.get(calendar_id, {}))
    return total


def _cost(windows: Sequence[Days], per_day: Counter[date], page_size: int) -> int:
    return sum(pages(sum(n for day, n in per_day.items() if w.first <= day <= w.last), page_size) for w in windows)


def _window(days: Days) -> Window:
    return Window(days.first, days.last + _DAY)


async def read_back(
    api: CalendarApi, who: Credentials, cases: Sequence[Case], density: Density, page_size: PageSize, now: datetime
) -> dict[EventKey, ReadBack]:
    """What Cronofy shows of each event.

    The cheapest listings serve them all. Only where these lack an event is everything listed, of all time: an event
    that the person moved out of the windows is not missing. And only where what they show of one is gone or past, or
    said to be one of several, are all days ahead listed: an event is over only if all its entries are.

    Raises:
        AccountUnauthorized, AccountUnreadable, RunStopped: as `ports.CalendarApi`.
    """
    events = [case.event for case in cases]
    wanted = [event.key for event in events]
    shown: dict[EventKey, Found | Unreadable] = {}
    for call in cheapest_calls(events, density, page_size.events, now):
        expected = _events_in(call, density)
        listing = await api.list_events(who, call.window, call.calendars, wanted=wanted, expected=expected)
        page_size.learn(listing)
        _add(shown, listing, wanted)
    if partly := [event.key for event in events if _may_have_more(shown.get(event.key), event, now)]:
        ahead = Call(window_ahead(now))
        _add(
            shown, await api.list_events(who, ahead.window, wanted=partly, expected=_events_in(ahead, density)), partly
        )
    if unseen := [event.key for event in events if event.key not in shown]:
        expected = sum(_per_day(density, density).values())
        _add(shown, await api.list_events(who, None, wanted=unseen, expected=expected), unseen)
    return {case.event.key: shown.get(case.event.key) or NotListed(case.state.misses + 1) for case in cases}


def _add(shown: dict[EventKey, Found | Unreadable], listing: Listing, wanted: Iterable[EventKey]) -> None:
    for key in wanted:
        entry = listing.events.get(key)
        if entry is not None:
            shown[key] = together(shown[key], entry) if key in shown else entry


def _may_have_more(shown: Found | Unreadable | None, event: CalendarEvent, now: datetime) -> bool:
    """Whether entries on other days may change what is known of an event; where it repeats, all days were listed."""
    if not isinstance(shown, Found) or event.body.recurs:
        return False
    over = shown.is_gone or starts_by(shown.start, event.body.tzid) <= now
    return over or (shown.repeats and not shown.is_linked)
