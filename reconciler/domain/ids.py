"""The identifiers that travel through the worker, as types that cannot be mixed up."""

from dataclasses import dataclass
from typing import NewType

AccountId = NewType("AccountId", str)
"""Cronofy's `sub` of a person, `acc_…`."""

CalendarId = NewType("CalendarId", str)
EventId = NewType("EventId", str)
"""The application's own id of an event, unique within a calendar."""

ProfileId = NewType("ProfileId", str)
"""A profile's id, `pro_…`, or one of the reserved words that stand in its place in an upsert."""

DEFAULT = ProfileId("default")
INTEGRATED = ProfileId("integrated")
RETIRED_8X8 = ProfileId("8x8")


def names_profile(asked: ProfileId) -> bool:
    """Whether `asked` is one profile's own id rather than a reserved word, or a word that Cronofy does not have."""
    return asked.startswith("pro_")


@dataclass(frozen=True, slots=True, order=True)
class EventKey:
    """What identifies a calendar event at Cronofy and in the application's database."""

    calendar_id: CalendarId
    event_id: EventId

    def __str__(self) -> str:
        return f"{self.calendar_id}/{self.event_id}"
