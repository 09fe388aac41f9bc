"""From what was read to a verdict: what evidence is made of, which verdicts wait, and what is observed of providers."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from reconciler.domain.casework import Observed
from reconciler.domain.cause import Cause
from reconciler.domain.event import BodyState
from reconciler.domain.evidence import CalendarFact, Evidence, KnownProfile, NotListed, RosterFact, Unreadable
from reconciler.domain.evidence_json import evidence_json
from reconciler.domain.ids import ProfileId
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import Notify, ProviderChange, Reupsert, Wait
from reconciler.domain.roster import Calendar
from reconciler.domain.times import Instant
from reconciler.pipeline.judge import (
    gather,
    judge,
    observe,
    restored,
    roster_fact,
    served_without,
    with_links_read,
    with_roster,
)
from tests.builders import (
    CALENDAR,
    DAY,
    HOUR,
    LINK,
    MINUTE,
    NOW,
    POLICY,
    a_body,
    a_calendar,
    a_case,
    a_caseload,
    a_profile,
    a_roster,
    an_event,
    found,
    judged,
    linked,
    pushed,
    refused,
    some_evidence,
    some_profiles,
)

# ---------------------------------------------------------------- evidence


def test_evidence_gathers_what_is_on_record_about_the_event() -> None:
    event = an_event(asked="pro_7", written_ago=2 * DAY)
    case = a_case(event, notified=[pushed()], repaired_at=NOW - DAY, repairs=2, rejections=(refused("pro_2"),))
    profiles = {"pro_7": KnownProfile("zoom", "work"), "pro_2": KnownProfile("teams", None)}
    read = found()
    assert gather(case, read, a_caseload(case, profiles=profiles), NOW) == Evidence(
        now=NOW,
        asked=ProfileId("pro_7"),
        starts_at=event.starts_at,
        written_at=event.written_at,
        body=event.body,
        read_back=read,
        roster=None,
        previous=KnownProfile("zoom", "work"),
        repaired_at=NOW - DAY,
        repairs=2,
        notified=(pushed(),),
        rejections=(refused("pro_2"),),
    )


def test_a_profile_never_listed_has_nothing_on_record() -> None:
    case = a_case()
    assert gather(case, found(), a_caseload(case), NOW).previous is None


def test_the_roster_joins_the_evidence_only_where_a_rule_may_need_it() -> None:
    roster = a_roster(a_profile())
    with_it = with_roster(some_evidence(roster=None), roster, CALENDAR)
    assert with_it.roster == roster_fact(roster, CALENDAR)
    settled = some_evidence(read=linked(), roster=None)
    assert with_roster(settled, roster, CALENDAR) is settled


def test_no_relink_address_of_a_roster_comes_into_the_evidence() -> None:
    roster = a_roster(a_profile(connected=False), relink_urls={"pro_1": "https://relink.example/secret"})
    evidence = with_roster(some_evidence(roster=None), roster, CALENDAR)
    assert evidence.roster is not None
    assert "relink.example" not in json.dumps(evidence_json(evidence)) + repr(evidence)


def test_a_listed_calendar_is_known_with_its_profile() -> None:
    calendar = Calendar(CALENDAR, ProfileId("pro_cal"), readonly=True, deleted=False, integrated=True)
    assert roster_fact(a_roster(a_profile(), calendars=[calendar]), CALENDAR) == RosterFact(
        (a_profile(),), CalendarFact(True, False, True, True, ProfileId("pro_cal"), "google", True)
    )
    gone = Calendar(CALENDAR, ProfileId("pro_cal"), readonly=False, deleted=True, integrated=False)
    assert roster_fact(a_roster(calendars=[gone], calendar_connected=False), CALENDAR) == RosterFact(
        (), CalendarFact(True, True, False, False, ProfileId("pro_cal"), "google", False)
    )


def test_a_calendar_listed_under_no_known_profile_has_none() -> None:
    stray = Calendar(CALENDAR, ProfileId("pro_other"), readonly=False, deleted=False, integrated=None)
    fact = roster_fact(a_roster(calendars=[stray]), CALENDAR).calendar
    assert fact == CalendarFact(True, False, False, None, None, None, None)


def test_a_calendar_that_is_not_listed_is_known_as_such() -> None:
    fact = roster_fact(a_roster(calendars=[]), CALENDAR).calendar
    assert fact == CalendarFact(False, False, False, None, None, None, None)


def test_nothing_is_said_of_calendars_where_none_are_listed_at_all() -> None:
    assert roster_fact(a_roster(a_profile(), calendars=None), CALENDAR) == RosterFact((a_profile(),), None)


# ---------------------------------------------------------------- verdicts


def test_a_verdict_holds_the_case_with_its_cause_and_remedy() -> None:
    case, evidence = a_case(), some_evidence(roster=some_profiles(a_profile("pro_2")))
    item = judge(case, evidence, POLICY)
    assert (item.case, item.evidence, item.cause) == (case, evidence, Cause.PROFILE_REMOVED)
    assert isinstance(item.remedy, Reupsert)
    assert item.key == case.event.key


def test_a_verdict_is_listed_as_plans_show_it() -> None:
    item = judged()
    verdict = item.verdict
    assert (verdict.key, verdict.starts_at, verdict.cause) == (item.key, item.case.event.starts_at, "unexplained")
    assert (verdict.remedy, verdict.evidence) == (Wait(), item.evidence)


def test_the_policy_decides_what_is_judged() -> None:
    assert judged(some_evidence(), policy=Policy(grace=DAY)).cause is Cause.SETTLING


@pytest.mark.parametrize(
    "evidence, waits",
    [
        (some_evidence(), True),
        (some_evidence(pending=False), True),
        (some_evidence(asked="default"), True),
        (some_evidence(roster=None), False),
        (some_evidence(asked="default", roster=some_profiles(a_profile(), a_profile("pro_2", "teams"))), False),
        (some_evidence(written_ago=MINUTE), False),
        (some_evidence(read=linked()), False),
        (some_evidence(open_incidents=["zoom"]), False),
        (some_evidence(roster=some_profiles()), False),
        (some_evidence(roster=some_profiles(a_profile(connected=False))), False),
    ],
    ids=[
        "unexplained",
        "absent",
        "default of one provider",
        "provider not known",
        "default of two providers",
        "settling",
        "linked",
        "outage already",
        "removed",
        "disconnected",
    ],
)
def test_only_what_an_outage_would_explain_waits_for_the_end_of_the_run(evidence: Evidence, waits: bool) -> None:
    item = judged(evidence)
    assert item.waits_for_the_run is waits
    if waits and evidence.provider:
        during = judged(replace(evidence, open_incidents=(evidence.provider,)))
        assert during.cause is Cause.PROVIDER_OUTAGE


# ---------------------------------------------------------------- the application wrote while we did

OVERTAKEN = a_case(overtaken=True)


def test_where_an_older_body_of_ours_may_have_arrived_last_the_applications_is_sent_again() -> None:
    item = judge(OVERTAKEN, some_evidence(written_ago=MINUTE), POLICY)
    again = restored(item)
    assert again.remedy == Reupsert(ProfileId("pro_1"), "zoom", ProviderChange.SAME, restores=True)
    assert replace(again, remedy=item.remedy) == item


@pytest.mark.parametrize(
    "evidence",
    [
        some_evidence(read=linked()),
        some_evidence(read=found(deleted=True)),
        some_evidence(read=found(start=Instant(NOW))),
        some_evidence(read=NotListed(1)),
        some_evidence(read=Unreadable("timeout", "")),
        *(some_evidence(body=a_body(state)) for state in BodyState if state is not BodyState.USABLE),
    ],
)
def test_nothing_is_sent_again_that_is_settled_or_not_listed_or_has_no_usable_body(evidence: Evidence) -> None:
    item = judge(OVERTAKEN, evidence, POLICY)
    assert restored(item) is item


def test_what_nobody_overtook_is_not_sent_again() -> None:
    item = judged(some_evidence(written_ago=MINUTE))
    assert restored(item) is item


def test_what_was_overtaken_does_not_wait_for_the_end_of_the_run() -> None:
    assert judged().waits_for_the_run
    assert not judge(OVERTAKEN, some_evidence(), POLICY).waits_for_the_run


# ---------------------------------------------------------------- what is observed of providers


def test_each_provider_is_counted_by_its_own_events() -> None:
    teams = some_evidence(asked="pro_9", roster=some_profiles(a_profile("pro_9", "teams")))
    items = [judged(), judged(), judged(some_evidence(read=linked("zoom"))), judged(teams)]
    assert observe(items, POLICY) == {"zoom": Observed(2, 3), "teams": Observed(1, 1)}
    assert observe([], POLICY) == {}


@pytest.mark.parametrize(
    "evidence, overdue",
    [
        (some_evidence(), 1),
        (some_evidence(written_ago=POLICY.grace), 1),
        (some_evidence(written_ago=POLICY.grace - MINUTE), 0),
        (some_evidence(repaired_ago=MINUTE), 0),
        (some_evidence(pending=False), 0),
        (some_evidence(read=linked("zoom")), 0),
    ],
    ids=["pending past grace", "grace just reached", "within grace", "repaired just now", "absent", "linked"],
)
def test_only_what_is_pending_past_grace_is_overdue(evidence: Evidence, overdue: int) -> None:
    assert observe([judged(evidence)], POLICY) == {"zoom": Observed(overdue, 1)}


@pytest.mark.parametrize(
    "evidence",
    [
        some_evidence(roster=some_profiles(a_profile(connected=False))),
        some_evidence(roster=None),
        some_evidence(asked="integrated", roster=some_profiles(calendar=a_calendar(integrated=False))),
        some_evidence(notified=[pushed("missing_meeting_url")]),
        some_evidence(notified=[pushed("profile_missing")]),
        some_evidence(roster=some_profiles(a_profile(), calendar=a_calendar(deleted=True))),
        some_evidence(read=NotListed(1)),
        some_evidence(read=linked(None)),
        some_evidence(written_ago=POLICY.lookback + MINUTE),
        some_evidence(read=linked("zoom"), written_ago=POLICY.lookback + MINUTE),
        some_evidence(read=found(deleted=True)),
        some_evidence(read=found(cancelled=True)),
        some_evidence(read=found(start=Instant(NOW - HOUR))),
        some_evidence(read=found(linked().conferencing, start=Instant(NOW - HOUR))),
    ],
    ids=[
        "disconnected",
        "provider not known",
        "calendar's own service, not offered",
        "no licence, as pushed",
        "profile removed, as pushed",
        "calendar deleted",
        "not listed",
        "linked by nobody",
        "written before the look-back",
        "linked, written before the look-back",
        "deleted",
        "cancelled",
        "past",
        "linked, past",
    ],
)
def test_what_says_nothing_about_a_provider_is_not_counted(evidence: Evidence) -> None:
    assert observe([judged(evidence)], POLICY) == {}


def test_the_lookback_reaches_to_the_moment() -> None:
    at_its_end = some_evidence(written_ago=POLICY.lookback)
    assert observe([judged(at_its_end)], POLICY) == {"zoom": Observed(1, 1)}
    assert observe([judged(at_its_end)], Policy(lookback=HOUR)) == {}


def test_a_link_of_google_meet_speaks_for_its_conferencing_profile_too() -> None:
    assert observe([judged(some_evidence(read=linked("google_meet")))], POLICY) == {
        "google_meet": Observed(0, 1),
        "google_meet_api": Observed(0, 1),
    }


@pytest.mark.parametrize(
    "asked, profiles, served_by",
    [
        ("pro_1", {"pro_1": KnownProfile("google_meet_api", None)}, {"google_meet_api"}),
        ("integrated", {}, {"google_meet", "google_meet_api"}),
    ],
)
def test_a_link_counts_for_the_profile_that_was_asked_for_where_that_is_on_record(
    asked: str, profiles: dict[str, KnownProfile], served_by: set[str]
) -> None:
    case = a_case(an_event(asked=asked))
    evidence = gather(case, linked("google_meet"), a_caseload(case, profiles=profiles), NOW)
    assert set(observe([judged(evidence, case)], POLICY)) == served_by


def test_a_calendars_own_service_is_counted_like_a_provider() -> None:
    waiting = some_evidence(asked="integrated")
    default = some_evidence(asked="default", roster=some_profiles())
    assert observe([judged(waiting), judged(default)], POLICY) == {"google_meet": Observed(2, 2)}
    assert judged(waiting).waits_for_the_run
    assert not judged(some_evidence(asked="integrated", notified=[pushed("missing_meeting_url")])).waits_for_the_run


def test_events_of_which_cronofy_says_that_their_provider_fails_are_counted_apart() -> None:
    told = some_evidence(notified=[pushed(None)])
    absent = some_evidence(pending=False, notified=[pushed(None)])
    within_grace = some_evidence(written_ago=MINUTE, notified=[pushed(None, ago=timedelta())])
    items = [judged(told), judged(absent), judged(within_grace), judged()]
    assert observe(items, POLICY) == {"zoom": Observed(2, 4, told=2)}


# ---------------------------------------------------------------- what `default` does not stand for

TWO = a_roster(a_profile(connected=False), a_profile("pro_2", connected=False), a_profile("pro_3"))
LOST = {ProfileId("pro_1"): NOW - 2 * HOUR, ProfileId("pro_2"): NOW - HOUR}


@pytest.mark.parametrize(
    "linked_at, not_default",
    [
        (None, ()),
        (NOW - 2 * HOUR, ()),
        (NOW - 2 * HOUR + MINUTE, ("pro_1",)),
        (NOW - HOUR, ("pro_1",)),
        (NOW - MINUTE, ("pro_1", "pro_2")),
    ],
)
def test_a_disconnected_profile_is_not_the_default_if_default_was_served_since(
    linked_at: datetime | None, not_default: tuple[str, ...]
) -> None:
    case = a_case(an_event(asked="default"))
    caseload = replace(a_caseload(case), disconnected=LOST, default_linked_at=linked_at)
    evidence = with_roster(gather(case, found(), caseload, NOW), TWO, CALENDAR, served_without(case, caseload))
    assert evidence.not_default == not_default


def test_that_is_asked_of_default_alone_and_never_by_the_events_own_link() -> None:
    for case in (a_case(), a_case(an_event(asked="default"), linked_at=NOW - MINUTE)):
        caseload = replace(a_caseload(case), disconnected=LOST, default_linked_at=NOW - MINUTE)
        assert (
            with_roster(gather(case, found(), caseload, NOW), TWO, CALENDAR, served_without(case, caseload)).not_default
            == ()
        )


def test_a_profile_seen_disconnected_for_the_first_time_may_be_the_default() -> None:
    case = a_case(an_event(asked="default"))
    caseload = replace(a_caseload(case), default_linked_at=NOW)
    assert (
        with_roster(gather(case, found(), caseload, NOW), TWO, CALENDAR, served_without(case, caseload)).not_default
        == ()
    )


@pytest.mark.parametrize(
    "asked, join_url, before, expected",
    [
        ("default", None, None, NOW),
        ("default", None, NOW - HOUR, NOW),
        ("default", LINK, NOW - HOUR, NOW - HOUR),
        ("default", LINK, None, None),
        ("pro_1", None, None, None),
    ],
    ids=["new", "newer than what is on record", "seen before", "seen before that was recorded", "not of default"],
)
def test_links_read_just_now_count(
    asked: str, join_url: str | None, before: datetime | None, expected: datetime | None
) -> None:
    case = a_case(an_event(asked=asked), join_url=join_url, linked_at=before if join_url else None)
    caseload = replace(a_caseload(case), default_linked_at=before)
    pairs = [(case, gather(case, linked(), caseload, NOW))]
    assert with_links_read(caseload, pairs).default_linked_at == expected


def test_an_unlinked_calendar_is_a_matter_of_the_person_and_not_of_the_provider() -> None:
    calendar_down = some_evidence(roster=some_profiles(a_profile(), calendar=a_calendar(connected=False)))
    assert isinstance(judged(calendar_down).remedy, Notify)
    assert not judged(calendar_down).waits_for_the_run
