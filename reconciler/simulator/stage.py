"""Where the demonstration company is built: its world, and the application's rows beside it.

A `Stage` keeps the two in step: whoever is hired gets a Cronofy account and a row of the application's accounts, and
whatever is arranged becomes an event in the calendar and a row of the application's events, together with the cause
the first run of the reconciler should find.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from reconciler.simulator.accounts import Account, Calendar, ConferencingProfile
from reconciler.simulator.cast import Customer, address, slot, write_body
from reconciler.simulator.events import Event
from reconciler.simulator.world import World

Key = tuple[str, str]

# When the application wrote an event: long settled, lately but beyond any grace period, or a moment ago.
LONG_AGO = (timedelta(days=2), timedelta(days=20))
LATELY = (timedelta(minutes=40), timedelta(hours=20))
JUST_NOW = (timedelta(seconds=40), timedelta(seconds=70))
Age = tuple[timedelta, timedelta]

# In seconds: beyond the end of any demonstration.
LONG = 30 * 24 * 3600


@dataclass
class Stage:
    """The scenery under construction."""

    world: World
    now: datetime
    rng: random.Random
    accounts: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    expected: dict[Key, str] = field(default_factory=dict)
    expected_second_run: dict[Key, str] = field(default_factory=dict)
    storyline: dict[str, str] = field(default_factory=dict)

    def hire(self, customer: Customer, index: int, **details: Any) -> Actor:
        """A person with an account, one calendar profile and one calendar."""
        account = self.world.add_account(
            name=customer.people[index % len(customer.people)],
            email=address(index, customer),
            data_center=customer.data_center,
            **details,
        )
        account.zoneinfo = customer.tzid
        calendar = account.add_calendar_profile(customer.calendar_provider).add_calendar()
        self.accounts.append(
            {
                "account_id": account.account_id,
                "data_center": account.data_center,
                "access_token": account.access_token,
                "refresh_token": account.refresh_token,
                "token_expires_at": account.token_expires_at,
                "name": account.name,
                "email": account.email,
                "customer": customer.name,
                "account_manager": customer.manager,
                "state": "active",
                "parked_reason": None,
                "updated_at": self.now - timedelta(days=3),
            }
        )
        return Actor(self, customer, account, calendar, self.accounts[-1])

    def tell(self, cause: str, sentence: str) -> None:
        """What happened, in one sentence; the first telling of a cause stays."""
        self.storyline.setdefault(cause, sentence)


@dataclass
class Actor:
    """One person on the stage."""

    stage: Stage
    customer: Customer
    account: Account
    calendar: Calendar
    row: dict[str, Any]

    def connect(self, provider: str, name: str | None = None) -> ConferencingProfile:
        """Authorise a video provider."""
        return self.account.add_conferencing_profile(provider, profile_name=name)

    def meet(
        self, asked: str | None, cause: str | None, age: Age = LONG_AGO, count: int = 1, **changes: Any
    ) -> list[Event]:
        """Arrange meetings that ask for this conferencing; without a cause they are none of the reconciler's."""
        return [self._meet(asked, cause, age, changes) for _ in range(count)]

    def meet_and_link(self, asked: str, count: int = 3, age: Age = LONG_AGO) -> None:
        """Meetings that have got their link."""
        for event in self.meet(asked, "assigned", age, count):
            event.assign()

    def _meet(self, asked: str | None, cause: str | None, age: Age, changes: dict[str, Any]) -> Event:
        stage = self.stage
        start, end = slot(stage.rng, stage.now, self.customer)
        body = write_body(stage.rng, len(stage.events), self.customer, asked, start=start, end=end)
        body |= changes.get("body", {})
        least, most = (span.total_seconds() for span in age)
        written_at = stage.now - timedelta(seconds=round(stage.rng.uniform(least, most)))
        event = stage.world.write_event(self.account, self.calendar.calendar_id, body, written_at)
        stage.events.append(
            {
                "calendar_id": event.calendar_id,
                "event_id": event.event_id,
                "account_id": self.account.account_id,
                "starts_at": event.start.instant(),
                "ends_at": event.end.instant(),
                "profile_id": asked,
                "body": copy.deepcopy(event.body),
                "written_at": written_at,
                "cancelled_at": changes.get("cancelled_at"),
            }
        )
        if cause is not None:
            stage.expected[event.key] = cause
        return event
