"""What is proposed for each cause, and the replacement for a lost profile."""

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from reconciler.domain.cause import SETTLED, Cause, Finding, classify
from reconciler.domain.event import BodyState
from reconciler.domain.evidence import (
    Evidence,
    KnownProfile,
    NotListed,
    Rejection,
    RosterFact,
    Unauthorized,
    Unreadable,
)
from reconciler.domain.ids import ProfileId
from reconciler.domain.policy import Policy, Substitute
from reconciler.domain.remedy import (
    REMEDY_NAMES,
    About,
    Drift,
    Escalate,
    Leave,
    NoticeKind,
    Notify,
    Park,
    ProviderChange,
    Remedy,
    Report,
    Reupsert,
    Settle,
    Wait,
    choose,
    remedy_json,
    remedy_text,
    replacement_for,
)
from reconciler.domain.roster import ConferencingProfile
from reconciler.domain.times import AllDay, EventTime, Instant, parse_event_time
from tests import strategies
from tests.builders import (
    DAY,
    END,
    HOUR,
    NOW,
    POLICY,
    START,
    a_body,
    a_calendar,
    a_profile,
    found,
    linked,
    pushed,
    refused,
    some_evidence,
    some_profiles,
)

SAME_PROVIDER = Policy(substitute=Substitute.SAME_PROVIDER)
ZOOM = KnownProfile("zoom", "work")
ZOOM_2, ZOOM_3 = a_profile("pro_2", name="home"), a_profile("pro_3", name="work")
MEET, TEAMS = a_profile("pro_8", "google_meet_api"), a_profile("pro_9", "ms_teams")


def remedy(evidence: Evidence, policy: Policy = POLICY) -> Remedy:
    return choose(classify(evidence, policy), policy)


def lost(*listed: ConferencingProfile, previous: KnownProfile | None = ZOOM, **other: object) -> Evidence:
    """An event whose profile, `pro_1`, is no longer listed; these are."""
    integrated = other.pop("integrated", None)
    roster = some_profiles(*listed, calendar=a_calendar(integrated=integrated))  # type: ignore[arg-type]
    return some_evidence(roster=roster, previous=previous, **other)  # type: ignore[arg-type]


def asks_a_word_again(finding: Finding) -> bool:
    """Whether the profile that a word stood for was removed: asked again, the word stands for another."""
    return finding.cause is Cause.PROFILE_REMOVED and finding.evidence.asked in {"default", "integrated"}


def reupsert(evidence: Evidence, policy: Policy = POLICY) -> Reupsert:
    chosen = remedy(evidence, policy)
    assert isinstance(chosen, Reupsert), chosen
    return chosen


# ---------------------------------------------------------------- one remedy per cause


@pytest.mark.parametrize(
    "evidence, cause, expected",
    [
        (some_evidence(read=Unreadable("timeout", "")), Cause.UNREADABLE, Leave()),
        (some_evidence(read=Unauthorized("invalid_grant")), Cause.ACCOUNT_UNAUTHORIZED, Park("invalid_grant")),
        (some_evidence(read=found(deleted=True)), Cause.EVENT_DELETED, Settle()),
        (some_evidence(read=found(start=Instant(NOW))), Cause.EVENT_PAST, Settle()),
        (some_evidence(read=linked()), Cause.ASSIGNED, Settle()),
        (some_evidence(read=NotListed(2)), Cause.EVENT_MISSING, Report()),
        (
            some_evidence(roster=some_profiles(a_profile(), calendar=a_calendar(deleted=True))),
            Cause.CALENDAR_UNAVAILABLE,
            Report(),
        ),
        (
            some_evidence(roster=some_profiles(a_profile(), calendar=a_calendar(connected=False))),
            Cause.CALENDAR_DISCONNECTED,
            Notify(NoticeKind.RELINK_CALENDAR, ProfileId("pro_cal"), "google"),
        ),
        (some_evidence(written_ago=timedelta()), Cause.SETTLING, Wait()),
        (
            some_evidence(asked="8x8"),
            Cause.PROVIDER_RETIRED,
            Reupsert(ProfileId("pro_1"), "zoom", ProviderChange.CHANGED),
        ),
        (
            some_evidence(asked="8x8", roster=some_profiles()),
            Cause.PROVIDER_RETIRED,
            Notify(NoticeKind.CONNECT_CONFERENCING),
        ),
        (lost(ZOOM_2), Cause.PROFILE_REMOVED, Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME)),
        (
            lost(),
            Cause.PROFILE_REMOVED,
            Notify(NoticeKind.CONNECT_CONFERENCING, ProfileId("pro_1"), "zoom"),
        ),
        (
            some_evidence(roster=some_profiles(a_profile(connected=False), MEET)),
            Cause.PROFILE_DISCONNECTED,
            Notify(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"), "zoom"),
        ),
        (
            some_evidence(
                asked="default",
                roster=some_profiles(
                    a_profile("pro_8", "google_meet_api", connected=False), a_profile("pro_9", "zoom", connected=False)
                ),
            ),
            Cause.PROFILE_DISCONNECTED,
            Notify(
                NoticeKind.RELINK_CONFERENCING,
                ProfileId("pro_8"),
                "google_meet_api",
                (About(ProfileId("pro_9"), "zoom"),),
            ),
        ),
        (
            some_evidence(asked="default", roster=some_profiles(MEET, a_profile(connected=False))),
            Cause.PROFILE_DISCONNECTED,
            Notify(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"), "zoom"),
        ),
        (
            some_evidence(
                asked="default",
                roster=some_profiles(a_profile(connected=False), a_profile("pro_2", connected=False), MEET),
                not_default=["pro_1"],
            ),
            Cause.PROFILE_DISCONNECTED,
            Notify(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_2"), "zoom"),
        ),
        (
            some_evidence(asked="integrated", roster=some_profiles(MEET, calendar=a_calendar(integrated=False))),
            Cause.INTEGRATED_UNAVAILABLE,
            Reupsert(ProfileId("pro_8"), "google_meet_api", ProviderChange.CHANGED),
        ),
        (
            some_evidence(asked="default", roster=some_profiles(calendar=a_calendar(integrated=False))),
            Cause.INTEGRATED_UNAVAILABLE,
            Notify(NoticeKind.CONNECT_CONFERENCING),
        ),
        (
            some_evidence(asked="integrated"),
            Cause.MISSING_MEETING_URL,
            Notify(NoticeKind.RESTORE_LICENCE, ProfileId("pro_cal"), "google"),
        ),
        (
            some_evidence(asked="integrated", roster=RosterFact((), None)),
            Cause.MISSING_MEETING_URL,
            Notify(NoticeKind.RESTORE_LICENCE),
        ),
        (
            some_evidence(asked="integrated", roster=None),
            Cause.MISSING_MEETING_URL,
            Notify(NoticeKind.RESTORE_LICENCE),
        ),
        (some_evidence(open_incidents=["zoom"]), Cause.PROVIDER_OUTAGE, Wait()),
        (some_evidence(pending=False), Cause.CONFERENCING_ABSENT, Report()),
        (some_evidence(), Cause.UNEXPLAINED, Wait()),
    ],
)
def test_each_cause_has_its_remedy(evidence: Evidence, cause: Cause, expected: Remedy) -> None:
    finding = classify(evidence, POLICY)
    assert finding.cause is cause
    assert choose(finding, POLICY) == expected


@pytest.mark.parametrize(
    "age, escalated",
    [(DAY - timedelta(seconds=1), False), (DAY, True), (30 * DAY, True)],
    ids=["just under", "exactly reached", "long past"],
)
def test_what_stays_unexplained_is_escalated_at_the_escalation_age(age: timedelta, escalated: bool) -> None:
    assert isinstance(remedy(some_evidence(written_ago=age)), Escalate if escalated else Wait)


def test_the_escalation_age_is_the_policys_and_counts_from_our_repair() -> None:
    assert isinstance(remedy(some_evidence(), Policy(escalate_after=HOUR)), Escalate)
    repaired = some_evidence(written_ago=9 * DAY, repaired_ago=HOUR, repairs=1)
    assert isinstance(remedy(repaired), Wait)


def test_an_event_missing_once_is_looked_for_again_rather_than_escalated() -> None:
    assert remedy(some_evidence(read=NotListed(1), written_ago=9 * DAY)) == Wait()


def test_nothing_but_the_unexplained_grows_into_an_escalation_with_age() -> None:
    assert remedy(some_evidence(pending=False, written_ago=9 * DAY)) == Report()
    assert remedy(some_evidence(open_incidents=["zoom"], written_ago=9 * DAY)) == Wait()


# ---------------------------------------------------------------- the replacement, in its order


@pytest.mark.parametrize(
    "evidence, expected",
    [
        pytest.param(
            lost(MEET, ZOOM_2, ZOOM_3, integrated=True),
            ("pro_3", "zoom", ProviderChange.SAME),
            id="same provider and same name, though listed later",
        ),
        pytest.param(
            lost(MEET, ZOOM_3, a_profile("pro_4", name="work")),
            ("pro_3", "zoom", ProviderChange.SAME),
            id="several of the same name: the first listed",
        ),
        pytest.param(
            lost(MEET, ZOOM_2, a_profile("pro_4", name="new")),
            ("pro_2", "zoom", ProviderChange.SAME),
            id="same provider, other names: the first listed",
        ),
        pytest.param(
            lost(MEET, a_profile("pro_2", name=None), previous=KnownProfile("zoom", None)),
            ("pro_2", "zoom", ProviderChange.SAME),
            id="same provider, names not known",
        ),
        pytest.param(
            lost(a_profile("pro_8", "google_meet_api", name="work"), ZOOM_2),
            ("pro_2", "zoom", ProviderChange.SAME),
            id="the provider comes before the name",
        ),
        pytest.param(
            lost(a_profile("pro_3", connected=False, name="work"), ZOOM_2),
            ("pro_2", "zoom", ProviderChange.SAME),
            id="a disconnected profile replaces nothing",
        ),
        pytest.param(
            lost(MEET, integrated=True), ("pro_8", "google_meet_api", ProviderChange.CHANGED), id="the only one"
        ),
        pytest.param(
            lost(MEET, a_profile("pro_2", connected=False)),
            ("pro_8", "google_meet_api", ProviderChange.CHANGED),
            id="the only connected one",
        ),
        pytest.param(
            lost(ZOOM_2, previous=None), ("pro_2", "zoom", ProviderChange.UNKNOWN), id="the only one, nothing on record"
        ),
        pytest.param(
            lost(MEET, TEAMS, integrated=True), ("default", None, ProviderChange.UNKNOWN), id="several others: default"
        ),
        pytest.param(
            lost(ZOOM_2, ZOOM_3, previous=None),
            ("default", None, ProviderChange.UNKNOWN),
            id="several, nothing on record: default",
        ),
        pytest.param(
            lost(integrated=True), ("integrated", None, ProviderChange.CHANGED), id="no profile: the calendar's own"
        ),
        pytest.param(
            lost(integrated=True, previous=None),
            ("integrated", None, ProviderChange.UNKNOWN),
            id="no profile, nothing on record: the calendar's own",
        ),
        pytest.param(
            lost(a_profile("pro_2", connected=False), integrated=True),
            ("integrated", None, ProviderChange.CHANGED),
            id="no connected profile: the calendar's own",
        ),
    ],
)
def test_the_replacement_is_the_first_that_fits(
    evidence: Evidence, expected: tuple[str, str | None, ProviderChange]
) -> None:
    chosen = reupsert(evidence)
    assert (chosen.profile_id, chosen.provider_name, chosen.change) == expected


@pytest.mark.parametrize("integrated", [None, False])
def test_there_is_no_replacement_where_nothing_is_connected_and_nothing_offered(integrated: bool | None) -> None:
    evidence = lost(a_profile("pro_2", connected=False), integrated=integrated)
    assert remedy(evidence) == Notify(NoticeKind.CONNECT_CONFERENCING, ProfileId("pro_1"), "zoom")


def test_a_profile_that_cronofy_says_is_missing_does_not_replace_itself() -> None:
    evidence = some_evidence(roster=some_profiles(a_profile()), previous=ZOOM)
    finding = Finding(evidence, Cause.PROFILE_REMOVED)
    assert replacement_for(finding, POLICY) is None
    beside = Finding(lost(a_profile(), MEET), Cause.PROFILE_REMOVED)
    chosen = replacement_for(beside, POLICY)
    assert chosen is not None
    assert chosen.profile_id == "pro_8"


def test_a_profile_that_is_missing_though_listed_is_replaced_by_one_of_its_provider() -> None:
    evidence = lost(a_profile(), MEET, ZOOM_2, previous=None, notified=[pushed("profile_missing")])
    assert reupsert(evidence).profile_id == ZOOM_2.profile_id
    assert reupsert(evidence, SAME_PROVIDER).change is ProviderChange.SAME


def test_a_word_whose_profile_was_removed_stands_for_another_when_it_is_asked_for_again() -> None:
    pushed_for = [pushed("profile_missing")]
    assert reupsert(lost(MEET, TEAMS, asked="default", previous=None, notified=pushed_for)).profile_id == "default"
    assert reupsert(lost(MEET, asked="default", previous=None, notified=pushed_for)).profile_id == MEET.profile_id
    assert reupsert(lost(asked="integrated", integrated=True, notified=pushed_for)).profile_id == "integrated"
    refused_once = lost(
        MEET, TEAMS, asked="default", previous=None, notified=pushed_for, rejections=[refused("default")]
    )
    assert remedy(refused_once) == Notify(NoticeKind.CONNECT_CONFERENCING)


def test_without_a_roster_there_is_no_replacement() -> None:
    assert replacement_for(Finding(some_evidence(roster=None), Cause.PROFILE_REMOVED), POLICY) is None


@pytest.mark.parametrize(
    "evidence, change",
    [
        (
            some_evidence(asked="8x8", roster=some_profiles(a_profile("pro_2", "8x8"))),
            ProviderChange.SAME,
        ),
        (some_evidence(asked="8x8", roster=some_profiles(MEET, TEAMS)), ProviderChange.UNKNOWN),
        (
            some_evidence(
                asked="integrated",
                roster=some_profiles(a_profile("pro_2", "google"), calendar=a_calendar(integrated=False)),
            ),
            ProviderChange.SAME,
        ),
    ],
    ids=["8x8 by 8x8", "8x8 by whatever default is", "integrated by the calendar's own provider"],
)
def test_a_change_of_provider_is_marked_by_what_was_asked_before(evidence: Evidence, change: ProviderChange) -> None:
    assert reupsert(evidence).change is change


def test_integrated_conferencing_that_is_not_offered_is_replaced_by_the_first_connected_profile() -> None:
    listed = some_profiles(a_profile("pro_7", connected=False), TEAMS, MEET, calendar=a_calendar(integrated=False))
    assert reupsert(some_evidence(asked="integrated", roster=listed)).profile_id == "pro_9"


def test_the_provider_before_is_not_known_where_the_calendar_has_no_listed_profile() -> None:
    calendar = a_calendar(integrated=False, connected=None)
    evidence = some_evidence(asked="integrated", roster=some_profiles(MEET, calendar=calendar))
    assert reupsert(evidence).change is ProviderChange.UNKNOWN
    nowhere = Finding(some_evidence(asked="integrated", roster=RosterFact((MEET,), None)), Cause.INTEGRATED_UNAVAILABLE)
    chosen = replacement_for(nowhere, POLICY)
    assert chosen is not None
    assert chosen.change is ProviderChange.UNKNOWN


# ---------------------------------------------------------------- SUBSTITUTE=same_provider


def test_the_same_provider_is_enough_for_a_policy_that_forbids_others() -> None:
    assert reupsert(lost(MEET, ZOOM_2), SAME_PROVIDER).profile_id == "pro_2"


@pytest.mark.parametrize(
    "evidence",
    [
        lost(MEET),
        lost(MEET, TEAMS),
        lost(integrated=True),
        lost(a_profile("pro_2", connected=False), MEET),
        lost(ZOOM_2, previous=None),
        some_evidence(asked="8x8"),
        some_evidence(asked="integrated", roster=some_profiles(MEET, calendar=a_calendar(integrated=False))),
    ],
    ids=["only", "several", "integrated", "same but disconnected", "nothing on record", "8x8", "calendar's own"],
)
def test_a_policy_that_forbids_other_providers_asks_the_person_instead(evidence: Evidence) -> None:
    chosen = remedy(evidence, SAME_PROVIDER)
    assert isinstance(chosen, Notify)
    assert chosen.kind is NoticeKind.CONNECT_CONFERENCING
    assert isinstance(remedy(evidence), Reupsert)


# ---------------------------------------------------------------- where Cronofy may have to put the link


def test_a_place_in_the_body_is_named_where_nothing_else_explains_the_missing_link() -> None:
    located, far = replace(a_body(), sets_location=True), 9 * DAY
    absent, unexplained = some_evidence(pending=False, body=located), some_evidence(body=located, written_ago=far)
    assert "location" in str(getattr(remedy(absent), "reason", None))
    assert "location" in str(getattr(remedy(unexplained), "reason", None))
    assert remedy(some_evidence(pending=False)) == Report()
    assert "location" not in str(remedy(some_evidence(written_ago=far)))


# ---------------------------------------------------------------- what Cronofy has refused


@pytest.mark.parametrize(
    "evidence, expected",
    [
        (lost(ZOOM_3, ZOOM_2, rejections=[refused("pro_3")]), "pro_2"),
        (lost(ZOOM_2, MEET, TEAMS, rejections=[refused("pro_2")]), "default"),
        (lost(ZOOM_2, MEET, rejections=[refused("pro_2")]), "pro_8"),
        (lost(ZOOM_2, integrated=True, rejections=[refused("pro_2")]), "integrated"),
        (lost(MEET, TEAMS, integrated=True, rejections=[refused("default")]), "integrated"),
    ],
    ids=["the next of the provider", "then default", "then the only one left", "then integrated", "after default"],
)
def test_a_refused_profile_is_followed_by_the_next_that_fits(evidence: Evidence, expected: str) -> None:
    assert reupsert(evidence).profile_id == expected


@pytest.mark.parametrize(
    "evidence",
    [
        lost(ZOOM_2, rejections=[refused("pro_2")]),
        lost(MEET, TEAMS, rejections=[refused("default")]),
        lost(integrated=True, rejections=[refused("integrated")]),
        lost(MEET, TEAMS, integrated=True, rejections=[refused("default"), refused("integrated")]),
    ],
    ids=["the only profile", "default", "integrated", "default, then integrated"],
)
def test_once_everything_was_refused_the_person_is_asked(evidence: Evidence) -> None:
    chosen = remedy(evidence)
    assert isinstance(chosen, Notify)
    assert chosen.kind is NoticeKind.CONNECT_CONFERENCING


@pytest.mark.parametrize(
    "listed", [(ZOOM_2,), (ZOOM_2, ZOOM_3), (MEET, TEAMS), ()], ids=["one", "two", "others", "none"]
)
def test_a_body_that_cronofy_refused_is_reported_and_never_sent_with_another_profile(
    listed: tuple[ConferencingProfile, ...],
) -> None:
    evidence = lost(*listed, rejections=[refused("pro_9"), refused("pro_2", about_profile=False)])
    assert remedy(evidence) == Report("Cronofy rejects the stored body: errors.start")


def test_a_refusal_without_reasons_is_reported_as_such() -> None:
    bare = Rejection(ProfileId("pro_2"), (), about_profile=False)
    assert remedy(lost(ZOOM_2, rejections=[bare])) == Report("Cronofy rejects the stored body: no reason given")


# ---------------------------------------------------------------- before any re-upsert


@pytest.mark.parametrize("state", [s for s in BodyState if s is not BodyState.USABLE])
def test_an_event_without_a_usable_body_is_reported_with_the_reason(state: BodyState) -> None:
    chosen = remedy(lost(ZOOM_2, body=a_body(state, start=None, end=None)))
    assert isinstance(chosen, Report)
    assert "body" in (chosen.reason or "")


def test_each_unusable_body_has_a_reason_of_its_own() -> None:
    unusable = [s for s in BodyState if s is not BodyState.USABLE]
    assert len({remedy(lost(ZOOM_2, body=a_body(s))) for s in unusable}) == len(unusable)


@pytest.mark.parametrize("repairs, escalated", [(0, False), (2, False), (3, True), (4, True)])
def test_after_three_repairs_without_a_link_a_person_looks(repairs: int, escalated: bool) -> None:
    chosen = remedy(lost(ZOOM_2, repairs=repairs))
    assert isinstance(chosen, Escalate if escalated else Reupsert)
    if isinstance(chosen, Escalate):
        assert str(repairs) in chosen.reason


def test_how_many_repairs_are_too_many_is_the_policys() -> None:
    assert isinstance(remedy(lost(ZOOM_2, repairs=1), Policy(max_repairs_per_event=1)), Escalate)


# ---------------------------------------------------------------- drift

LATER, LATER_END = Instant(START.at + HOUR), Instant(END.at + HOUR)
DAY_ONE, DAY_TWO = AllDay(date(2026, 3, 5)), AllDay(date(2026, 3, 6))


@pytest.mark.parametrize(
    "start, end",
    [
        (LATER, LATER_END),
        (LATER, END),
        (START, LATER_END),
        (DAY_ONE, DAY_TWO),
        (Instant(START.at + timedelta(seconds=1)), END),
    ],
    ids=["moved", "start moved", "end moved", "made all-day", "by a second"],
)
def test_an_event_that_the_person_moved_is_written_at_the_calendars_times(start: EventTime, end: EventTime) -> None:
    read = found(start=start, end=end)
    assert reupsert(lost(ZOOM_2, read=read)).drift == Drift(read.start_text, read.end_text)


@pytest.mark.parametrize(
    "start, end",
    [(START, END), (Instant(START.at + timedelta(milliseconds=999)), END)],
    ids=["the same", "within the second"],
)
def test_an_event_that_stands_where_it_was_written_has_no_drift(start: EventTime, end: EventTime) -> None:
    assert reupsert(lost(ZOOM_2, read=found(start=start, end=end))).drift is None


def test_all_day_events_drift_by_the_day() -> None:
    body = a_body(start=DAY_ONE, end=DAY_TWO)
    stays = lost(ZOOM_2, read=found(start=DAY_ONE, end=DAY_TWO), body=body)
    moved = lost(ZOOM_2, read=found(start=DAY_TWO, end=DAY_TWO), body=body)
    assert reupsert(stays).drift is None
    assert reupsert(moved).drift == Drift("2026-03-06", "2026-03-06")


@pytest.mark.parametrize(
    "start, end, tzid",
    [
        ("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z", None),
        ("2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z", "Europe/Paris"),
        ("2026-03-04T23:00:00Z", "2026-03-05T23:00:00Z", "Europe/Paris"),
        ("2026-03-05T00:00:00+09:00", "2026-03-06T00:00:00+09:00", None),
    ],
)
def test_a_whole_day_that_is_shown_as_its_midnights_has_not_moved(start: str, end: str, tzid: str | None) -> None:
    begins, ends = parse_event_time(start), parse_event_time(end)
    read = replace(found(start=begins, end=ends), start_text=start, end_text=end)
    body = a_body(start=DAY_ONE, end=DAY_TWO, tzid=tzid)
    assert reupsert(lost(ZOOM_2, read=read, body=body)).drift is None
    turned = lost(ZOOM_2, read=found(start=DAY_ONE, end=DAY_TWO), body=a_body(start=begins, end=ends, tzid=tzid))
    if start.endswith("Z"):
        assert reupsert(turned).drift is None


def test_a_whole_day_that_is_shown_at_another_time_has_moved() -> None:
    read = found(start=Instant(NOW + DAY), end=Instant(NOW + DAY + HOUR))
    assert reupsert(lost(ZOOM_2, read=read, body=a_body(start=DAY_ONE, end=DAY_TWO))).drift is not None


def test_an_event_that_repeats_or_is_listed_at_several_times_keeps_its_stored_times() -> None:
    read = found(start=LATER, end=LATER_END)
    assert reupsert(lost(ZOOM_2, read=read, body=replace(a_body(), recurs=True))).drift is None
    assert reupsert(lost(ZOOM_2, read=replace(read, times_differ=True))).drift is None


def test_stored_times_that_have_passed_are_not_sent() -> None:
    body = replace(a_body(start=Instant(NOW - HOUR), end=Instant(NOW)), recurs=True)
    assert remedy(lost(ZOOM_2, body=body)) == Report("the stored start has passed")


@pytest.mark.parametrize("start, end", [(None, END), (START, None), (None, None)])
def test_a_body_without_times_is_sent_without_any(start: EventTime | None, end: EventTime | None) -> None:
    body = a_body(start=start, end=end)
    assert reupsert(lost(ZOOM_2, body=body, read=found(start=LATER))).drift is None


# ---------------------------------------------------------------- in words and as JSON

EVERY_REMEDY: tuple[Remedy, ...] = (
    Leave(),
    Settle(),
    Wait(),
    Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME),
    Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME, Drift("2026-03-05", "2026-03-06")),
    Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.CHANGED),
    Reupsert(ProfileId("default"), None, ProviderChange.UNKNOWN),
    Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME, undoes="run-1"),
    Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME, undoes="run-2"),
    Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME, restores=True),
    Notify(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"), "zoom"),
    Notify(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"), "zoom", (About(ProfileId("pro_2"), "zoom"),)),
    Notify(NoticeKind.RELINK_CALENDAR, ProfileId("pro_1"), "zoom"),
    Notify(NoticeKind.CONNECT_CONFERENCING),
    Park("invalid_grant"),
    Park("no usable token is stored"),
    Report(),
    Report("no stored body to send again"),
    Escalate("repaired 3 times without a link"),
)


def test_remedies_that_differ_are_stored_differently() -> None:
    stored = [json.dumps(remedy_json(r), sort_keys=True) for r in EVERY_REMEDY]
    assert len(set(stored)) == len(EVERY_REMEDY)


def test_what_is_stored_of_a_remedy_names_its_parts() -> None:
    drifted = Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.CHANGED, Drift("a", "b"))
    assert remedy_json(drifted) == {
        "remedy": "reupsert",
        "profile_id": "pro_2",
        "provider_name": "zoom",
        "provider_change": "changed",
        "drift": {"start": "a", "end": "b"},
    }
    assert remedy_json(Reupsert(ProfileId("default"), None, ProviderChange.UNKNOWN, undoes="run-1", restores=True)) == {
        "remedy": "reupsert",
        "profile_id": "default",
        "provider_name": None,
        "provider_change": "unknown",
        "undoes": "run-1",
        "restores": True,
    }
    assert remedy_json(Notify(NoticeKind.CONNECT_CONFERENCING)) == {
        "remedy": "notify",
        "kind": "connect_conferencing",
        "profile_id": None,
        "provider_name": None,
    }
    others = (About(ProfileId("pro_2"), "zoom"),)
    assert remedy_json(Notify(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"), "go_to", others)) == {
        "remedy": "notify",
        "kind": "relink_conferencing",
        "profile_id": "pro_1",
        "provider_name": "go_to",
        "others": [{"profile_id": "pro_2", "provider_name": "zoom"}],
    }
    assert remedy_json(Park("why")) == {"remedy": "park", "reason": "why"}
    assert remedy_json(Report("why")) == {"remedy": "report", "reason": "why"}
    assert remedy_json(Report()) == {"remedy": "report"}
    assert remedy_json(Wait()) == {"remedy": "wait"}


def test_every_kind_of_remedy_has_a_name_of_its_own() -> None:
    assert {type(r) for r in EVERY_REMEDY} == set(REMEDY_NAMES)
    assert len(set(REMEDY_NAMES.values())) == len(REMEDY_NAMES)


@pytest.mark.parametrize(
    "remedy_, text",
    [
        (Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME, Drift("a", "b")), "reupsert pro_2"),
        (Notify(NoticeKind.RELINK_CALENDAR, ProfileId("pro_1")), "notify relink_calendar pro_1"),
        (Notify(NoticeKind.CONNECT_CONFERENCING), "notify connect_conferencing"),
        (
            Notify(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"), None, (About(ProfileId("pro_2"), None),)),
            "notify relink_conferencing pro_1 pro_2",
        ),
        (Leave(), "leave"),
        (Settle(), "settle"),
        (Wait(), "wait"),
        (Park("why"), "park"),
        (Report("why"), "report"),
        (Escalate("why"), "escalate"),
    ],
)
def test_a_remedy_in_short_says_what_tells_it_from_the_one_before(remedy_: Remedy, text: str) -> None:
    assert remedy_text(remedy_) == text


# ---------------------------------------------------------------- properties


@given(strategies.evidence(), strategies.policies)
def test_every_finding_has_a_remedy_even_an_odd_one(evidence: Evidence, policy: Policy) -> None:
    for cause in Cause:
        assert type(choose(Finding(evidence, cause), policy)) in REMEDY_NAMES


@given(strategies.overdue_evidence() | strategies.evidence(), strategies.policies)
def test_only_an_event_that_was_found_ahead_and_without_a_link_is_written_again(
    evidence: Evidence, policy: Policy
) -> None:
    finding = classify(evidence, policy)
    chosen = choose(finding, policy)
    if not isinstance(chosen, Reupsert):
        return
    assert finding.cause not in SETTLED
    assert evidence.found is not None
    assert not evidence.found.deleted
    assert not evidence.found.cancelled
    assert not evidence.has_link
    assert not isinstance(evidence.found.start, Instant) or evidence.found.start.at > evidence.now
    assert evidence.body.state is BodyState.USABLE
    assert evidence.age >= policy.grace
    assert evidence.repairs < policy.max_repairs_per_event
    assert chosen.profile_id != evidence.asked or asks_a_word_again(finding)
    assert chosen.profile_id not in {r.profile_id for r in evidence.rejections}


@given(strategies.overdue_evidence() | strategies.evidence(), strategies.policies)
def test_a_settled_cause_settles_and_nothing_else_does(evidence: Evidence, policy: Policy) -> None:
    finding = classify(evidence, policy)
    assert isinstance(choose(finding, policy), Settle) is (finding.cause in SETTLED)


@given(
    st.sampled_from((Cause.PROVIDER_RETIRED, Cause.PROFILE_REMOVED, Cause.INTEGRATED_UNAVAILABLE)),
    strategies.overdue_evidence() | strategies.evidence(),
    strategies.policies,
)
def test_the_replacement_is_never_the_lost_nor_a_refused_nor_a_disconnected_profile(
    cause: Cause, evidence: Evidence, policy: Policy
) -> None:
    chosen = replacement_for(Finding(evidence, cause), policy)
    if chosen is None:
        return
    assert chosen.profile_id != evidence.asked or asks_a_word_again(Finding(evidence, cause))
    assert chosen.profile_id not in {r.profile_id for r in evidence.rejections}
    assert evidence.roster is not None
    assert chosen.profile_id in {"default", "integrated", *(p.profile_id for p in evidence.roster.connected)}
    if policy.substitute is Substitute.SAME_PROVIDER:
        assert chosen.change is ProviderChange.SAME


@pytest.mark.parametrize("kind", [Reupsert, Notify, Report, Escalate])
def test_the_evidence_that_these_properties_draw_leads_to_each_remedy(kind: type[Remedy]) -> None:
    """Guards the properties above from passing on nothing."""
    generate_only = settings(derandomize=True, database=None, phases=[Phase.generate], max_examples=1000)
    drawn = find(strategies.overdue_evidence(), lambda e: isinstance(remedy(e), kind), settings=generate_only)
    assert isinstance(remedy(drawn), kind)
