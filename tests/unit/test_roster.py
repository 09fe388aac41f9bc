"""A person's connections: which profile and which calendar are meant."""

import pytest

from reconciler.domain.evidence import RosterFact
from reconciler.domain.ids import CalendarId, ProfileId
from reconciler.domain.roster import Calendar, CalendarProfile, Roster
from tests.builders import CALENDAR, a_calendar, a_profile, a_roster, some_profiles

GOOGLE = CalendarProfile(ProfileId("pro_abc"), "google", connected=True)
GONE = CalendarProfile(ProfileId("pro_xyz"), "outlook_com", connected=False)


def a_listed(calendar_id: str, profile_id: str = "pro_abc") -> Calendar:
    return Calendar(CalendarId(calendar_id), ProfileId(profile_id), readonly=False, deleted=False, integrated=None)


def holding(*calendars: Calendar, profiles: tuple[CalendarProfile, ...] = (GOOGLE, GONE)) -> Roster:
    return Roster((), profiles, calendars, {})


def test_a_calendar_is_found_by_its_id() -> None:
    one, other = a_listed("cal_abc_1"), a_listed("cal_abc_2")
    roster = holding(one, other)
    assert roster.calendar(CalendarId("cal_abc_2")) is other
    assert roster.calendar(CalendarId("cal_abc_3")) is None


def test_where_calendars_are_not_listed_none_is_found() -> None:
    roster = a_roster(calendars=None)
    assert roster.calendar(CALENDAR) is None


def test_a_listed_calendar_belongs_to_the_profile_it_is_listed_under() -> None:
    roster = holding(a_listed("cal_xyz_1", "pro_abc"))
    assert roster.calendar_profile(CalendarId("cal_xyz_1")) is GOOGLE


def test_a_calendar_listed_under_an_unknown_profile_belongs_to_none() -> None:
    roster = holding(a_listed("cal_xyz_1", "pro_other"))
    assert roster.calendar_profile(CalendarId("cal_xyz_1")) is None


@pytest.mark.parametrize(
    "calendar_id, profile",
    [("cal_xyz_1", GONE), ("cal_xy_1", None), ("cal_xyzz_1", None), ("xcal_xyz_1", None), ("cal_abc_9", None)],
    ids=["its own", "a shorter id", "a longer id", "elsewhere in the id", "of a profile that lists others"],
)
def test_an_unlisted_calendar_belongs_to_the_profile_in_its_id_if_that_lists_none(
    calendar_id: str, profile: CalendarProfile | None
) -> None:
    assert holding(a_listed("cal_abc_1")).calendar_profile(CalendarId(calendar_id)) is profile


def test_a_calendar_is_matched_with_its_profile_even_where_no_calendars_are_listed() -> None:
    roster = Roster((), (GOOGLE, GONE), None, {})
    assert roster.calendar_profile(CalendarId("cal_xyz_1")) is GONE


def test_connected_profiles_keep_the_order_they_are_listed_in() -> None:
    one, two, three = a_profile("pro_3"), a_profile("pro_1", connected=False), a_profile("pro_2")
    fact = some_profiles(one, two, three)
    assert fact.connected == (one, three)
    assert fact.profile(ProfileId("pro_1")) is two
    assert fact.profile(ProfileId("pro_9")) is None


@pytest.mark.parametrize("offered", [True, False, None])
def test_whether_the_calendar_has_a_service_of_its_own_is_said_or_not_known(offered: bool | None) -> None:
    assert some_profiles(calendar=a_calendar(integrated=offered)).integrated is offered
    assert RosterFact((), None).integrated is None
