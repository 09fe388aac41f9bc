"""Who is who: accounts, their calendars and their conferencing profiles.

Facts from cronofy-api.md sections 1, 2.6, 4, 5 and 10.4. Plain mutable state, changed by tests, by the control API
and by scenes. What is changed at one instant counts as having always been so at that instant: building a scene in any
order gives the same scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from reconciler.simulator.events import Event
    from reconciler.simulator.world import World

# provider_name -> provider_service (section 5); an open list.
SERVICES = {"google": "gsuite", "exchange": "office365", "live_connect": "outlook_com", "apple": "icloud"}
SECRET_PREFIX = "CRN_"  # noqa: S105 - how real client secrets begin (section 2.6); recognised in order to be refused


def refuse_real_secret(value: str | None) -> None:
    """A value that looks like a real secret has no business here."""
    if value and value.startswith(SECRET_PREFIX):
        raise ValueError("looks like a real Cronofy secret: the simulator takes none")


def relink_url(account: Account, provider_name: str) -> str:
    """Absolute, on the app host of the account's data centre, with the person's address in it (sections 1 and 4)."""
    host = "app" if account.data_center == "us" else f"app-{account.data_center}"
    return f"https://{host}.cronofy.com/v2/relink/{provider_name}?email={quote_plus(account.email)}"


@dataclass(eq=False)
class Calendar:
    """One calendar; deleted ones stay listed with a flag (section 5)."""

    profile: CalendarProfile = field(repr=False)
    calendar_id: str
    name: str = "Work"
    readonly: bool = False
    deleted: bool = False
    # None: available, but userinfo does not say so (older shape, section 4).
    integrated: bool | None = True
    primary: bool = False

    @property
    def account(self) -> Account:
        """Whose it is."""
        return self.profile.account

    @property
    def writable(self) -> bool:
        """Whether anything can be written into it, a join URL included."""
        return self.profile.connected and not self.readonly and not self.deleted


@dataclass(eq=False)
class CalendarProfile:
    """An account's connection to a calendar provider."""

    account: Account = field(repr=False)
    provider_name: str
    profile_id: str
    profile_name: str
    connected: bool = True
    calendars: list[Calendar] = field(default_factory=list)

    def add_calendar(
        self,
        calendar_id: str | None = None,
        name: str = "Work",
        readonly: bool = False,
        deleted: bool = False,
        integrated: bool | None = True,
    ) -> Calendar:
        """Add a calendar; its generated id carries the profile's (section 2.6)."""
        world = self.account.world
        made = calendar_id or f"cal_{self.profile_id.removeprefix('pro_')}_{world.token(12)}"
        calendar = Calendar(self, made, name, readonly, deleted, integrated, primary=not self.calendars)
        world.enter_calendar(calendar)
        self.calendars.append(calendar)
        return calendar

    def remove_calendar(self, calendar_id: str) -> None:
        """Gone from every listing, its events with it."""
        self.calendars = [c for c in self.calendars if c.calendar_id != calendar_id]


@dataclass(eq=False)
class ConferencingProfile:
    """An account's connection to a video provider; its id survives a relink (section 4)."""

    provider_name: str
    profile_id: str
    profile_name: str
    connected: bool = True


@dataclass(eq=False)
class Account:
    """One person's Cronofy account."""

    world: World = field(repr=False)
    account_id: str
    name: str
    email: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_expires_at: datetime
    data_center: str = "us"
    scope: str = "read_write"
    revoked: bool = False
    licence: bool = True
    default_profile_id: str | None = None
    zoneinfo: str = "Europe/London"
    profiles: list[CalendarProfile] = field(default_factory=list)
    conferencing_profiles: list[ConferencingProfile] = field(default_factory=list)
    events: list[Event] = field(default_factory=list, repr=False)

    def add_calendar_profile(
        self,
        provider_name: str = "google",
        profile_id: str | None = None,
        profile_name: str | None = None,
        connected: bool = True,
    ) -> CalendarProfile:
        """Connect a calendar provider."""
        made = profile_id or f"pro_{self.world.token(10)}"
        profile = CalendarProfile(self, provider_name, made, profile_name or self.email, connected)
        self.profiles.append(profile)
        return profile

    def add_conferencing_profile(
        self,
        provider_name: str = "zoom",
        profile_id: str | None = None,
        profile_name: str | None = None,
        connected: bool = True,
    ) -> ConferencingProfile:
        """Authorise a video provider; the first one is the default unless the person chose another (section 4)."""
        made = profile_id or f"pro_{self.world.token(10)}"
        profile = ConferencingProfile(provider_name, made, profile_name or self.email, connected)
        self.conferencing_profiles.append(profile)
        return profile

    def disconnect(self, profile_id: str) -> None:
        """Its credentials are refused from now on; calendar and conferencing profiles alike."""
        self._profile(profile_id).connected = False

    def reconnect(self, profile_id: str) -> None:
        """The person has followed the relink URL; the same profile works again (section 4)."""
        self._profile(profile_id).connected = True

    def remove_conferencing_profile(self, profile_id: str) -> None:
        """Gone from userinfo; authorised anew it would have another id (section 4)."""
        kept = [p for p in self.conferencing_profiles if p.profile_id != profile_id]
        if len(kept) == len(self.conferencing_profiles):
            raise KeyError(profile_id)
        self.conferencing_profiles = kept

    def conferencing_profile(self, profile_id: str | None) -> ConferencingProfile | None:
        """The conferencing profile of that id, if it is still there."""
        return next((p for p in self.conferencing_profiles if p.profile_id == profile_id), None)

    def default_profile(self) -> ConferencingProfile | None:
        """What `default` means for conferencing: the chosen profile, else the first."""
        chosen = self.conferencing_profile(self.default_profile_id)
        return chosen or next(iter(self.conferencing_profiles), None)

    def calendars(self) -> Iterator[Calendar]:
        """Every listed calendar, profile by profile."""
        for profile in self.profiles:
            yield from profile.calendars

    def calendar(self, calendar_id: str) -> Calendar | None:
        """The calendar of that id, if it is this account's and still listed."""
        return next((c for c in self.calendars() if c.calendar_id == calendar_id), None)

    def may(self, permission: str) -> bool:
        """Whether the grant covers it: `read_write` is the umbrella (section 2.4)."""
        return not {"read_write", permission}.isdisjoint(self.scope.split())

    def revoke(self) -> None:
        """The whole grant ends: tokens answer 401, a refresh `invalid_grant` (section 2)."""
        self.revoked = True

    def expire_token(self) -> None:
        """The access token runs out now; a refresh still works."""
        self.world.tokens.expire(self)

    def authorize(self) -> None:
        """The person has authorised again: fresh tokens of both kinds."""
        self.revoked = False
        self.world.tokens.grant(self)

    def _profile(self, profile_id: str) -> CalendarProfile | ConferencingProfile:
        profiles: list[CalendarProfile | ConferencingProfile] = [*self.profiles, *self.conferencing_profiles]
        for profile in profiles:
            if profile.profile_id == profile_id:
                return profile
        raise KeyError(profile_id)
