"""A calendar event as the application wrote it, and the video part of one as Cronofy shows it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from reconciler.domain.ids import AccountId, EventKey, ProfileId
from reconciler.domain.times import EventTime


@dataclass(frozen=True, slots=True)
class Absent:
    """The read-back shows no conferencing: key missing, null or an empty object."""


@dataclass(frozen=True, slots=True)
class Pending:
    """`{"pending": true}`: not generated yet, or failing and being tried again; a read cannot tell which."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The event has its link. `provider_name` is null for an explicit one."""

    join_url: str
    provider_name: str | None


Conferencing = Absent | Pending | Assigned


class BodyState(StrEnum):
    """Whether the stored upsert body can be sent again, and if not, why."""

    USABLE = "usable"
    MISSING = "missing"
    NOT_AN_OBJECT = "not_an_object"
    OTHER_EVENT = "other_event"
    """Its `event_id` is absent or another one: sending it would write another event."""
    CONFERENCING_UNREADABLE = "conferencing_unreadable"
    """Its `conferencing` is no object: there is no place for a `profile_id`."""
    TWICE = "twice"
    """The application holds the event twice, with different values: which one it wrote last cannot be told."""
    TIMES_UNREADABLE = "times_unreadable"
    """Its start or end cannot be read, so it cannot be told whether the person moved the event."""
    ZONE_UNKNOWN = "zone_unknown"
    """It names a time zone that does not exist: what its times mean is not known, and Cronofy takes no such zone."""
    TOO_LARGE = "too_large"
    """It is larger than is worked with, and was not looked into."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """What a decision needs to know of the body that the application last wrote; the rest stays unread.

    `summary_digest` tells whether the calendar shows this very body; it is not evidence of a cause. `recurs`: it says
    how the event repeats. `sets_location`: it names a place of its own, where Cronofy would put the link in a calendar
    without a field for it (Cronofy docs, "conferencing services": leave `location` blank).
    """

    state: BodyState
    start: EventTime | None = None
    end: EventTime | None = None
    tzid: str | None = None
    summary_digest: str | None = field(default=None, compare=False)
    recurs: bool = False
    sets_location: bool = False


def summary_digest(summary: object) -> str | None:
    """What two summaries are compared by, for the text itself is not to be kept; null where there is none."""
    return sha256(summary.encode(errors="replace")).hexdigest() if isinstance(summary, str) else None


NO_BODY = StoredBody(BodyState.MISSING)


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """One row of the application's `events` relation. `body` is what a decision needs of the stored upsert body."""

    key: EventKey
    account_id: AccountId
    starts_at: datetime
    ends_at: datetime | None
    profile_id: ProfileId
    written_at: datetime
    body: StoredBody
