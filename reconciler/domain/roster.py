"""A person's connections to calendars and video providers, all at one moment, as userinfo lists them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from reconciler.domain.ids import CalendarId, ProfileId
from reconciler.domain.shortlist import ConferencingProfile, Wanted, shortlist

__all__ = ["Calendar", "CalendarProfile", "ConferencingProfile", "Losses", "Roster"]

MOST_ON_RECORD = 500
"""Profiles of a kind that are put on record; beyond these only such as an event asks for."""


@dataclass(frozen=True, slots=True)
class CalendarProfile:
    """A connection to a calendar service."""

    profile_id: ProfileId
    provider_name: str
    connected: bool


_OWN_SERVICE = {"google": "google_meet", "apple": None, "cronofy": None, "unknown": None}
_OF_OTHERS = "ms_teams_for_business"


def own_service(calendar_provider: str | None) -> str | None:
    """The video service that comes with a calendar service (as in `sql/fragments/due.sql`); null where none does."""
    return _OWN_SERVICE.get(calendar_provider, _OF_OTHERS) if calendar_provider else None


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
    _shortlists: dict[Wanted, tuple[ConferencingProfile, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        calendars = self.calendars or ()
        object.__setattr__(self, "_by_id", {c.calendar_id: c for c in reversed(calendars)})
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

        A disconnected profile may list no calendars, or not all of them; a calendar's id begins with its profile's
        (`cal_{profile}_…`). Where none fits, it is a lone disconnected one that lists nothing.
        """
        profiles, listed = self.calendar_profiles, self.calendar(calendar_id)
        if listed is not None:
            return next((p for p in profiles if p.profile_id == listed.profile_id), None)
        named = (p for p in profiles if calendar_id.startswith(f"cal_{p.profile_id.removeprefix('pro_')}_"))
        lone = profiles[0] if len(profiles) == 1 and not profiles[0].connected and not self.calendars else None
        return next(named, lone)


FEWEST_LOST = 5
"""Below this many accounts, what is lost is those accounts' own affair."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Of the accounts of a run that could be compared: how many, and how many lost the same thing since last time.

    What is lost is every conferencing profile of the roster, or access to the account. `to_come`: the accounts of the
    run that are not through yet.
    """

    compared: int = 0
    lost: int = 0
    to_come: int = 0

    @property
    def may_be_many(self) -> bool:
        """Whether so many may yet have lost it that this says more about what was answered than about the accounts."""
        return self.lost + self.to_come >= FEWEST_LOST

    def too_many(self, share: float) -> bool:
        """Whether more than that share of those compared so far lost it, and that may yet be many."""
        return self.may_be_many and self.lost > share * self.compared
