"""What support is told of an event that was escalated: all they ask for, and nothing that is nobody's business."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from reconciler.domain.casework import Case, Tried
from reconciler.domain.event import Absent, Assigned, Conferencing, Pending
from reconciler.domain.evidence import Evidence, KnownProfile, NotListed
from reconciler.domain.ids import ProfileId
from reconciler.domain.policy import Policy
from reconciler.domain.support import support_details, support_text
from tests import strategies
from tests.builders import (
    DAY,
    HOUR,
    NOW,
    POLICY,
    a_body,
    a_case,
    a_caseload,
    a_profile,
    an_event,
    found,
    pushed,
    some_evidence,
    some_profiles,
)


def told(evidence: Evidence | None = None, case: Case | None = None, policy: Policy = POLICY) -> dict[str, Any]:
    case = case or a_case()
    return support_details(case, a_caseload(case), evidence or some_evidence(), policy, NOW - HOUR)


def test_it_names_account_event_profile_and_times() -> None:
    read = replace(found(), event_uid="evt_external_1")
    assert told(some_evidence(read=read, written_ago=2 * DAY)) == {
        "send_to": "support@cronofy.com",
        "account_id": "acc_1",
        "data_center": "us",
        "calendar_id": "cal_1_a",
        "event_id": "evt-1",
        "event_uid": "evt_external_1",
        "start": "2026-03-05T09:00:00+00:00",
        "profile_id": "pro_1",
        "profile_connected": True,
        "profile_listed": True,
        "provider_name": "zoom",
        "conferencing": "pending",
        "written_at": "2026-02-28T09:00:00Z",
        "read_at": "2026-03-02T09:00:00Z",
        "pending_since": "2026-03-02T08:00:00Z",
        "grace_seconds": 900,
        "location_set": False,
        "repairs": [],
        "notifications": [],
    }


def test_repairs_say_when_which_profile_and_how_cronofy_answered() -> None:
    tried = (
        Tried(NOW - 3 * HOUR, ProfileId("pro_2"), "rejected", ("errors.not_recognized",)),
        Tried(NOW - 2 * HOUR, ProfileId("pro_3"), "applied"),
    )
    case = replace(a_case(intended_at=NOW - HOUR, intended_profile=ProfileId("pro_4")), tried=tried)
    assert told(case=case)["repairs"] == [
        {
            "at": "2026-03-02T06:00:00Z",
            "profile_id": "pro_2",
            "answer": "rejected",
            "keys": ["errors.not_recognized"],
        },
        {"at": "2026-03-02T07:00:00Z", "profile_id": "pro_3", "answer": "applied", "keys": []},
        {"at": "2026-03-02T08:00:00Z", "profile_id": "pro_4", "answer": "in_doubt", "keys": []},
    ]


def test_notifications_are_told_with_their_subtype() -> None:
    details = told(some_evidence(notified=[pushed(), pushed("profile_missing", ago=HOUR)]))
    assert [(n["at"], n["subtype"]) for n in details["notifications"]] == [
        ("2026-03-02T08:59:00Z", None),
        ("2026-03-02T08:00:00Z", "profile_missing"),
    ]


@pytest.mark.parametrize(
    "evidence, state",
    [
        (some_evidence(), "connected"),
        (some_evidence(roster=some_profiles(a_profile(connected=False))), "disconnected"),
        (some_evidence(roster=some_profiles()), "not listed by userinfo"),
        (some_evidence(roster=None), "not known"),
        (some_evidence(asked="default"), "not known"),
    ],
)
def test_the_state_of_the_profile_is_said_in_words(evidence: Evidence, state: str) -> None:
    assert f"Profile state:                {state}\n" in support_text(told(evidence))


@pytest.mark.parametrize(
    "evidence, case, provider",
    [
        (some_evidence(), a_case(), "zoom"),
        (some_evidence(roster=some_profiles(), previous=KnownProfile("go_to", "Ann")), a_case(), "go_to"),
        (some_evidence(roster=None), a_case(asked_provider="webex"), "webex"),
        (some_evidence(roster=None), a_case(), None),
    ],
)
def test_the_provider_is_the_one_listed_else_the_last_one_known(
    evidence: Evidence, case: Case, provider: str | None
) -> None:
    assert told(evidence, case)["provider_name"] == provider


def test_what_is_not_known_is_said_to_be_so() -> None:
    case = a_case(an_event())
    details = support_details(case, a_caseload(case), some_evidence(read=NotListed(2)), POLICY, None)
    assert details["conferencing"] == "not listed"
    text = support_text(details)
    for title in ("Event uid", "Start", "First seen without a link at"):
        assert f"{title + ':':<30}not known\n" in text
    assert "Written again:                never" in text
    assert "Notified by Cronofy:          never" in text


def test_the_text_holds_every_detail() -> None:
    tried = (Tried(NOW - HOUR, ProfileId("pro_2"), "in_doubt"), Tried(NOW, ProfileId("pro_2"), "rejected", ("a", "b")))
    case = replace(a_case(), tried=tried)
    grace = Policy(grace=timedelta(minutes=1))
    text = support_text(told(some_evidence(notified=[pushed("profile_missing")]), case, grace))
    assert text.splitlines()[0] == "Account (sub):                acc_1"
    assert "Last written by us at:        2026-03-02T08:00:00Z\n" in text
    assert "First seen without a link at: 2026-03-02T08:00:00Z\n" in text
    assert "Normal waiting time:          60 s after a write" in text
    assert text.endswith(
        "Written again:                2026-03-02T08:00:00Z asking for pro_2: in doubt\n"
        "                              2026-03-02T09:00:00Z asking for pro_2: rejected (a, b)\n"
        "Notified by Cronofy:          2026-03-02T08:59:00Z conferencing_failing profile_missing"
    )


def test_a_place_in_the_body_is_named() -> None:
    details = told(some_evidence(body=replace(a_body(), sets_location=True)))
    assert details["location_set"] is True
    assert "Location:                     set by the body that was written\n" in support_text(details)
    assert "Location:" not in support_text(told())
    del details["location_set"]  # as an entry of an older version has it
    assert "Location:" not in support_text(details)


@given(strategies.evidence() | strategies.overdue_evidence(), strategies.policies)
def test_whatever_the_evidence_there_is_plain_json_and_text_without_a_link(evidence: Evidence, policy: Policy) -> None:
    details = told(evidence, policy=policy)
    assert json.loads(json.dumps(details, allow_nan=False)) == details
    assert "http" not in json.dumps(details) + support_text(details)


@pytest.mark.parametrize(
    "conferencing, word", [(Pending(), "pending"), (Absent(), "absent"), (Assigned("https://z/1", None), "assigned")]
)
def test_it_says_what_the_calendar_shows(conferencing: Conferencing, word: str) -> None:
    assert told(some_evidence(read=found(conferencing)))["conferencing"] == word


def test_a_lost_answer_is_listed_once() -> None:
    case = a_case(intended_at=NOW - HOUR, intended_profile=ProfileId("pro_4"))
    assert [repair["answer"] for repair in told(case=case)["repairs"]] == ["in_doubt"]
    said = replace(case, tried=(Tried(NOW - HOUR, ProfileId("pro_4"), "in_doubt"),))
    assert [repair["answer"] for repair in told(case=said)["repairs"]] == ["in_doubt"]
