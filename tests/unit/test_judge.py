"""From what was read to a verdict: what evidence is made of, which verdicts wait, and what is observed of providers."""

import json
from dataclasses import replace

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
from reconciler.pipeline.judge import gather, judge, observe, restored, roster_fact, with_roster
from tests.builders import (
    CALENDAR,
    DAY,
    HOUR,
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
        some_evidence(asked="integrated"),
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
        "calendar's own service",
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


def test_an_unlinked_calendar_is_a_matter_of_the_person_and_not_of_the_provider() -> None:
    calendar_down = some_evidence(roster=some_profiles(a_profile(), calendar=a_calendar(connected=False)))
    assert isinstance(judged(calendar_down).remedy, Notify)
    assert not judged(calendar_down).waits_for_the_run
