"""Reads an account's due events back from Cronofy with as few requests as possible."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.domain.casework import Case
from reconciler.domain.event import CalendarEvent
from reconciler.domain.evidence import NotListed, ReadBack
from reconciler.domain.ids import EventKey
from reconciler.domain.times import AllDay
from reconciler.ports import CalendarApi, Credentials, Window

_FURTHEST = timedelta(days=201)
_DAY = timedelta(days=1)


def window_for(events: Sequence[CalendarEvent], now: datetime) -> Window:
    """The days, in UTC, that hold all the events. A whole day may begin on the day before or after, by its zone."""
    since, until = [], []
    for event in events:
        margin = _DAY if isinstance(event.body.start, AllDay) else timedelta()
        since.append((event.starts_at - margin).date())
        until.append((event.starts_at + margin).date() + _DAY)
    furthest = now.date() + _FURTHEST
    return Window(max(min(since), now.date() - _DAY), min(max(until), furthest))


async def read_back(
    api: CalendarApi, who: Credentials, cases: Sequence[Case], now: datetime
) -> dict[EventKey, ReadBack]:
    """What Cronofy shows of each event.

    One listing serves them all. Only where it lacks an event is everything listed, of all time: an event that the
    person moved out of the window is not missing.

    Raises:
        AccountUnauthorized, AccountUnreadable, RunStopped: as `ports.CalendarApi`.
    """
    listing = await api.list_events(who, window_for([c.event for c in cases], now))
    shown: dict[EventKey, ReadBack] = dict(listing.events)
    if any(c.event.key not in shown for c in cases):
        everything = await api.list_events(who, None)
        shown = {**everything.events, **shown}
    return {c.event.key: shown.get(c.event.key) or NotListed(c.state.misses + 1) for c in cases}
