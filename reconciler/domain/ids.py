"""The identifiers that travel through the worker, as types that cannot be mixed up."""

import json
from collections.abc import Iterator
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


def id_from(text: str) -> str:
    """An id as people write it: a JSON string in quotes is taken as written, all else stands for itself."""
    try:
        value = json.loads(text) if text.startswith('"') else text
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def keys_from(text: str) -> tuple[EventKey, ...]:
    """The keys that `CALENDAR_ID/EVENT_ID` may mean; several where more than one slash could be the one between them.

    Either part may be a JSON string in quotes, and so may the whole: `"cal/1"/"evt 2"` has one meaning.

    Raises:
        ValueError: there is no slash with something on both sides.
    """
    found = tuple(_keys_from(text))
    if not found:
        raise ValueError("it is not CALENDAR_ID/EVENT_ID")
    return found


def _keys_from(text: str) -> Iterator[EventKey]:
    calendar_id, rest = _quoted(text)
    if calendar_id is not None and rest.startswith("/"):
        parts = [(calendar_id, rest[1:])]
    else:
        whole = calendar_id if calendar_id is not None and not rest else text
        parts = [(whole[:at], whole[at + 1 :]) for at, letter in enumerate(whole) if letter == "/"]
    for calendar, event in parts:
        if calendar and event:
            yield EventKey(CalendarId(calendar), EventId(id_from(event)))


def _quoted(text: str) -> tuple[str | None, str]:
    """The JSON string that a text begins with, null if with none, and what follows it."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None, text
    return (value, text[end:]) if isinstance(value, str) else (None, text)
