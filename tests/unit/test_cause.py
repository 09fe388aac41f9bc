"""The decision table: which cause an event shows, and which of two that fit."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from functools import cache
from itertools import combinations, product

import pytest
from hypothesis import given

from reconciler.domain.cause import RULES, SETTLED, Cause, cause_of, classify
from reconciler.domain.event import Absent
from reconciler.domain.evidence import (
    Evidence,
    Found,
    Notified,
    NotListed,
    ReadBack,
    RosterFact,
    Unauthorized,
    Unreadable,
)
from reconciler.domain.ids import ProfileId
from reconciler.domain.policy import Policy
from reconciler.domain.roster import ConferencingProfile
from reconciler.domain.times import AllDay, Instant
from tests import strategies
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    a_body,
    a_calendar,
    a_profile,
    found,
    linked,
    pushed,
    some_evidence,
    some_profiles,
)

ORDER = (
    Cause.UNREADABLE,
    Cause.ACCOUNT_UNAUTHORIZED,
    Cause.EVENT_DELETED,
    Cause.EVENT_PAST,
    Cause.ASSIGNED,
    Cause.EVENT_MISSING,
    Cause.CALENDAR_UNAVAILABLE,
    Cause.CALENDAR_DISCONNECTED,
    Cause.SETTLING,
    Cause.PROVIDER_RETIRED,
    Cause.PROFILE_REMOVED,
    Cause.PROFILE_DISCONNECTED,
    Cause.INTEGRATED_UNAVAILABLE,
    Cause.MISSING_MEETING_URL,
    Cause.PROVIDER_OUTAGE,
    Cause.PROFILE_DISCONNECTED,
    Cause.MISSING_MEETING_URL,
    Cause.CONFERENCING_ABSENT,
    Cause.UNEXPLAINED,
)
"""The rows as the public contract lists them: the first that fits wins."""

SECOND = timedelta(seconds=1)
UP, DOWN = a_profile(), a_profile(connected=False)
NO_PROFILES = some_profiles()
PAST_EVENT = found(start=Instant(NOW - HOUR))


def cause(evidence: Evidence, policy: Policy = POLICY) -> Cause:
    return classify(evidence, policy).cause


# ---------------------------------------------------------------- every row


@pytest.mark.parametrize(
    "evidence, expected",
    [
        pytest.param(
            some_evidence(read=Unreadable("timeout", "no answer"), roster=None), Cause.UNREADABLE, id="unreadable"
        ),
        pytest.param(
            some_evidence(read=Unauthorized("invalid_grant"), roster=None),
            Cause.ACCOUNT_UNAUTHORIZED,
            id="unauthorized",
        ),
        pytest.param(some_evidence(read=found(deleted=True)), Cause.EVENT_DELETED, id="deleted"),
        pytest.param(some_evidence(read=found(cancelled=True)), Cause.EVENT_DELETED, id="cancelled"),
        pytest.param(some_evidence(read=PAST_EVENT), Cause.EVENT_PAST, id="started by the calendar's time"),
        pytest.param(
            some_evidence(read=NotListed(1), starts_in=-SECOND), Cause.EVENT_PAST, id="started, and not listed"
        ),
        pytest.param(some_evidence(read=linked(), roster=None), Cause.ASSIGNED, id="linked"),
        pytest.param(some_evidence(read=linked(None), asked="default"), Cause.ASSIGNED, id="linked by nobody we know"),
        pytest.param(some_evidence(read=NotListed(2)), Cause.EVENT_MISSING, id="missing twice"),
        pytest.param(some_evidence(read=NotListed(7)), Cause.EVENT_MISSING, id="missing for long"),
        pytest.param(some_evidence(read=NotListed(1)), Cause.UNEXPLAINED, id="missing once, past grace"),
        pytest.param(
            some_evidence(read=NotListed(1), written_ago=MINUTE), Cause.SETTLING, id="missing once, just written"
        ),
        pytest.param(
            some_evidence(roster=some_profiles(UP, calendar=a_calendar(deleted=True))),
            Cause.CALENDAR_UNAVAILABLE,
            id="calendar deleted",
        ),
        pytest.param(
            some_evidence(roster=some_profiles(UP, calendar=a_calendar(readonly=True))),
            Cause.CALENDAR_UNAVAILABLE,
            id="calendar read-only",
        ),
        pytest.param(
            some_evidence(roster=some_profiles(UP, calendar=a_calendar(listed=False))),
            Cause.CALENDAR_UNAVAILABLE,
            id="calendar no longer listed",
        ),
        pytest.param(
            some_evidence(roster=some_profiles(UP, calendar=a_calendar(listed=False, connected=None))),
            Cause.CALENDAR_UNAVAILABLE,
            id="calendar and its profile no longer listed",
        ),
        pytest.param(
            some_evidence(roster=some_profiles(UP, calendar=a_calendar(listed=False, connected=False))),
            Cause.CALENDAR_DISCONNECTED,
            id="a disconnected profile lists no calendars",
        ),
        pytest.param(
            some_evidence(roster=some_profiles(UP, calendar=a_calendar(connected=False))),
            Cause.CALENDAR_DISCONNECTED,
            id="calendar's profile disconnected",
        ),
        pytest.param(
            some_evidence(roster=RosterFact((UP,), None)), Cause.UNEXPLAINED, id="calendars not listed at all"
        ),
        pytest.param(some_evidence(written_ago=MINUTE), Cause.SETTLING, id="just written"),
        pytest.param(some_evidence(written_ago=-HOUR), Cause.SETTLING, id="written in the future"),
        pytest.param(some_evidence(pending=False, written_ago=MINUTE), Cause.SETTLING, id="absent, just written"),
        pytest.param(some_evidence(asked="8x8", roster=NO_PROFILES), Cause.PROVIDER_RETIRED, id="asks for 8x8"),
        pytest.param(some_evidence(roster=NO_PROFILES), Cause.PROFILE_REMOVED, id="profile no longer listed"),
        pytest.param(
            some_evidence(pending=False, roster=NO_PROFILES), Cause.PROFILE_REMOVED, id="profile gone, nothing shown"
        ),
        pytest.param(
            some_evidence(notified=[pushed("profile_missing")]), Cause.PROFILE_REMOVED, id="profile_missing pushed"
        ),
        pytest.param(
            some_evidence(notified=[pushed("profile_missing")], roster=None),
            Cause.PROFILE_REMOVED,
            id="profile_missing pushed, no roster",
        ),
        pytest.param(
            some_evidence(asked="default", notified=[pushed("profile_missing")]),
            Cause.PROFILE_REMOVED,
            id="profile_missing pushed for default: it stood for a profile",
        ),
        pytest.param(
            some_evidence(asked="zoom"), Cause.UNEXPLAINED, id="asks for a word that is neither Cronofy's nor a profile"
        ),
        pytest.param(some_evidence(roster=some_profiles(DOWN)), Cause.PROFILE_DISCONNECTED, id="profile disconnected"),
        pytest.param(
            some_evidence(roster=some_profiles(DOWN, a_profile("pro_2"))),
            Cause.PROFILE_DISCONNECTED,
            id="profile disconnected, another is not",
        ),
        pytest.param(
            some_evidence(asked="pro_2", roster=some_profiles(DOWN, a_profile("pro_2"))),
            Cause.UNEXPLAINED,
            id="another profile disconnected",
        ),
        pytest.param(
            some_evidence(asked="integrated", roster=some_profiles(UP, calendar=a_calendar(integrated=False))),
            Cause.INTEGRATED_UNAVAILABLE,
            id="integrated asked, not offered",
        ),
        pytest.param(
            some_evidence(asked="integrated", roster=some_profiles(DOWN, calendar=a_calendar(integrated=False))),
            Cause.INTEGRATED_UNAVAILABLE,
            id="integrated asked, not offered, a profile disconnected",
        ),
        pytest.param(
            some_evidence(asked="integrated", roster=some_profiles(UP, calendar=a_calendar(integrated=True))),
            Cause.MISSING_MEETING_URL,
            id="integrated asked and offered",
        ),
        pytest.param(
            some_evidence(asked="integrated", roster=some_profiles(UP, calendar=a_calendar(integrated=None))),
            Cause.MISSING_MEETING_URL,
            id="integrated asked, not known whether offered",
        ),
        pytest.param(
            some_evidence(asked="integrated", roster=None), Cause.MISSING_MEETING_URL, id="integrated asked, no roster"
        ),
        pytest.param(
            some_evidence(notified=[pushed("missing_meeting_url")]),
            Cause.MISSING_MEETING_URL,
            id="missing_meeting_url pushed",
        ),
        pytest.param(some_evidence(open_incidents=["zoom"]), Cause.PROVIDER_OUTAGE, id="incident of its provider"),
        pytest.param(
            some_evidence(open_incidents=["google_meet_api"]), Cause.UNEXPLAINED, id="incident of another provider"
        ),
        pytest.param(some_evidence(notified=[pushed(None)]), Cause.PROVIDER_OUTAGE, id="failure without subtype"),
        pytest.param(
            some_evidence(asked="integrated", open_incidents=["google_meet"]),
            Cause.PROVIDER_OUTAGE,
            id="incident of the calendar's own service",
        ),
        pytest.param(
            some_evidence(asked="default", roster=NO_PROFILES, open_incidents=["google_meet"]),
            Cause.PROVIDER_OUTAGE,
            id="incident of the calendar's own service, which default must be",
        ),
        pytest.param(
            some_evidence(asked="integrated", open_incidents=["google_meet_api", "ms_teams_for_business"]),
            Cause.MISSING_MEETING_URL,
            id="incident of another calendar's service",
        ),
        pytest.param(
            some_evidence(asked="default", open_incidents=["google_meet"]),
            Cause.UNEXPLAINED,
            id="incident of the calendar's own service, where default is a profile",
        ),
        pytest.param(
            some_evidence(asked="integrated", notified=[pushed(None)]),
            Cause.PROVIDER_OUTAGE,
            id="integrated asked, failure without subtype",
        ),
        pytest.param(
            some_evidence(notified=[pushed(None, type_="change")]), Cause.UNEXPLAINED, id="another notification"
        ),
        pytest.param(
            some_evidence(notified=[pushed("tomorrow's")]), Cause.UNEXPLAINED, id="failure of an unknown subtype"
        ),
        pytest.param(
            some_evidence(pending=False, open_incidents=["zoom"]), Cause.PROVIDER_OUTAGE, id="absent during an outage"
        ),
        pytest.param(some_evidence(pending=False), Cause.CONFERENCING_ABSENT, id="nothing shown"),
        pytest.param(some_evidence(), Cause.UNEXPLAINED, id="pending, all in order"),
        pytest.param(some_evidence(roster=None), Cause.UNEXPLAINED, id="pending, no roster"),
    ],
)
def test_an_event_shows_one_cause(evidence: Evidence, expected: Cause) -> None:
    assert cause(evidence) is expected


@pytest.mark.parametrize(
    "roster, expected",
    [
        pytest.param(NO_PROFILES, Cause.MISSING_MEETING_URL, id="no profile, integrated not known"),
        pytest.param(
            some_profiles(calendar=a_calendar(integrated=True)),
            Cause.MISSING_MEETING_URL,
            id="no profile, integrated offered",
        ),
        pytest.param(
            some_profiles(calendar=a_calendar(integrated=False)),
            Cause.INTEGRATED_UNAVAILABLE,
            id="no profile, integrated not offered",
        ),
        pytest.param(some_profiles(UP), Cause.UNEXPLAINED, id="one profile"),
        pytest.param(
            some_profiles(UP, calendar=a_calendar(integrated=False)), Cause.UNEXPLAINED, id="one, none integrated"
        ),
        pytest.param(some_profiles(UP, a_profile("pro_2")), Cause.UNEXPLAINED, id="several profiles"),
        pytest.param(
            some_profiles(DOWN, a_profile("pro_2")), Cause.PROFILE_DISCONNECTED, id="several profiles, one disconnected"
        ),
        pytest.param(
            some_profiles(a_profile("pro_2"), DOWN, calendar=a_calendar(integrated=True)),
            Cause.PROFILE_DISCONNECTED,
            id="several profiles, the last disconnected, integrated offered",
        ),
        pytest.param(some_profiles(DOWN), Cause.PROFILE_DISCONNECTED, id="one, disconnected"),
        pytest.param(
            some_profiles(DOWN, a_profile("pro_2", connected=False), calendar=a_calendar(integrated=True)),
            Cause.PROFILE_DISCONNECTED,
            id="all disconnected",
        ),
        pytest.param(None, Cause.UNEXPLAINED, id="no roster"),
    ],
)
def test_default_depends_on_what_the_person_has(roster: RosterFact | None, expected: Cause) -> None:
    assert cause(some_evidence(asked="default", roster=roster)) is expected


@pytest.mark.parametrize(
    "profiles, down",
    [
        pytest.param((UP,), True, id="the only profile is of that provider"),
        pytest.param((UP, a_profile("pro_2")), True, id="all are of that provider"),
        pytest.param((UP, a_profile("pro_2", "google_meet_api")), False, id="another provider might serve it"),
        pytest.param((UP, a_profile("pro_2", "zoom", connected=False)), False, id="one is disconnected"),
    ],
)
def test_an_outage_touches_default_only_where_no_other_provider_can_be_meant(
    profiles: tuple[ConferencingProfile, ...], down: bool
) -> None:
    evidence = some_evidence(asked="default", roster=some_profiles(*profiles), open_incidents=["zoom"])
    assert (cause(evidence) is Cause.PROVIDER_OUTAGE) is down


def test_an_outage_explains_nothing_where_the_profile_is_disconnected() -> None:
    evidence = some_evidence(roster=some_profiles(DOWN), open_incidents=["zoom"])
    assert cause(evidence) is Cause.PROFILE_DISCONNECTED
    assert evidence.provider is None


# ---------------------------------------------------------------- edges of time


@pytest.mark.parametrize(
    "age, expected",
    [
        (POLICY.grace - timedelta(microseconds=1), Cause.SETTLING),
        (POLICY.grace, Cause.UNEXPLAINED),
        (POLICY.grace + timedelta(microseconds=1), Cause.UNEXPLAINED),
    ],
    ids=["just within", "exactly reached", "just past"],
)
def test_grace_ends_at_the_moment_it_is_reached(age: timedelta, expected: Cause) -> None:
    assert cause(some_evidence(written_ago=age)) is expected


def test_grace_is_the_policys() -> None:
    assert cause(some_evidence(written_ago=HOUR), Policy(grace=HOUR + SECOND)) is Cause.SETTLING
    assert cause(some_evidence(written_ago=HOUR), Policy(grace=HOUR)) is Cause.UNEXPLAINED


@pytest.mark.parametrize(
    "written, repaired, expected",
    [
        (DAY, MINUTE, Cause.SETTLING),
        (DAY, HOUR, Cause.UNEXPLAINED),
        (MINUTE, DAY, Cause.SETTLING),
        (HOUR, DAY, Cause.UNEXPLAINED),
    ],
    ids=["repaired just now", "repaired long ago", "written just now", "written long ago"],
)
def test_grace_counts_from_the_later_of_write_and_repair(
    written: timedelta, repaired: timedelta, expected: Cause
) -> None:
    assert cause(some_evidence(written_ago=written, repaired_ago=repaired)) is expected


@pytest.mark.parametrize(
    "starts_in, past",
    [(-SECOND, True), (timedelta(), True), (timedelta(microseconds=1), False)],
    ids=["a second ago", "exactly now", "just ahead"],
)
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_an_event_is_past_from_the_moment_it_starts(starts_in: timedelta, past: bool, listed: bool) -> None:
    read: ReadBack = found(start=Instant(NOW + starts_in)) if listed else NotListed(1)
    assert (cause(some_evidence(read=read, starts_in=starts_in)) is Cause.EVENT_PAST) is past


def test_the_calendars_start_counts_and_not_the_applications() -> None:
    assert cause(some_evidence(read=found(start=Instant(NOW + HOUR)), starts_in=-HOUR)) is Cause.UNEXPLAINED
    assert cause(some_evidence(read=found(start=Instant(NOW - HOUR)), starts_in=HOUR)) is Cause.EVENT_PAST


@pytest.mark.parametrize(
    "now, tzid, past",
    [
        pytest.param("2026-03-01T23:59:59+00:00", None, False, id="no zone: UTC, before midnight"),
        pytest.param("2026-03-02T00:00:00+00:00", None, True, id="no zone: UTC, at midnight"),
        pytest.param("2026-03-01T22:59:59+00:00", "Europe/Berlin", False, id="Berlin, before its midnight"),
        pytest.param("2026-03-01T23:00:00+00:00", "Europe/Berlin", True, id="Berlin, at its midnight"),
        pytest.param("2026-03-02T04:59:59+00:00", "America/New_York", False, id="New York, before its midnight"),
        pytest.param("2026-03-02T05:00:00+00:00", "America/New_York", True, id="New York, at its midnight"),
        pytest.param("2026-03-01T23:59:59+00:00", "No/Where", False, id="a zone that does not exist is UTC"),
        pytest.param(
            "2026-03-02T00:00:00+00:00", "No/Where", True, id="a zone that does not exist is UTC, at midnight"
        ),
    ],
)
def test_an_all_day_event_starts_at_midnight_in_the_zone_it_was_written_with(
    now: str, tzid: str | None, past: bool
) -> None:
    day, next_day = AllDay(date(2026, 3, 2)), AllDay(date(2026, 3, 3))
    evidence = some_evidence(read=found(start=day, end=next_day), body=a_body(start=day, end=next_day, tzid=tzid))
    at = datetime.fromisoformat(now)
    shifted = replace(evidence, now=at, written_at=at - HOUR)
    assert (cause(shifted) is Cause.EVENT_PAST) is past


def test_the_earliest_day_there_is_has_passed_in_every_zone() -> None:
    day = AllDay(date.min)
    for tzid in ("Asia/Tokyo", "Pacific/Kiritimati", "America/New_York"):
        assert cause(some_evidence(read=found(start=day, end=day), body=a_body(tzid=tzid))) is Cause.EVENT_PAST


# ---------------------------------------------------------------- notifications


@pytest.mark.parametrize(
    "subtype, fitting",
    [
        ("profile_missing", Cause.PROFILE_REMOVED),
        ("missing_meeting_url", Cause.MISSING_MEETING_URL),
        (None, Cause.PROVIDER_OUTAGE),
    ],
)
@pytest.mark.parametrize(
    "written, repaired, notified, counts",
    [
        pytest.param(HOUR, None, 59 * MINUTE, True, id="after the write"),
        pytest.param(HOUR, None, HOUR, False, id="at the write"),
        pytest.param(HOUR, None, 61 * MINUTE, False, id="before the write"),
        pytest.param(3 * HOUR, HOUR, 59 * MINUTE, True, id="after our repair"),
        pytest.param(3 * HOUR, HOUR, 2 * HOUR, False, id="after the write, before our repair"),
        pytest.param(HOUR, 3 * HOUR, 2 * HOUR, False, id="after our repair, before the write"),
    ],
)
def test_a_failure_counts_only_if_pushed_since_the_last_write(
    subtype: str | None,
    fitting: Cause,
    written: timedelta,
    repaired: timedelta | None,
    notified: timedelta,
    counts: bool,
) -> None:
    evidence = some_evidence(written_ago=written, repaired_ago=repaired, notified=[pushed(subtype, ago=notified)])
    assert cause(evidence) is (fitting if counts else Cause.UNEXPLAINED)


@pytest.mark.parametrize(
    "notified, expected",
    [
        ([pushed(None, ago=2 * MINUTE), pushed("missing_meeting_url")], Cause.MISSING_MEETING_URL),
        ([pushed("missing_meeting_url", ago=2 * MINUTE), pushed(None)], Cause.PROVIDER_OUTAGE),
        ([pushed(None), pushed("missing_meeting_url", ago=2 * MINUTE)], Cause.PROVIDER_OUTAGE),
        ([pushed(None), pushed("missing_meeting_url")], Cause.MISSING_MEETING_URL),
        ([pushed(None, ago=2 * MINUTE), pushed("tomorrow's")], Cause.UNEXPLAINED),
        ([pushed("tomorrow's"), pushed("profile_missing", ago=DAY), pushed(None)], Cause.PROVIDER_OUTAGE),
        ([pushed(None, ago=2 * MINUTE), pushed(None, type_="conferencing_assigned")], Cause.PROVIDER_OUTAGE),
        ([pushed("profile_missing", ago=2 * MINUTE), pushed(None)], Cause.PROFILE_REMOVED),
    ],
    ids=[
        "licence last",
        "outage last",
        "outage last, listed first",
        "at the same moment the one listed last",
        "something new last",
        "one from before the last write does not count",
        "no failure does not count",
        "a removed profile stays removed",
    ],
)
def test_the_newest_failure_says_how_it_fails_now(notified: list[Notified], expected: Cause) -> None:
    assert cause(some_evidence(notified=notified)) is expected


def test_a_disconnected_profile_that_default_was_served_without_is_not_the_default() -> None:
    listed = some_profiles(DOWN, a_profile("pro_2"))
    evidence = some_evidence(asked="default", roster=listed, not_default=["pro_1"])
    assert cause(evidence) is Cause.UNEXPLAINED
    assert cause(replace(evidence, not_default=(ProfileId("pro_2"),))) is Cause.PROFILE_DISCONNECTED
    two = some_profiles(DOWN, a_profile("pro_2"), a_profile("pro_3", connected=False))
    assert cause(replace(evidence, roster=two)) is Cause.PROFILE_DISCONNECTED
    assert cause(replace(evidence, roster=some_profiles(DOWN))) is Cause.PROFILE_DISCONNECTED


@pytest.mark.parametrize(
    "provider, service",
    [("google", "google_meet"), ("exchange", "ms_teams_for_business"), ("live_connect", "ms_teams_for_business"),
     ("apple", None), ("cronofy", None), ("unknown", None), (None, None)],
)  # fmt: skip
def test_a_calendar_has_the_video_service_of_its_provider(provider: str | None, service: str | None) -> None:
    calendar = replace(a_calendar(), profile_provider=provider)
    assert some_evidence(asked="integrated", roster=some_profiles(UP, calendar=calendar)).provider == service
    without = replace(calendar, integrated=False)
    assert some_evidence(asked="integrated", roster=some_profiles(UP, calendar=without)).provider is None
    assert some_evidence(asked="integrated", roster=RosterFact((UP,), None)).provider is None


# ---------------------------------------------------------------- the order


def test_the_table_holds_every_row_in_the_order_of_the_contract() -> None:
    assert tuple(rule.cause for rule in RULES) == ORDER
    assert set(ORDER) == set(Cause)


def test_every_rule_says_its_condition_in_words_of_its_own() -> None:
    assert len({rule.when for rule in RULES}) == len(RULES)
    assert all(rule.when.strip() for rule in RULES)


READS: tuple[tuple[ReadBack, timedelta], ...] = (
    (found(), DAY),
    (found(Absent()), DAY),
    (linked(), DAY),
    (found(deleted=True), DAY),
    (found(Absent(), deleted=True), DAY),
    (found(linked().conferencing, deleted=True), DAY),
    (PAST_EVENT, -HOUR),
    (found(Absent(), start=PAST_EVENT.start), -HOUR),
    (found(linked().conferencing, start=PAST_EVENT.start), -HOUR),
    (found(start=PAST_EVENT.start, deleted=True), -HOUR),
    (NotListed(1), DAY),
    (NotListed(2), DAY),
    (NotListed(2), -HOUR),
    *((failed, starts_in) for failed in (Unreadable("timeout", ""), Unauthorized("")) for starts_in in (DAY, -HOUR)),
)
"""What was read, and when the event starts by the application's word."""

CALENDARS = (
    a_calendar(),
    a_calendar(integrated=False),
    a_calendar(deleted=True, connected=False, integrated=False),
    a_calendar(connected=False, integrated=False),
)
ROSTERS = (
    None,
    *(some_profiles(*profiles, calendar=c) for profiles, c in product(((UP,), (DOWN,), ()), CALENDARS)),
    some_profiles(UP, a_profile("pro_2", connected=False)),
    some_profiles(UP, a_profile("pro_2", connected=False), calendar=CALENDARS[2]),
)
PUSHED = ((), *((pushed(subtype),) for subtype in ("profile_missing", "missing_meeting_url", None)))
TOGETHER = tuple(n for each in PUSHED for n in each)


def _situations() -> Iterator[Evidence]:
    for (read, starts_in), asked, roster, written_ago, notified, down in product(
        READS,
        ("pro_1", "default", "integrated", "8x8"),
        ROSTERS,
        (2 * MINUTE, HOUR),
        (*PUSHED, TOGETHER),
        ((), ("zoom",)),
    ):
        if isinstance(read, Found) or not (notified or down):  # what was pushed speaks only of listed events
            yield some_evidence(
                read=read,
                asked=asked,
                roster=roster,
                written_ago=written_ago,
                starts_in=starts_in,
                notified=notified,
                open_incidents=down,
            )


@cache
def _meetings() -> dict[tuple[int, int], Evidence]:
    """For each two rows that can fit together, by their places, evidence that both fit and no row before them."""
    met: dict[tuple[int, int], Evidence] = {}
    for evidence in _situations():
        fitting = [place for place, rule in enumerate(RULES) if rule.fits(evidence, POLICY)]
        for later in fitting[1:]:
            met.setdefault((fitting[0], later), evidence)
    return met


def _places(*causes: Cause) -> set[int]:
    return {place for place, c in enumerate(ORDER) if c in causes}


READ_FAILED = {Cause.UNREADABLE, Cause.ACCOUNT_UNAUTHORIZED}
NEEDS_NO_READ = {
    Cause.EVENT_PAST,
    Cause.CALENDAR_UNAVAILABLE,
    Cause.CALENDAR_DISCONNECTED,
    Cause.SETTLING,
    Cause.UNEXPLAINED,
}
"""These speak of moments and calendars: they fit whatever was read."""
LISTED = set(ORDER) - READ_FAILED - NEEDS_NO_READ - {Cause.EVENT_MISSING}
"""These speak of an event that was listed."""

(RETIRED,), (NONE_OFFERED,) = _places(Cause.PROVIDER_RETIRED), _places(Cause.INTEGRATED_UNAVAILABLE)
DISCONNECTED, DEFAULT_DISCONNECTED = sorted(_places(Cause.PROFILE_DISCONNECTED))
LICENCE_PUSHED, LICENCE_LIKELY = sorted(_places(Cause.MISSING_MEETING_URL))

CONTRADICTIONS: tuple[set[int], ...] = (
    _places(*READ_FAILED),
    _places(Cause.ASSIGNED, Cause.CONFERENCING_ABSENT),
    *({RETIRED, other} for other in (NONE_OFFERED, DISCONNECTED, DEFAULT_DISCONNECTED, LICENCE_LIKELY)),
    *(
        {service, profile}
        for service in (NONE_OFFERED, LICENCE_LIKELY)
        for profile in (DISCONNECTED, DEFAULT_DISCONNECTED)
    ),
)
"""Two things asked for, or read, at once."""


def _can_meet(one: int, other: int) -> bool:
    readings = [{ORDER[one], ORDER[other]} & group for group in (READ_FAILED, {Cause.EVENT_MISSING}, LISTED)]
    if sum(bool(reading) for reading in readings) > 1:
        return False  # an event was listed, or it was not, or nothing could be read
    return {one, other} not in CONTRADICTIONS


@pytest.mark.parametrize(
    "earlier, later",
    [pytest.param(a, b, id=f"{a}:{ORDER[a]}-{b}:{ORDER[b]}") for a, b in combinations(range(len(ORDER)), 2)],
)
def test_where_two_rules_fit_the_earlier_wins(earlier: int, later: int) -> None:
    evidence = _meetings().get((earlier, later))
    assert (evidence is not None) is _can_meet(earlier, later), "whether the two can meet at all is part of the table"
    if evidence is not None:
        assert cause_of(evidence, POLICY) is ORDER[earlier]


# ---------------------------------------------------------------- properties


def test_what_is_settled_is_what_needs_no_further_look() -> None:
    assert {Cause.EVENT_DELETED, Cause.EVENT_PAST, Cause.ASSIGNED} == SETTLED


@given(strategies.evidence(), strategies.policies)
def test_every_evidence_has_exactly_one_cause(evidence: Evidence, policy: Policy) -> None:
    finding = classify(evidence, policy)
    assert finding.evidence is evidence
    fitting = [rule.cause for rule in RULES if rule.fits(evidence, policy)]
    assert fitting[0] is finding.cause
    assert fitting[-1] is Cause.UNEXPLAINED


@given(strategies.evidence(), strategies.policies)
def test_an_event_with_a_link_is_never_anything_that_calls_for_a_write(evidence: Evidence, policy: Policy) -> None:
    if evidence.has_link:
        assert classify(evidence, policy).cause in SETTLED


@given(strategies.evidence(), strategies.policies)
def test_what_could_not_be_read_is_judged_by_nothing_else(evidence: Evidence, policy: Policy) -> None:
    unread = isinstance(evidence.read_back, Unreadable | Unauthorized)
    assert (classify(evidence, policy).cause in READ_FAILED) is unread


@given(strategies.evidence())
def test_the_zone_in_which_a_moment_is_written_changes_nothing(evidence: Evidence) -> None:
    ahead = timedelta(hours=5, minutes=30)
    elsewhere = evidence.now.astimezone(timezone(ahead))
    assert cause_of(replace(evidence, now=elsewhere), POLICY) is cause_of(evidence, POLICY)


@pytest.mark.parametrize(
    "read, needed",
    [
        (found(), True),
        (found(Absent()), True),
        (NotListed(1), True),
        (linked(), False),
        (Unreadable("timeout", "no answer"), False),
        (Unauthorized("invalid_grant"), False),
    ],
    ids=["pending", "absent", "not listed", "linked", "unreadable", "unauthorized"],
)
def test_the_roster_is_read_only_where_a_rule_may_need_it(read: ReadBack, needed: bool) -> None:
    assert some_evidence(read=read).needs_roster() is needed
