"""A person's connections to calendars and video providers, all at one moment, as userinfo lists them."""

from dataclasses import dataclass

from reconciler.domain.ids import CalendarId, ProfileId


@dataclass(frozen=True, slots=True)
class ConferencingProfile:
    """A connection to a video provider. Its id survives a relink; one removed and authorised anew gets another id."""

    profile_id: ProfileId
    provider_name: str
    profile_name: str | None
    connected: bool


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


@dataclass(frozen=True, slots=True)
class Roster:
    """Everything userinfo says that a decision may use, and the relink addresses beside it.

    `calendars` is null where userinfo lists no calendar profiles at all: nothing can be said about calendars then.
    """

    conferencing: tuple[ConferencingProfile, ...]
    calendar_profiles: tuple[CalendarProfile, ...]
    calendars: tuple[Calendar, ...] | None
    relink_urls: dict[ProfileId, str]

    def calendar(self, calendar_id: CalendarId) -> Calendar | None:
        """The calendar of that id, if listed."""
        return next((c for c in self.calendars or () if c.calendar_id == calendar_id), None)

    def calendar_profile(self, calendar_id: CalendarId) -> CalendarProfile | None:
        """The profile a calendar belongs to.

        A disconnected profile may list no calendars; a calendar's id begins with its profile's (`cal_{profile}_…`).
        """
        listed = self.calendar(calendar_id)
        if listed is not None:
            return next((p for p in self.calendar_profiles if p.profile_id == listed.profile_id), None)
        holders = {c.profile_id for c in self.calendars or ()}
        return next(
            (
                p
                for p in self.calendar_profiles
                if p.profile_id not in holders and calendar_id.startswith(f"cal_{p.profile_id.removeprefix('pro_')}_")
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
