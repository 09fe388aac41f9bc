"""Which profile a calendar belongs to; when losses are the accounts' own affair, and when they say more than that."""

import pytest

from reconciler.domain.ids import CalendarId, ProfileId
from reconciler.domain.roster import Calendar, CalendarProfile, Losses, Roster


def a_calendar(calendar_id: str, profile_id: str) -> Calendar:
    return Calendar(CalendarId(calendar_id), ProfileId(profile_id), False, False, None)


def a_profile(profile_id: str, *, connected: bool = True) -> CalendarProfile:
    return CalendarProfile(ProfileId(profile_id), "google", connected)


UP, DOWN, OTHER = a_profile("pro_1"), a_profile("pro_1", connected=False), a_profile("pro_2")
OF_ONE, OF_OTHER = a_calendar("cal_1_b", "pro_1"), a_calendar("cal_2_a", "pro_2")


@pytest.mark.parametrize(
    "calendar_id, profiles, calendars, belongs_to",
    [
        ("cal_1_b", (DOWN, OTHER), (OF_ONE, OF_OTHER), DOWN),
        ("cal_1_a", (DOWN, OTHER), (OF_OTHER,), DOWN),
        ("cal_1_a", (DOWN, OTHER), (OF_ONE, OF_OTHER), DOWN),
        ("cal_1_a", (UP, OTHER), (OF_ONE, OF_OTHER), UP),
        ("cal_3_a", (DOWN, OTHER), (OF_OTHER,), None),
        ("cal_3_a", (DOWN,), (), DOWN),
        ("cal_3_a", (DOWN,), (OF_ONE,), None),
        ("cal_3_a", (UP,), (), None),
        ("cal_3_a", (), (), None),
    ],
    ids=[
        "listed",
        "unlisted, named after a disconnected profile that lists none",
        "unlisted, named after a disconnected profile that lists others",
        "unlisted, named after a connected profile",
        "unlisted, named after none, of several",
        "unlisted, and all there is is disconnected",
        "unlisted, named after none, and the only profile lists others",
        "unlisted, and the only profile is connected",
        "no profile",
    ],
)
def test_a_calendar_that_is_not_listed_belongs_to_the_profile_that_its_id_names(
    calendar_id: str,
    profiles: tuple[CalendarProfile, ...],
    calendars: tuple[Calendar, ...],
    belongs_to: CalendarProfile | None,
) -> None:
    roster = Roster((), profiles, calendars, {})
    assert roster.calendar_profile(CalendarId(calendar_id)) == belongs_to


@pytest.mark.parametrize(
    "rosters, too_many",
    [
        (Losses(), False),
        (Losses(compared=4, lost=4), False),
        (Losses(compared=5, lost=5), True),
        (Losses(compared=20, lost=5), False),
        (Losses(compared=19, lost=5), True),
        (Losses(compared=1, lost=1, to_come=3), False),
        (Losses(compared=1, lost=1, to_come=4), True),
        (Losses(compared=4, lost=1, to_come=90), False),
    ],
)
def test_too_many_have_lost_everything_where_it_is_over_the_share_and_may_be_many(
    rosters: Losses, too_many: bool
) -> None:
    assert rosters.too_many(0.25) is too_many


def test_where_everything_may_be_repaired_nothing_is_too_many() -> None:
    assert not Losses(compared=50, lost=50).too_many(1.0)
