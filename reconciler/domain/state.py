"""What we remember of a calendar event between runs, and how one look changes it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from reconciler.domain.cause import SETTLED, Cause
from reconciler.domain.event import Absent, Assigned, CalendarEvent, Pending
from reconciler.domain.evidence import Evidence, Found, NotListed, Rejection
from reconciler.domain.ids import AccountId, EventKey, ProfileId
from reconciler.domain.outcome import Applied, InDoubt, Outcome, Rejected, Unneeded, Unsent
from reconciler.domain.remedy import Remedy, Reupsert, remedy_text
from reconciler.domain.schedule import next_read_at

CROSSING = timedelta(milliseconds=250)
"""A write of the application's that is stamped so shortly after the answer to ours may have reached Cronofy before ours
did: its clock is not the database's."""


@dataclass(frozen=True, slots=True)
class EventState:
    """One row of `event_states`. All but the key are null, zero or `unknown` for an event never read.

    `linked_at` is when a look first showed the link that it has, null where that was before this was recorded.
    `seen_written_at` is the application's `written_at` that this state speaks of. `intended_at` is set while the
    outcome of a repair is not known: between its intent and its outcome, and after a lost answer.
    `uncorrected` is the profile that Cronofy was given for this write, where the application's database refused to put
    it into its row, and `uncorrected_reason` why. `stamped_from` is the `written_at` of this write where a trigger gave
    the row another one on our own correction.
    """

    key: EventKey
    account_id: AccountId
    conferencing: str = "unknown"
    cause: Cause | None = None
    remedy: str | None = None
    join_url: str | None = None
    provider_name: str | None = None
    asked_provider: str | None = None
    read_at: datetime | None = None
    pending_since: datetime | None = None
    next_read_at: datetime | None = None
    settled_at: datetime | None = None
    linked_at: datetime | None = None
    repairs: int = 0
    repaired_at: datetime | None = None
    confirmed_at: datetime | None = None
    intended_at: datetime | None = None
    intended_profile: ProfileId | None = None
    misses: int = 0
    unchanged_looks: int = 0
    seen_written_at: datetime | None = None
    rejections: tuple[Rejection, ...] = ()
    uncorrected: ProfileId | None = None
    uncorrected_reason: str | None = None
    stamped_from: datetime | None = None

    def for_write(self, written_at: datetime) -> "EventState":
        """This state as it bears on the application's write of that moment: a newer write starts the count anew."""
        if self.seen_written_at is None or self.seen_written_at == written_at:
            return self
        return replace(
            self,
            repairs=0,
            repaired_at=None,
            confirmed_at=None,
            rejections=(),
            pending_since=None,
            unchanged_looks=0,
            misses=0,
            settled_at=None,
            intended_at=None,
            intended_profile=None,
            uncorrected=None,
            uncorrected_reason=None,
            stamped_from=None,
        )

    def overtaken_by(self, written_at: datetime) -> bool:
        """Whether the application's write of that moment came while a re-upsert of ours was under way."""
        return self.intended_at is not None and self.seen_written_at not in {None, written_at}

    def perhaps_overtaken_by(self, written_at: datetime) -> bool:
        """Whether it may have: its row was written after ours was answered, but hardly later."""
        if self.repaired_at is None or self.seen_written_at in {None, written_at}:
            return False
        return written_at <= self.repaired_at + CROSSING

    @property
    def awaits_confirmation(self) -> bool:
        """Whether a repair was accepted and no later read has shown the link yet."""
        return self.repaired_at is not None and self.confirmed_at is None


def conferencing_word(cause: Cause, evidence: Evidence, before: str) -> str:
    """The word of `event_states.conferencing` for what was read."""
    read = evidence.read_back
    match cause:
        case Cause.EVENT_DELETED | Cause.EVENT_MISSING:
            return "gone"
        case Cause.EVENT_PAST:
            return "ignored"
        case _:
            pass
    if not isinstance(read, Found):
        return before
    match read.conferencing:
        case Assigned():
            return "assigned"
        case Pending():
            return "pending"
        case Absent():
            return "absent"
    assert_never(read.conferencing)


def linked_at(before: EventState, evidence: Evidence) -> datetime | None:
    """When the link that was read was first seen; null where none was read, or that is not on record."""
    found = evidence.found
    if found is None or not isinstance(found.conferencing, Assigned):
        return None
    return before.linked_at if before.join_url == found.conferencing.join_url else found.pushed_at or evidence.now


def after_look(
    before: EventState, event: CalendarEvent, cause: Cause, remedy: Remedy, evidence: Evidence, *, held: bool = False
) -> EventState:
    """The state after an event was read and judged, with nothing written yet.

    `held`: the verdict waits for the end of the run; only what was observed is kept, and the event stays due.
    """
    now = evidence.now
    word = conferencing_word(cause, evidence, before.conferencing)
    link = evidence.found.conferencing if evidence.found else None
    settled = cause in SETTLED
    misses = evidence.read_back.times if isinstance(evidence.read_back, NotListed) else 0
    changed = (before.cause, before.remedy, before.conferencing) != (cause, remedy_text(remedy), word)
    looks = 0 if changed else before.unchanged_looks + 1
    unsure = misses == 1 or before.awaits_confirmation or before.intended_at is not None
    observed = replace(
        before,
        conferencing=word,
        join_url=link.join_url if isinstance(link, Assigned) else None,
        provider_name=link.provider_name if isinstance(link, Assigned) else before.provider_name,
        linked_at=linked_at(before, evidence),
        asked_provider=evidence.provider or before.asked_provider,
        read_at=before.read_at if evidence.found and evidence.found.pushed_at else now,
        pending_since=(before.pending_since or now) if word == "pending" else None,
        misses=misses,
        seen_written_at=event.written_at,
    )
    if held:
        return replace(observed, next_read_at=now)
    confirmed = cause is Cause.ASSIGNED and (before.awaits_confirmation or before.intended_at is not None)
    return replace(
        observed,
        cause=cause,
        remedy=remedy_text(remedy),
        settled_at=now if settled else None,
        next_read_at=None if settled else next_read_at(now, event.starts_at, looks, in_doubt=unsure),
        unchanged_looks=looks,
        confirmed_at=now if confirmed else before.confirmed_at,
        intended_at=None,
        intended_profile=None,
    )


def after_write(state: EventState, outcome: Outcome, remedy: Reupsert, now: datetime) -> EventState:
    """The state after a re-upsert was answered, or not."""
    match outcome:
        case Applied():
            return replace(
                state,
                repairs=state.repairs + int(not remedy.restores),
                repaired_at=now,
                confirmed_at=None,
                next_read_at=now,
                unchanged_looks=0,
                uncorrected=None,
                uncorrected_reason=None,
            )
        case Rejected():
            return replace(state, rejections=(*state.rejections, outcome.rejection(remedy.profile_id)))
        case InDoubt():
            return replace(state, intended_at=now, intended_profile=remedy.profile_id, next_read_at=now)
        case Unsent() | Unneeded():
            return replace(state, next_read_at=now)
    assert_never(outcome)


def decided_anew(before: EventState, after: EventState) -> bool:
    """Whether a look decided something that the trail does not say yet."""
    reopened_and_closed = before.settled_at is None and after.settled_at is not None
    return (before.cause, before.remedy) != (after.cause, after.remedy) or reopened_and_closed
