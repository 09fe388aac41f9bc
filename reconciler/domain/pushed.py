"""What Cronofy pushed about an event, and when it settles the event without a read.

A notification may be late, repeated, out of order, or speak of an older write. It only ever settles an event, and only
where everything in it fits the last write; all else it does is to make the event due (interface.md, section 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.domain.event import Assigned, CalendarEvent
from reconciler.domain.evidence import Found, KnownProfile
from reconciler.domain.ids import ProfileId
from reconciler.domain.state import EventState
from reconciler.domain.times import Instant, same_time

SAME_SERVICE = {"google_meet": "google_meet_api"}
"""Names under which a read shows what a conferencing profile of another name made."""


@dataclass(frozen=True, slots=True)
class PushedEvent:
    """The event that a notification carries; `updated` is when Cronofy last changed it, null where it does not say."""

    found: Found
    updated: datetime | None


@dataclass(frozen=True, slots=True)
class PushedLink:
    """The newest `conferencing_assigned` that no look has taken into account; `event` null: it carries none."""

    received_at: datetime
    event: PushedEvent | None


def settled_by(
    pushed: PushedLink | None, event: CalendarEvent, state: EventState, profiles: Mapping[ProfileId, KnownProfile]
) -> Found | None:
    """The event as it was pushed, where that settles it without a read; null where it must be read.

    It was received after the last write, ours included, and after the last read, which it cannot contradict. Start and
    `updated` are those of the last write, and the provider is the one asked for, as far as these are known.
    """
    if pushed is None or pushed.event is None:
        return None
    found, updated = pushed.event.found, pushed.event.updated
    link = found.conferencing
    if not isinstance(link, Assigned) or found.deleted or found.cancelled:
        return None
    written_at = state.stamped_from or event.written_at
    before = (written_at, state.repaired_at, state.intended_at, state.read_at)
    if any(moment is not None and pushed.received_at <= moment for moment in before):
        return None
    if updated is not None and updated < written_at.replace(microsecond=0):
        return None
    if not same_time(event.body.start or Instant(event.starts_at), found.start):
        return None
    asked = profiles.get(event.profile_id)
    if asked is not None and asked.provider_name not in {
        link.provider_name,
        SAME_SERVICE.get(link.provider_name or ""),
    }:
        return None
    return replace(found, pushed_at=pushed.received_at)
