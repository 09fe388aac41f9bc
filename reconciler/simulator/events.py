"""One calendar event: its state, what a person may do to it, and what a read shows (cronofy-api.md section 3.4).

A managed event is one the application wrote; it alone has an `event_id`. The body the application sent and the times in
the calendar may part company: people move events, and Cronofy then reads back the person's times.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from reconciler.simulator import generation
from reconciler.simulator.accounts import Account, Calendar
from reconciler.simulator.generation import MISSING, Conference
from reconciler.simulator.times import Moment, parse, stamp

if TYPE_CHECKING:
    from reconciler.simulator.world import World

Time = str | date | datetime | dict[str, str]


def moment(value: Time, tzid: str = "Etc/UTC") -> Moment:
    """An event time from anything a test or a body may hold."""
    if isinstance(value, datetime):
        return parse(value.isoformat(), tzid)
    return Moment(value, tzid) if isinstance(value, date) else parse(value, tzid)


@dataclass(eq=False)
class Event:
    """One event in one calendar."""

    world: World = field(repr=False)
    calendar: Calendar = field(repr=False)
    event_id: str | None
    event_uid: str
    start: Moment
    end: Moment
    created: datetime
    updated: datetime
    # The last upsert body, untouched; and what the calendar holds after it (section 6.2).
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    # Upsert bodies received over HTTP, dropped ones included.
    writes: list[dict[str, Any]] = field(default_factory=list, repr=False)
    conference: Conference = field(default_factory=Conference, repr=False)
    status: str = "confirmed"
    deleted: bool = False
    forgotten: bool = False
    # The last change that was not the application's: what `last_modified` compares (section 3.1).
    changed_outside: datetime | None = None
    spans: list[tuple[Moment, Moment]] = field(default_factory=list, repr=False)

    @property
    def calendar_id(self) -> str:
        """Where it is."""
        return self.calendar.calendar_id

    @property
    def key(self) -> tuple[str, str]:
        """Calendar and the application's id; Cronofy's own for an external event."""
        return self.calendar_id, self.event_id or self.event_uid

    @property
    def account(self) -> Account:
        """Whose it is."""
        return self.calendar.account

    @property
    def managed(self) -> bool:
        """Whether the application wrote it."""
        return self.event_id is not None

    @property
    def starts_at(self) -> datetime:
        """Its start as an instant."""
        return self.start.instant()

    @property
    def conferencing(self) -> Any:
        """What a read shows now, or None where the key is absent (or null)."""
        self.world.settle()
        shown = generation.shown(self)
        return None if shown is MISSING else shown

    @property
    def join_url(self) -> str | None:
        """The link, if there is one."""
        shown = self.conferencing
        url = shown.get("join_url") if isinstance(shown, dict) else None
        return url if isinstance(url, str) else None

    @property
    def links_made(self) -> int:
        """How many conferences were made for it; more than one is a client's mistake (section 10.1)."""
        self.world.settle()
        return self.conference.made

    # What happens in the calendar, not through the API.

    def assign(self, join_url: str | None = None) -> None:
        """Give it a link at once, whatever stands in the way."""
        generation.assign_now(self, join_url)

    def delay_generation(self, seconds: float) -> None:
        """Let nothing come of its conferencing for that long, counted from now."""
        generation.postpone(self, seconds)

    def delete_by_user(self) -> None:
        """The person deleted it in the calendar."""
        self.deleted = True
        self._changed_by_user()

    def move_by_user(self, start: Time, end: Time) -> None:
        """The person moved it in the calendar."""
        self.place(moment(start, self.start.tzid), moment(end, self.end.tzid))
        self._changed_by_user()

    def clear_conferencing(self) -> None:
        """The person took the conference out of it."""
        self.conference.clear()
        self._changed_by_user()

    def forget(self) -> None:
        """It vanishes from every listing, leaving no trace."""
        self.forgotten = True

    def set_conferencing(self, raw: Any) -> None:
        """Let reads show exactly this under `conferencing`, null and nonsense included, until asked for anew."""
        self.conference.injected = copy.deepcopy(raw)

    def place(self, start: Moment, end: Moment) -> None:
        """Set its times, remembering where it ever was (for `include_moved`)."""
        self.start, self.end = start, end
        if (start, end) not in self.spans:
            self.spans.append((start, end))

    def _changed_by_user(self) -> None:
        self.updated = self.changed_outside = self.world.now()

    def as_read(self, *, localized: bool = False, geo: bool = False) -> dict[str, Any]:
        """The event object of a listing; keys without a value are left out as Cronofy does."""
        shown: dict[str, Any] = {
            "calendar_id": self.calendar_id,
            "event_uid": self.event_uid,
            "summary": self.fields.get("summary", ""),
            "description": self.fields.get("description", ""),
            "start": self.start.render(localized=localized),
            "end": self.end.render(localized=localized),
            "deleted": self.deleted,
            "created": stamp(self.created),
            "updated": stamp(self.updated),
            "participation_status": "accepted",
            "attendees": copy.deepcopy(self.fields.get("attendees", [])),
            "organizer": {"email": self.account.email, "display_name": self.account.name},
            "transparency": self.fields.get("transparency", "transparent" if self.start.all_day else "opaque"),
            "status": self.status,
            "categories": [],
            "recurring": "recurrence" in self.fields,
            "event_private": bool(self.fields.get("event_private", False)),
            "options": {"delete": True, "update": True, "change_participation_status": True},
        }
        if self.managed:
            shown["event_id"] = self.event_id
        if location := self._location(geo):
            shown["location"] = location
        conferencing = generation.shown(self)
        if conferencing is not MISSING:
            shown["conferencing"] = copy.deepcopy(conferencing)
        return shown

    def _location(self, geo: bool) -> dict[str, Any]:
        held = self.fields.get("location")
        if not isinstance(held, dict):
            return {}
        return {k: v for k, v in held.items() if k == "description" or (geo and k in {"lat", "long"})}
