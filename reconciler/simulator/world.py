"""The state of a simulated Cronofy: accounts, events, and the virtual clock they live by.

Pure state, no HTTP. Everything random is drawn from generators seeded by `seed`. Conferencing is generated lazily:
`settle` makes the attempts that have come due since last time and is called before every request, after every
`advance` and when an event's conferencing is looked at. Changes made at one instant, between two such moments,
therefore count as having always been so: a profile disconnected right after `write_event` was disconnected all along.
"""

from __future__ import annotations

import copy
import heapq
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from reconciler.simulator import generation, upserts
from reconciler.simulator.accounts import Account, Calendar, refuse_real_secret
from reconciler.simulator.events import Event, Time, moment
from reconciler.simulator.faults import Fault, Faults
from reconciler.simulator.journal import RequestRecord
from reconciler.simulator.limits import Limits
from reconciler.simulator.listing import Pages
from reconciler.simulator.settings import Settings
from reconciler.simulator.times import Clock
from reconciler.simulator.tokens import Tokens
from reconciler.simulator.webhooks import Webhooks

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class World:
    """Everything the simulator knows."""

    def __init__(self, seed: int = 1, settings: Settings | None = None, now: datetime | None = None) -> None:
        self.seed = seed
        self.settings = settings or Settings()
        self.clock = Clock(now)
        self.limits = Limits(self.settings)
        self.faults = Faults(seed)
        self.jitter = random.Random(f"latency-{seed}")
        self.requests: list[RequestRecord] = []
        self.violations: list[str] = []
        self._clear()

    def _clear(self) -> None:
        self._random = random.Random(f"ids-{self.seed}")
        self.tokens = Tokens(self.settings, self.now, self.token)
        self.pages = Pages(self)
        self.webhooks = Webhooks(self.settings, self.seed, self.now())
        self.accounts: dict[str, Account] = {}
        self.events: dict[tuple[str, str], Event] = {}
        self.outages: set[str] = set()
        self._calendars: dict[str, Calendar] = {}
        self._due: list[tuple[datetime, int, Event]] = []
        self._sequence = 0

    def reset(self) -> None:
        """Begin anew: no accounts, events, tokens, outages or faults, and no record; clock and settings stay."""
        self.faults.clear()
        self.clear_record()
        self._clear()

    # Time.

    def now(self) -> datetime:
        """The present on the virtual clock, in UTC."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self.settle()
        self.clock.advance(seconds)
        self.settle()

    def settle(self) -> None:
        """Make the conferencing attempts that have come due."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            at, _, event = heapq.heappop(self._due)
            if event.conference.next_attempt == at:
                generation.attempt(event, at, now)

    def schedule(self, event: Event, at: datetime) -> None:
        """Set the moment of an event's next conferencing attempt."""
        event.conference.next_attempt = at
        self._sequence += 1
        heapq.heappush(self._due, (at, self._sequence, event))

    @contextmanager
    def history(self) -> Iterator[None]:
        """What is done in here happened before the present: nobody is told of it."""
        self.webhooks.since = datetime.max.replace(tzinfo=UTC)
        try:
            yield
        finally:
            self.webhooks.since = self.now()

    # Accounts and calendars.

    def add_account(
        self,
        account_id: str | None = None,
        *,
        name: str = "Jane Doe",
        email: str = "jane.doe@example.com",
        access_token: str | None = None,
        refresh_token: str | None = None,
        data_center: str = "us",
        scope: str = "read_write",
    ) -> Account:
        """Add a person with a live grant; ids and tokens are generated where not given."""
        refuse_real_secret(access_token)
        refuse_real_secret(refresh_token)
        made = account_id or f"acc_{self._hex(24)}"
        if made in self.accounts:
            raise ValueError(f"there is an account {made} already")
        account = Account(self, made, name, email, "", "", self.now(), data_center, scope)
        self.tokens.grant(account, access_token, refresh_token)
        self.accounts[made] = account
        return account

    def enter_calendar(self, calendar: Calendar) -> None:
        """Make a new calendar known by its id."""
        if calendar.calendar_id in self._calendars:
            raise ValueError(f"there is a calendar {calendar.calendar_id} already")
        self._calendars[calendar.calendar_id] = calendar

    def calendar(self, calendar_id: str) -> Calendar | None:
        """Any account's calendar."""
        return self._calendars.get(calendar_id)

    # Events.

    def write_event(
        self, account: Account, calendar_id: str, body: dict[str, Any], written_at: datetime | None = None
    ) -> Event:
        """An upsert of the application's, some time ago: neither a request nor judged as one.

        The profile it asks for may be gone by now, and integrated conferencing unavailable.
        """
        calendar = account.calendar(calendar_id)
        if calendar is None:
            raise KeyError(calendar_id)
        errors = upserts.shape_errors(body)
        if errors:
            told = (problem["description"] for problems in errors.values() for problem in problems)
            raise ValueError(f"no valid upsert body: {'; '.join(told)}")
        return upserts.store(self, calendar, body, written_at or self.now())

    def add_external_event(
        self,
        account: Account,
        calendar_id: str,
        /,
        *,
        summary: str = "Dentist",
        start: Time,
        end: Time,
        event_uid: str | None = None,
        **fields: Any,
    ) -> Event:
        """An event a person made in the calendar."""
        calendar = account.calendar(calendar_id)
        if calendar is None:
            raise KeyError(calendar_id)
        event = self.new_event(calendar, None, moment(start), moment(end), self.now())
        event.event_uid = event_uid or event.event_uid
        event.fields = {"summary": summary, **copy.deepcopy(fields)}
        event.changed_outside = event.created
        return event

    def new_event(self, calendar: Calendar, event_id: str | None, start: Any, end: Any, at: datetime) -> Event:
        """Enter an event; without an `event_id` it is external."""
        event = Event(self, calendar, event_id, f"evt_external_{self._hex(24)}", start, end, at, at)
        event.place(start, end)
        calendar.account.events.append(event)
        if event_id is not None:
            self.events[event.key] = event
        return event

    def event(self, calendar_id: str, event_id: str) -> Event:
        """A managed event; KeyError if there never was one."""
        return self.events[calendar_id, event_id]

    # Trouble.

    def outage(self, provider: str, on: bool = True) -> None:
        """A video provider stops (or resumes) giving links; named as a profile or as a read names it."""
        if on:
            self.outages.add(provider)
        else:
            self.outages.discard(provider)

    def aim(self, fault: Fault) -> None:
        """Put a fault in force; the account it is for must be known."""
        if fault.account_id is not None and fault.account_id not in self.accounts:
            raise ValueError("account_id should be that of a known account")
        self.faults.add(fault)

    def licence_lost(self, account: Account, lost: bool = True) -> None:
        """The person's integrated service gives no URL any more (`missing_meeting_url`), or does again."""
        account.licence = not lost

    # What clients did.

    def clear_requests(self) -> None:
        """Forget the requests; violations and peaks stay."""
        self.requests.clear()

    def clear_record(self) -> None:
        """Forget requests, webhooks, violations and peaks, and empty the rate windows."""
        self.requests.clear()
        self.violations.clear()
        self.webhooks.clear()
        self.limits.clear()

    def violation(self, text: str) -> None:
        """Note something a client should not have done."""
        self.violations.append(text)

    # Made-up values.

    def token(self, length: int) -> str:
        """A string of letters and digits."""
        return "".join(self._random.choices(_ALPHABET, k=length))

    def make_link(self, provider: str) -> str:
        """A unique join URL in the provider's style."""
        digits = "".join(self._random.choices("0123456789", k=11))
        letters = self.token(16)
        match provider:
            case "zoom":
                return f"https://us02web.zoom.us/j/{digits}?pwd={letters}"
            case "go_to":
                return f"https://meet.goto.com/{digits[:9]}"
            case "google_meet":
                return f"https://meet.google.com/{letters[:3]}-{letters[3:7]}-{letters[7:10]}"
            case "ms_teams" | "ms_teams_for_business":
                thread = uuid.UUID(int=self._random.getrandbits(128), version=4).hex
                return f"https://teams.microsoft.com/l/meetup-join/19%3ameeting_{thread}%40thread.v2/0"
            case _:
                return f"https://meet.example.com/{provider}/{digits}"

    def _hex(self, length: int) -> str:
        return "".join(self._random.choices("0123456789abcdef", k=length))
