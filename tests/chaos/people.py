"""Who lives in a town that is to be tried, and what must have become of each event in the end."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.acceptance.program import DAYS_AGO, HOURS_AGO, Key, Planted, Resident, Town

NoticeKey = tuple[str, str, str | None]
"""Account, kind, profile."""

FRESH = timedelta(minutes=1)
MOST_UNEXPLAINED = 3
"""Accounts with an event that nothing explains: fewer than make a provider's outage."""


@dataclass
class Expected:
    """What must be true when nothing is left to do."""

    causes: dict[Key, str] = field(default_factory=dict)
    repairs: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """The one body that must have been sent, and taken effect once."""
    notices: set[NoticeKey] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)
    ignored: set[Key] = field(default_factory=set)
    """Events that ask for nothing, or were cancelled: never read."""
    unexplained: int = 0

    def becomes(self, cause: str, *events: Planted) -> None:
        """Each of these has that cause in the end."""
        self.causes.update({event.key: cause for event in events})

    def repaired(self, profile_id: str, *events: Planted) -> None:
        """Each of these is written again once, and has its link in the end."""
        self.becomes("assigned", *events)
        for event in events:
            moved = {"start": event.event.start.render(), "end": event.event.end.render()}
            self.repairs[event.key] = event.asking_for(profile_id, **moved)

    def noticed(self, kind: str, profile_id: str | None, cause: str, *events: Planted) -> None:
        """These wait for one notice."""
        self.becomes(cause, *events)
        self.notices.add((events[0].resident.account.account_id, kind, profile_id))


Kind = Callable[[Town, Expected, random.Random], None]


def _soon_or_later(chance: random.Random) -> timedelta:
    hours = chance.uniform(4, 22) if chance.random() < 0.5 else chance.uniform(30, 24 * 60)
    return timedelta(hours=hours)


def _lost(who: Resident, chance: random.Random, **options: Any) -> Planted:
    return who.event("pro_gone", age=DAYS_AGO, stuck=True, starts_in=_soon_or_later(chance), **options)


def one_lost(town: Town, want: Expected, chance: random.Random) -> None:
    """One event whose profile was removed, with another profile to take its place."""
    who = town.resident()
    want.repaired(who.connect(), _lost(who, chance))


def several_lost(town: Town, want: Expected, chance: random.Random) -> None:
    """The same of several events: they travel in one batch."""
    who = town.resident()
    events = [_lost(who, chance) for _ in range(chance.randint(2, 6))]
    want.repaired(who.connect(), *events)
    want.becomes("assigned", who.event("default", link=True))


def moved(town: Town, want: Expected, chance: random.Random) -> None:
    """The person moved the event: it must keep its new time."""
    who = town.resident()
    event = _lost(who, chance)
    later = (town.now + _soon_or_later(chance)).replace(microsecond=0)
    event.event.move_by_user(later, later + timedelta(minutes=45))
    want.repaired(who.connect(), event)


def worn_tokens(town: Town, want: Expected, chance: random.Random) -> None:
    """The access token has ended, and a refresh replaces the refresh token too."""
    who = town.resident()
    event = _lost(who, chance)
    want.repaired(who.connect(), event)
    town.world.tokens.expire(who.account)
    if chance.random() < 0.5:
        who.row["token_expires_at"] = town.now - timedelta(minutes=3)


def happy(town: Town, want: Expected, chance: random.Random) -> None:
    """Everything has its link; besides, events that ask for nothing or are cancelled."""
    who = town.resident()
    zoom = who.connect()
    want.becomes(
        "assigned", who.event(zoom, link=True, starts_in=_soon_or_later(chance)), who.event("default", link=True)
    )
    left = [who.event("none"), who.event(None), who.event(zoom, cancelled_at=town.now)]
    want.ignored.update(event.key for event in left)


def disconnected(town: Town, want: Expected, chance: random.Random) -> None:
    """The person has to relink the profile."""
    who = town.resident()
    zoom = who.connect(connected=False)
    events = [who.event(zoom, starts_in=_soon_or_later(chance)) for _ in range(chance.randint(1, 3))]
    want.noticed("relink_conferencing", zoom, "profile_disconnected", *events)


def calendar_disconnected(town: Town, want: Expected, chance: random.Random) -> None:
    """The person has to relink the calendar."""
    who = town.resident(calendars="exchange")
    event = who.event(who.connect(), stuck=True, starts_in=_soon_or_later(chance))
    who.profile.connected = False
    want.noticed("relink_calendar", who.profile.profile_id, "calendar_disconnected", event)


def nothing_to_take(town: Town, want: Expected, chance: random.Random) -> None:
    """The profile was removed and nothing can take its place."""
    who = town.resident(integrated=False)
    want.noticed("connect_conferencing", "pro_gone", "profile_removed", _lost(who, chance))


def settling(town: Town, want: Expected, chance: random.Random) -> None:
    """Written a moment ago: still within grace when the trial ends."""
    who = town.resident()
    want.becomes("settling", who.event(who.connect(), age=FRESH, stuck=True, starts_in=_soon_or_later(chance)))


def over(town: Town, want: Expected, chance: random.Random) -> None:
    """Deleted, and moved into the past, by the person, with a profile that would call for a repair."""
    who = town.resident()
    who.connect()
    deleted, past = _lost(who, chance), _lost(who, chance)
    deleted.event.delete_by_user()
    past.event.move_by_user(town.now - timedelta(hours=3), town.now - timedelta(hours=2))
    want.becomes("event_deleted", deleted)
    want.becomes("event_past", past)


def revoked(town: Town, want: Expected, chance: random.Random) -> None:
    """The grant was withdrawn: parked, and asked once to authorise again."""
    who = town.resident()
    event = who.event(who.connect(), age=HOURS_AGO, starts_in=_soon_or_later(chance))
    who.account.revoked = True
    want.noticed("reauthorize_account", None, "account_unauthorized", event)
    want.parked.add(who.account.account_id)


def unexplained(town: Town, want: Expected, chance: random.Random) -> None:
    """Connected and past grace: its verdict waits for the end of the run."""
    if want.unexplained == MOST_UNEXPLAINED:
        happy(town, want, chance)
        return
    want.unexplained += 1
    who = town.resident()
    want.becomes("unexplained", who.event(who.connect("webex"), stuck=True, starts_in=_soon_or_later(chance)))


KINDS: dict[Kind, int] = {
    one_lost: 5, several_lost: 4, moved: 2, worn_tokens: 4, happy: 2, disconnected: 2, calendar_disconnected: 1,
    nothing_to_take: 1, settling: 1, over: 2, revoked: 1, unexplained: 1,
}  # fmt: skip
"""Every kind of account, and how often it comes."""


def settle_in(town: Town, want: Expected, chance: random.Random, number: int) -> None:
    """So many new accounts, of kinds drawn by weight."""
    for kind in chance.choices(list(KINDS), weights=list(KINDS.values()), k=number):
        kind(town, want, chance)
