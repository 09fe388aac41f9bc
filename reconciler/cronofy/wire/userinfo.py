"""A person's profiles and calendars, as userinfo tells them."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed, storable
from reconciler.domain.ids import CalendarId, ProfileId
from reconciler.domain.roster import Calendar, CalendarProfile, ConferencingProfile, Roster


class _Calendar(Struct):
    calendar_id: str
    calendar_readonly: bool | None = None
    calendar_deleted: bool | None = None
    calendar_integrated_conferencing_available: bool | None = None


class _Profile(Struct):
    profile_id: str
    provider_name: str | None = None
    profile_name: str | None = None
    profile_connected: bool | None = None
    profile_relink_url: str | None = None

    @property
    def connected(self) -> bool:
        """As stated; else by the relink address, which only a disconnected profile has."""
        return not self.profile_relink_url if self.profile_connected is None else self.profile_connected


class _CalendarProfile(_Profile):
    profile_calendars: list[_Calendar] | None = None


class _Data(Struct):
    profiles: list[_CalendarProfile] | None = None
    conferencing_profiles: list[_Profile] | None = None


class _Userinfo(Struct):
    data: _Data = msgspec.field(name="cronofy.data")


_USERINFO = msgspec.json.Decoder(_Userinfo)

_NO_NAME = "unknown"


def read_userinfo(body: bytes) -> Roster:
    """Read a person's profiles and calendars.

    All or nothing: a profile left out would look removed, and a removed profile calls for a write.

    Raises:
        Malformed: something in it has another shape than documented.
    """
    try:
        data = _USERINFO.decode(storable(body)).data
    except UNDECODABLE:
        raise Malformed("userinfo has another shape than documented") from None
    conferencing = data.conferencing_profiles or ()
    profiles = data.profiles or ()
    return Roster(
        conferencing=tuple(
            ConferencingProfile(ProfileId(p.profile_id), p.provider_name or _NO_NAME, p.profile_name, p.connected)
            for p in conferencing
        ),
        calendar_profiles=tuple(
            CalendarProfile(ProfileId(p.profile_id), p.provider_name or _NO_NAME, p.connected) for p in profiles
        ),
        calendars=None if data.profiles is None else tuple(_calendars(data.profiles)),
        relink_urls={
            ProfileId(p.profile_id): p.profile_relink_url for p in (*profiles, *conferencing) if p.profile_relink_url
        },
    )


def _calendars(profiles: Sequence[_CalendarProfile]) -> Iterable[Calendar]:
    for profile in profiles:
        for c in profile.profile_calendars or ():
            yield Calendar(
                CalendarId(c.calendar_id),
                ProfileId(profile.profile_id),
                bool(c.calendar_readonly),
                bool(c.calendar_deleted),
                c.calendar_integrated_conferencing_available,
            )
