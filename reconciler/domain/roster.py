"""A person's connections to calendars and video providers, all at one moment, as userinfo lists them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from reconciler.domain.ids import CalendarId, ProfileId
from reconciler.domain.shortlist import ConferencingProfile, Wanted, shortlist

__all__ = ["Calendar", "CalendarProfile", "ConferencingProfile", "LostRosters", "Roster"]

MOST_ON_RECORD = 500
"""Profiles of a kind that are put on record; beyond these only such as an event asks for."""


@dataclass(frozen=True, slots=True)
class CalendarProfile:
    """A connection to a calendar service."""

    profile_id: ProfileId
    provider_name: str
    connected: bool


@dataclass(frozen=True, slots=True)
class Calendar:
    """One calendar of a profile. `integrated` is null where Cronofy does not say: unknown, not false."""

    calendar_id: CalendarId
    profile_id: ProfileId
    readonly: bool
    deleted: bool
    integrated: bool | None


WITHHELD = "the relink address is not at Cronofy's own host; it is not handed on"


@dataclass(frozen=True, slots=True)
class Roster:
    """Everything userinfo says that a decision may use, and the relink addresses beside it.

    `calendars` is null where userinfo lists no calendar profiles at all: nothing can be said about calendars then.
    """

    conferencing: tuple[ConferencingProfile, ...]
    calendar_profiles: tuple[CalendarProfile, ...]
    calendars: tuple[Calendar, ...] | None
    relink_urls: dict[ProfileId, str]
    withheld: frozenset[ProfileId] = frozenset()
    """Profiles whose relink address is not at their data centre: it is not for a person to follow."""
    _by_id: Mapping[CalendarId, Calendar] = field(init=False, repr=False, compare=False)
    _holders: Collection[ProfileId] = field(init=False, repr=False, compare=False)
    _shortlists: dict[Wanted, tuple[ConferencingProfile, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        calendars = self.calendars or ()
        object.__setattr__(self, "_by_id", {c.calendar_id: c for c in reversed(calendars)})
        object.__setattr__(self, "_holders", {c.profile_id for c in calendars})
        object.__setattr__(self, "_shortlists", {})

    def shortlist(self, wanted: Wanted) -> tuple[ConferencingProfile, ...]:
        """The conferencing profiles that a decision can look at: all of a usual roster, and of one without end the few
        that can matter, for each event keeps them as evidence."""
        if wanted not in self._shortlists:
            self._shortlists[wanted] = shortlist(self.conferencing, wanted)
        return self._shortlists[wanted]

    def on_record(self, asked: Collection[ProfileId]) -> "Roster":
        """What is kept for later runs: all of a usual roster; of one without end the first, and those asked for."""
        if max(len(self.conferencing), len(self.calendar_profiles)) <= MOST_ON_RECORD:
            return self
        listed = enumerate(self.conferencing)
        return replace(
            self,
            conferencing=tuple(p for place, p in listed if place < MOST_ON_RECORD or p.profile_id in asked),
            calendar_profiles=self.calendar_profiles[:MOST_ON_RECORD],
        )

    def calendar(self, calendar_id: CalendarId) -> Calendar | None:
        """The calendar of that id, if listed."""
        return self._by_id.get(calendar_id)

    def calendar_profile(self, calendar_id: CalendarId) -> CalendarProfile | None:
        """The profile a calendar belongs to.

        A disconnected profile may list no calendars; a calendar's id begins with its profile's (`cal_{profile}_…`).
        """
        listed = self.calendar(calendar_id)
        if listed is not None:
            return next((p for p in self.calendar_profiles if p.profile_id == listed.profile_id), None)
        return next(
            (
                p
                for p in self.calendar_profiles
                if p.profile_id not in self._holders
                and calendar_id.startswith(f"cal_{p.profile_id.removeprefix('pro_')}_")
            ),
            None,
        )


FEWEST_LOST = 5
"""Below this many accounts, lost profiles are those accounts' own affair."""


@dataclass(frozen=True, slots=True)
class LostRosters:
    """Of the accounts whose roster could be compared with one on record: how many, and how many lost every profile.

    `to_come`: the accounts of the run that are not through yet.
    """

    compared: int = 0
    lost: int = 0
    to_come: int = 0

    @property
    def may_be_many(self) -> bool:
        """Whether so many may yet have lost everything that it says more about the listing than about the accounts."""
        return self.lost + self.to_come >= FEWEST_LOST

    def too_many(self, share: float) -> bool:
        """Whether more than that share of those compared so far lost everything, and that may yet be many."""
        return self.may_be_many and self.lost > share * self.compared
