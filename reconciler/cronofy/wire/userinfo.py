"""A person's profiles and calendars, as userinfo tells them."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed, want_account
from reconciler.cronofy.wire.mending import decode, is_spoilt
from reconciler.domain.ids import AccountId, CalendarId, ProfileId
from reconciler.domain.roster import Calendar, CalendarProfile, ConferencingProfile, Roster


class _Calendar(Struct):
    calendar_id: str
    calendar_readonly: bool | None = None
    calendar_deleted: bool | None = None
    calendar_integrated_conferencing_available: bool | None = None


class _Profile(Struct):
    profile_id: str
    profile_connected: bool | None = None
    provider_name: Raw = Raw()
    profile_name: Raw = Raw()
    profile_relink_url: Raw = Raw()

    @property
    def provider(self) -> str:
        return (_text(self.provider_name) or _NO_NAME)[:LONGEST_NAME]

    @property
    def name(self) -> str | None:
        name = _text(self.profile_name)
        return name[:LONGEST_NAME] if name else name

    @property
    def connected(self) -> bool:
        """As stated; else by the relink address, which only a disconnected profile has."""
        if self.profile_connected is None:
            return bytes(self.profile_relink_url) in _NO_ADDRESS
        return self.profile_connected


class _CalendarProfile(_Profile):
    profile_calendars: list[_Calendar] | None = None


class _Data(Struct):
    profiles: list[_CalendarProfile] | None = None
    conferencing_profiles: list[_Profile] | None = None


class _Userinfo(Struct):
    data: _Data = msgspec.field(name="cronofy.data")
    sub: Raw = Raw()


_USERINFO = msgspec.json.Decoder(_Userinfo)
_TEXT = msgspec.json.Decoder(str)

_NO_NAME = "unknown"
_NO_ADDRESS = frozenset({b"", b"null", b'""'})


def _text(raw: Raw) -> str | None:
    """A text that no decision needs; null where it is none."""
    try:
        return decode(_TEXT, raw)
    except UNDECODABLE:
        return None


LONGEST_ID = 255
"""Characters. Cronofy's have 28; a longer one cannot be told from its beginning, so that it spoils the whole answer."""
LONGEST_NAME = 200
"""Of a name no more is kept."""
LONGEST_URL = 4_096
"""A longer address is none."""


def read_userinfo(body: bytes, account_id: AccountId | None = None) -> Roster:
    """Read a person's profiles and calendars; `account_id` is whose they must be, if it matters.

    All or nothing of what decides: a profile left out, or under another id, would look removed, and a removed profile
    calls for a write. Names and addresses decide nothing: one that cannot be read is none.

    Raises:
        Malformed: something in it that decides has another shape than documented.
        OfAnotherAccount: its `sub` is another account's.
    """
    try:
        userinfo = decode(_USERINFO, body)
    except UNDECODABLE:
        raise Malformed("userinfo has another shape than documented") from None
    if account_id is not None:
        want_account(account_id, _text(userinfo.sub))
    data = userinfo.data
    if any(is_spoilt(name, body) for name in _ids(data)):
        raise Malformed("an id in userinfo cannot be read")
    conferencing = data.conferencing_profiles or ()
    profiles = data.profiles or ()
    if any(len(p.profile_id) > LONGEST_ID for p in (*profiles, *conferencing)):
        raise Malformed(f"userinfo has a profile_id of more than {LONGEST_ID} characters")
    return Roster(
        conferencing=tuple(
            ConferencingProfile(ProfileId(p.profile_id), p.provider, p.name, p.connected) for p in conferencing
        ),
        calendar_profiles=tuple(CalendarProfile(ProfileId(p.profile_id), p.provider, p.connected) for p in profiles),
        calendars=None if data.profiles is None else tuple(_calendars(data.profiles)),
        relink_urls={
            ProfileId(p.profile_id): url
            for p in (*profiles, *conferencing)
            if (url := _text(p.profile_relink_url)) and len(url) <= LONGEST_URL
        },
    )


def _ids(data: _Data) -> Iterable[str]:
    for profile in (*(data.conferencing_profiles or ()), *(data.profiles or ())):
        yield profile.profile_id
        for calendar in getattr(profile, "profile_calendars", None) or ():
            yield calendar.calendar_id


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
