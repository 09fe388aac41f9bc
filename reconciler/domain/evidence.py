"""Every fact a decision may use, frozen, with when it was observed.

Evidence is what the audit trail stores: join URLs, relink URLs, tokens and bodies are deliberately not part of it.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from reconciler.domain.event import Absent, Assigned, Conferencing, Pending, StoredBody
from reconciler.domain.ids import DEFAULT, INTEGRATED, ProfileId
from reconciler.domain.roster import ConferencingProfile, own_service
from reconciler.domain.times import EventTime, same_time, starts_by


@dataclass(frozen=True, slots=True)
class Found:
    """The listing showed the event. `start_text` and `end_text` are the times as they were read.

    `event_uid` is Cronofy's own id of it, where the listing says it: no rule asks for it, support does.
    `summary_digest` is as in `StoredBody`. `pushed_at`: it was not read but pushed, and received then.
    `times_differ`: entries at different times were listed under its key, and these are the latest. `repeats`: the
    listing says that it is one of several; whoever reads looks for the others.
    """

    conferencing: Conferencing
    start: EventTime
    end: EventTime
    deleted: bool
    cancelled: bool
    start_text: str
    end_text: str
    event_uid: str | None = None
    summary_digest: str | None = field(default=None, compare=False)
    pushed_at: datetime | None = None
    times_differ: bool = False
    repeats: bool = field(default=False, compare=False)

    @property
    def is_gone(self) -> bool:
        """Whether it is deleted or cancelled."""
        return self.deleted or self.cancelled

    @property
    def is_linked(self) -> bool:
        """Whether it has a link."""
        return isinstance(self.conferencing, Assigned)


@dataclass(frozen=True, slots=True)
class NotListed:
    """A complete listing, deleted events included, did not show it, for the `times`-th time in a row."""

    times: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The account, a page or this event could not be read in this run."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Unauthorized:
    """Cronofy will not let us read this account until the person authorises again."""

    reason: str


ReadBack = Found | NotListed | Unreadable | Unauthorized


def together(one: Found | Unreadable, other: Found | Unreadable) -> Found | Unreadable:
    """Two entries that were listed under one key, as one: the safest of what they may mean.

    They may be occurrences of a series, copies of one event, or the event before and after a change that came while
    its pages were read; a listing does not tell which. So a link on either is a link, also where a newer copy has none:
    at worst an event is left alone that lost its link this moment. It is gone, or past, only if both are: the times
    are the latest of those that are not gone. One that cannot be read may have had a link, and may not be gone. Where
    both would do, `other` stands.
    """
    if isinstance(one, Unreadable) or isinstance(other, Unreadable):
        return next(
            (
                replace(e, times_differ=True)
                for e in (other, one)
                if isinstance(e, Found) and e.is_linked and not e.is_gone
            ),
            other if isinstance(other, Unreadable) else one,
        )
    latest_first = sorted((other, one), key=lambda e: starts_by(e.start), reverse=True)
    standing = next((e for e in latest_first if not e.is_gone), None)
    return replace(
        standing or latest_first[0],
        conferencing=min((other.conferencing, one.conferencing), key=lambda c: _SAFEST_FIRST.index(type(c))),
        deleted=standing is None and (one.deleted or other.deleted),
        cancelled=standing is None and (one.cancelled or other.cancelled),
        times_differ=one.times_differ
        or other.times_differ
        or not (same_time(one.start, other.start) and same_time(one.end, other.end)),
        repeats=one.repeats or other.repeats,
    )


_SAFEST_FIRST = (Assigned, Pending, Absent)
"""What is not written; what somebody else may still finish; what looks finished."""


@dataclass(frozen=True, slots=True)
class CalendarFact:
    """The event's calendar in the roster. `listed` is false when the roster knows no such calendar.

    `integrated` null: Cronofy does not say. `profile_*` null: the calendar belongs to no listed profile.
    """

    listed: bool
    deleted: bool
    readonly: bool
    integrated: bool | None
    profile_id: ProfileId | None
    profile_provider: str | None
    profile_connected: bool | None


@dataclass(frozen=True, slots=True)
class RosterFact:
    """The part of the roster that this event's decision may use. `calendar` null: calendars are not listed at all."""

    conferencing: tuple[ConferencingProfile, ...]
    calendar: CalendarFact | None

    def profile(self, profile_id: ProfileId) -> ConferencingProfile | None:
        """The conferencing profile of that id, if listed."""
        return next((p for p in self.conferencing if p.profile_id == profile_id), None)

    @property
    def connected(self) -> tuple[ConferencingProfile, ...]:
        """The connected conferencing profiles, as listed."""
        return tuple(p for p in self.conferencing if p.connected)

    @property
    def disconnected(self) -> tuple[ConferencingProfile, ...]:
        """The disconnected conferencing profiles, as listed."""
        return tuple(p for p in self.conferencing if not p.connected)

    @property
    def integrated(self) -> bool | None:
        """Whether the calendar offers its own video service; null when not known."""
        return self.calendar.integrated if self.calendar else None

    @property
    def own_service(self) -> str | None:
        """The calendar's own video service; null where it offers none, or the calendar's provider is not known."""
        if self.calendar is None or self.calendar.integrated is False:
            return None
        return own_service(self.calendar.profile_provider)


@dataclass(frozen=True, slots=True)
class KnownProfile:
    """A profile as the last roster on record that listed it described it."""

    provider_name: str
    profile_name: str | None


@dataclass(frozen=True, slots=True)
class Notified:
    """Something Cronofy pushed about this event."""

    type: str
    subtype: str | None
    at: datetime


CONFERENCING_FAILING = "conferencing_failing"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A re-upsert that Cronofy refused since the application last wrote the event. Never repeated unchanged.

    `keys` are Cronofy's error keys; `about_profile`: it was the profile that was refused, so another may do.
    """

    profile_id: ProfileId
    keys: tuple[str, ...]
    about_profile: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one calendar event at the moment of decision, `now`.

    `starts_at` and `written_at` are the application's, `read_back` is Cronofy's, `repaired_at` and `repairs` our own.
    `roster` is null where no rule needed it. `previous` describes the asked profile as last listed.
    `open_incidents` names the services whose open incident speaks for events. `not_default` are disconnected profiles
    that cannot be what `default` stands for: since they were first seen disconnected, another event of the account that
    asked `default` got its link.
    """

    now: datetime
    asked: ProfileId
    starts_at: datetime
    written_at: datetime
    body: StoredBody
    read_back: ReadBack
    roster: RosterFact | None = None
    previous: KnownProfile | None = None
    repaired_at: datetime | None = None
    repairs: int = 0
    notified: tuple[Notified, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    open_incidents: tuple[str, ...] = ()
    not_default: tuple[ProfileId, ...] = ()

    @property
    def touched_at(self) -> datetime:
        """When the event was last written, by the application or by our last repair."""
        return max(self.written_at, self.repaired_at) if self.repaired_at else self.written_at

    @property
    def age(self) -> timedelta:
        """How long ago the event was last written."""
        return self.now - self.touched_at

    @property
    def found(self) -> Found | None:
        """The event as the calendar has it, if it was listed."""
        return self.read_back if isinstance(self.read_back, Found) else None

    @property
    def has_link(self) -> bool:
        """Whether the read-back carries a join URL."""
        return self.found is not None and isinstance(self.found.conferencing, Assigned)

    @property
    def is_pending(self) -> bool:
        """Whether the read-back says that the link is still to come."""
        return self.found is not None and isinstance(self.found.conferencing, Pending)

    @property
    def is_absent(self) -> bool:
        """Whether the read-back shows no conferencing at all."""
        return self.found is not None and isinstance(self.found.conferencing, Absent)

    @property
    def failures(self) -> tuple[Notified, ...]:
        """What Cronofy pushed of failures since the event was last written, oldest first.

        One from before our own repair speaks of the profile that was asked for then.
        """
        since = (n for n in self.notified if n.type == CONFERENCING_FAILING and n.at > self.touched_at)
        return tuple(sorted(since, key=lambda n: n.at))

    @property
    def newest_failure(self) -> Notified | None:
        """The last of them: it says how the event fails now."""
        return self.failures[-1] if self.failures else None

    @property
    def only_integrated(self) -> bool:
        """Whether only the calendar's own video service could make the link."""
        if self.asked == INTEGRATED:
            return True
        return self.asked == DEFAULT and self.roster is not None and not self.roster.conferencing

    @property
    def provider(self) -> str | None:
        """The service that should make the link, where that is certain: a connected profile's provider, or the
        calendar's own."""
        if self.roster is None:
            return None
        if self.only_integrated:
            return self.roster.own_service
        if self.asked == DEFAULT:
            providers = {p.provider_name for p in self.roster.connected}
            return providers.pop() if len(providers) == 1 and not self.roster.disconnected else None
        profile = self.roster.profile(self.asked)
        return profile.provider_name if profile and profile.connected else None

    @property
    def suspects(self) -> tuple[ConferencingProfile, ...]:
        """The disconnected profiles one of which may be what `default` stands for: Cronofy does not say which it is."""
        disconnected = self.roster.disconnected if self.roster else ()
        return tuple(p for p in disconnected if p.profile_id not in self.not_default)

    def needs_roster(self) -> bool:
        """Whether any rule after the read itself may need the roster: no link yet, and still to come."""
        return not self.has_link and not isinstance(self.read_back, Unreadable | Unauthorized)
