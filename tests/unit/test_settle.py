"""What is recorded of one account: states, audit entries, corrections, notices and counters."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.domain.audit import AuditTag
from reconciler.domain.casework import Caseload, Correction, UnitError
from reconciler.domain.cause import Cause, classify
from reconciler.domain.event import summary_digest
from reconciler.domain.evidence import Evidence, ReadBack, Unauthorized, Unreadable
from reconciler.domain.evidence_json import evidence_from, evidence_json
from reconciler.domain.ids import EventKey, ProfileId
from reconciler.domain.notice import Notice, NoticeChanges, Subject
from reconciler.domain.outcome import Applied, InDoubt, Outcome, Rejected, Unneeded, Unsent
from reconciler.domain.remedy import Leave, NoticeKind, ProviderChange, Reupsert, Settle, choose, remedy_json
from reconciler.domain.roster import Roster
from reconciler.domain.state import EventState
from reconciler.domain.times import Instant
from reconciler.pipeline.judge import Judged, restored
from reconciler.pipeline.settle import Attempt, Settled, settle
from tests import strategies
from tests.builders import (
    ACCOUNT,
    DAY,
    HOUR,
    LINK,
    MINUTE,
    NOW,
    POLICY,
    RUN,
    START,
    a_body,
    a_case,
    a_caseload,
    a_key,
    a_profile,
    a_roster,
    an_event,
    found,
    judged,
    linked,
    refused,
    some_evidence,
    some_profiles,
)

LATER = NOW + timedelta(seconds=5)
"""When it is recorded: a little after the moment of decision."""

RELINK_URL = "https://relink.example/secret"
DOWN = some_evidence(roster=some_profiles(a_profile(connected=False)))
ROSTER = a_roster(a_profile(connected=False), relink_urls={"pro_1": RELINK_URL})
LOST = some_evidence(roster=some_profiles(a_profile("pro_2")))
"""Asks for `pro_1`, which is gone; `pro_2` replaces it."""


def item(evidence: Evidence | None = None, event_id: str = "evt-1", **known: Any) -> Judged:
    """A verdict about an event of which that is on record."""
    return judged(evidence, a_case(an_event(event_id), **known))


def settled(
    *decided: Judged,
    held: Sequence[Judged] = (),
    outcomes: Mapping[EventKey, Outcome] | None = None,
    kept: Sequence[Judged] = (),
    roster: Roster | None = None,
    open_notices: Sequence[Notice] = (),
    drifted: Sequence[Judged] = (),
) -> Settled:
    """What comes of these verdicts."""
    everything = (*decided, *held, *drifted)
    caseload: Caseload = a_caseload(*(i.case for i in everything), open_notices=open_notices)
    done = {i.key: [(i, outcomes[i.key], LATER)] for i in decided if outcomes and i.key in outcomes}
    return settle(caseload, decided, held, done, kept, roster, LATER, POLICY, drifted)


def only_state(result: Settled) -> EventState:
    (state,) = result.states
    return state


def tags(result: Settled) -> list[AuditTag]:
    return [entry.tag for entry in result.entries]


def nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: n for name, n in counts.items() if n}


# ---------------------------------------------------------------- verdicts


def test_a_new_verdict_is_recorded_with_all_it_rests_on() -> None:
    one = item(cause=Cause.SETTLING, remedy="wait")
    result = settled(one)
    (entry,) = result.entries
    assert entry.tag is AuditTag.EVENT_JUDGED
    assert (entry.at, entry.run_id, entry.account_id, entry.key) == (LATER, RUN, ACCOUNT, a_key())
    assert (entry.cause, entry.remedy, entry.outcome) == (Cause.UNEXPLAINED, "wait", None)
    assert entry.evidence == evidence_json(one.evidence)
    assert entry.before == {"cause": "settling", "remedy": "wait"}
    assert entry.after == {"remedy": "wait"}
    assert only_state(result).cause is Cause.UNEXPLAINED


def test_the_first_verdict_about_an_event_has_nothing_before_it() -> None:
    (entry,) = settled(item()).entries
    assert entry.before is None


def test_a_verdict_that_stands_adds_no_entry_and_still_a_state() -> None:
    result = settled(item(cause=Cause.UNEXPLAINED, remedy="wait", conferencing="pending", unchanged_looks=1))
    assert result.entries == ()
    assert only_state(result).unchanged_looks == 2
    assert result.counts["causes"] == {"unexplained": 1}


def test_what_was_not_read_leaves_no_trace_but_in_the_counters() -> None:
    result = settled(item(some_evidence(read=Unreadable("timeout", "no answer"))))
    assert (result.states, result.entries, result.notices) == ((), (), NoticeChanges())
    assert result.counts["causes"] == {"unreadable": 1}
    assert nonzero(result.counts["outcomes"]) == {}


def test_an_escalation_is_an_entry_of_its_own_kind() -> None:
    result = settled(item(some_evidence(written_ago=2 * DAY), cause=Cause.UNEXPLAINED, remedy="wait"))
    (entry,) = result.entries
    assert entry.tag is AuditTag.EVENT_ESCALATED
    assert entry.evidence is not None
    assert entry.after is not None
    assert entry.after["reason"]
    assert entry.after["support"]["account_id"] == ACCOUNT
    assert entry.after["support"]["pending_since"] == "2026-03-02T09:00:00Z"


@pytest.mark.parametrize(
    "evidence, counted",
    [
        (some_evidence(read=linked()), {"recovered": 1}),
        (some_evidence(open_incidents=("zoom",)), {"still_failing": 1}),
        (some_evidence(), {"still_failing": 1}),
        (DOWN, {"newly_explained": 1}),
        (some_evidence(read=found(deleted=True)), {"over": 1}),
        (some_evidence(read=Unreadable("timeout", "no answer")), {}),
    ],
)
def test_it_is_counted_what_became_of_an_event_that_waited_for_its_provider(
    evidence: Evidence, counted: dict[str, int]
) -> None:
    assert settled(item(evidence, cause=Cause.PROVIDER_OUTAGE, remedy="wait")).counts["outage"] == counted
    assert settled(item(evidence, cause=Cause.UNEXPLAINED, remedy="wait")).counts["outage"] == {}


def test_a_verdict_that_waits_for_the_end_of_the_run_is_not_counted_yet() -> None:
    held = item(cause=Cause.PROVIDER_OUTAGE, remedy="wait")
    assert settled(held=[held]).counts["outage"] == {}


@pytest.mark.parametrize(
    "evidence, kind",
    [
        (some_evidence(read=linked()), "write_crossed_write"),
        (some_evidence(), None),
        (some_evidence(read=found(deleted=True)), None),
    ],
)
def test_a_link_on_what_the_application_wrote_meanwhile_is_for_somebody_to_check(
    evidence: Evidence, kind: str | None
) -> None:
    one = judged(evidence, a_case(overtaken=True))
    result = settled(one)
    assert (result.error.kind if result.error else None) == kind
    assert settled(item(evidence)).error is None


@pytest.mark.parametrize("moved", [False, True])
def test_a_link_on_what_was_perhaps_overtaken_is_to_be_checked_if_it_stands_at_another_time(moved: bool) -> None:
    read = replace(linked(), start=Instant(NOW + DAY), end=Instant(NOW + DAY + HOUR)) if moved else linked()
    result = settled(judged(some_evidence(read=read), replace(a_case(overtaken=True), perhaps=True)))
    assert (result.error is not None) is moved
    assert (AuditTag.REPAIR_OVERTAKEN in tags(result)) is moved


def shown_as(summary: str, *, moved: bool = False) -> Judged:
    """An event that was perhaps overtaken, written anew as `new`, as the calendar shows it."""
    read = found(start=Instant(NOW + DAY), end=Instant(NOW + DAY + HOUR)) if moved else found()
    read = replace(read, summary_digest=summary_digest(summary))
    body = replace(a_body(), summary_digest=summary_digest("new"))
    return judged(some_evidence(read=read, body=body), replace(a_case(overtaken=True), perhaps=True))


def test_what_was_perhaps_overtaken_and_is_shown_as_written_is_judged_like_any_other() -> None:
    as_written, other, moved = shown_as("new"), shown_as("old"), shown_as("new", moved=True)
    assert restored(as_written).remedy == as_written.remedy
    assert tags(settled(restored(as_written))) == [AuditTag.EVENT_JUDGED]
    assert isinstance(restored(other).remedy, Reupsert)
    assert isinstance(restored(moved).remedy, Reupsert)


def test_what_was_perhaps_overtaken_and_has_no_link_is_sent_again() -> None:
    one = restored(shown_as("old"))
    assert isinstance(one.remedy, Reupsert)
    assert one.remedy.restores
    assert tags(settled(one, outcomes={one.key: Applied()})) == [AuditTag.REPAIR_OVERTAKEN, AuditTag.REPAIR_APPLIED]


def test_only_an_escalation_holds_what_support_asks_for() -> None:
    for evidence in (some_evidence(), DOWN, LOST, some_evidence(read=linked())):
        assert all("support" not in (entry.after or {}) for entry in settled(item(evidence)).entries)


def test_events_settled_for_the_first_time_are_counted() -> None:
    result = settled(
        item(some_evidence(read=linked()), "evt-1"),
        item(some_evidence(read=found(deleted=True)), "evt-2"),
        item(some_evidence(read=linked()), "evt-3", settled_at=NOW - DAY, cause=Cause.ASSIGNED, remedy="settle"),
        item(some_evidence(), "evt-4"),
    )
    assert result.newly_settled == 2


@pytest.mark.parametrize(
    "evidence, counted",
    [
        (some_evidence(), {"waiting": 1}),
        (some_evidence(written_ago=MINUTE), {"waiting": 1}),
        (DOWN, {"noticed": 1}),
        (some_evidence(read=Unauthorized("invalid_grant")), {"noticed": 1}),
        (some_evidence(pending=False), {"reported": 1}),
        (some_evidence(written_ago=2 * DAY), {"escalated": 1}),
        (some_evidence(read=linked()), {}),
    ],
    ids=["wait", "settling", "notify", "park", "report", "escalate", "settle"],
)
def test_each_remedy_counts_as_its_outcome(evidence: Evidence, counted: dict[str, int]) -> None:
    assert nonzero(settled(item(evidence)).counts["outcomes"]) == counted


# ---------------------------------------------------------------- writes


@pytest.mark.parametrize(
    "outcome, tag, word, detail, counted",
    [
        (Applied(), AuditTag.REPAIR_APPLIED, "applied", {}, {"repaired": 1}),
        (
            Rejected(422, ("errors.not_recognized",)),
            AuditTag.REPAIR_REJECTED,
            "rejected",
            {"status": 422, "keys": ["errors.not_recognized"]},
            {"repair_rejected": 1},
        ),
        (InDoubt("timeout"), AuditTag.REPAIR_IN_DOUBT, "in_doubt", {"reason": "timeout"}, {"repair_in_doubt": 1}),
        (Unsent("busy"), AuditTag.REPAIR_UNSENT, "unsent", {"reason": "busy"}, {}),
        (Unneeded("cancelled"), AuditTag.REPAIR_UNNEEDED, "unneeded", {"reason": "cancelled"}, {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Outcome) else None,
)
def test_each_outcome_of_a_write_has_its_entry(
    outcome: Outcome, tag: AuditTag, word: str, detail: dict[str, object], counted: dict[str, int]
) -> None:
    one = item(LOST)
    result = settled(one, outcomes={one.key: outcome})
    (entry,) = result.entries
    assert (entry.tag, entry.outcome, entry.remedy, entry.cause) == (tag, word, "reupsert", Cause.PROFILE_REMOVED)
    assert entry.after == {**remedy_json(one.remedy), **detail}
    assert entry.before is not None
    assert entry.before["profile_id"] == "pro_1"
    assert nonzero(result.counts["outcomes"]) == counted


def test_an_accepted_write_corrects_the_applications_row_as_of_the_write_it_was_based_on() -> None:
    one = item(LOST)
    result = settled(one, outcomes={one.key: Applied()})
    assert result.corrections == (Correction(one.key, ProfileId("pro_2"), one.case.event.written_at),)
    assert result.error is None
    state = only_state(result)
    assert (state.repairs, state.repaired_at, state.next_read_at) == (1, LATER, LATER)
    assert (state.cause, state.remedy) == (Cause.PROFILE_REMOVED, "reupsert pro_2")


@pytest.mark.parametrize("outcome", [Rejected(422), InDoubt("timeout"), Unsent("busy"), Unneeded("cancelled")])
def test_nothing_but_an_accepted_write_corrects_the_applications_row(outcome: Outcome) -> None:
    one = item(LOST)
    result = settled(one, outcomes={one.key: outcome})
    assert result.corrections == ()
    assert only_state(result).repairs == 0


@pytest.mark.parametrize(
    "outcome, error",
    [
        (InDoubt("timeout"), UnitError("write_in_doubt", "whether a re-upsert was carried out is not known: timeout")),
        (Unsent("busy"), UnitError("write_failed", "a re-upsert was not carried out: busy")),
        (Rejected(422), None),
        (Unneeded("cancelled"), None),
    ],
)
def test_a_write_that_did_not_get_through_leaves_the_account_to_do(outcome: Outcome, error: UnitError | None) -> None:
    one = item(LOST)
    assert settled(one, outcomes={one.key: outcome}).error == error


def test_a_refused_profile_is_remembered_for_the_next_decision() -> None:
    one = item(LOST)
    rejected = Rejected(422, ("errors.not_recognized",))
    assert only_state(settled(one, outcomes={one.key: rejected})).rejections == (refused("pro_2"),)


def test_repairs_that_a_limit_kept_back_leave_the_events_as_they_were() -> None:
    one, other = item(LOST, "evt-1"), item(LOST, "evt-2")
    result = settled(one, other, outcomes={other.key: Applied()}, kept=[one])
    assert [s.key for s in result.states] == [other.key]
    assert [e.key for e in result.entries] == [other.key]
    assert result.kept == [one]
    assert result.counts["causes"] == {"profile_removed": 2}
    assert nonzero(result.counts["outcomes"]) == {"repaired": 1}


# ---------------------------------------------------------------- doubts and confirmations


def test_a_link_after_a_repair_confirms_it() -> None:
    result = settled(item(some_evidence(read=linked(), asked="pro_2"), repaired_at=NOW - HOUR, repairs=1))
    assert tags(result) == [AuditTag.EVENT_JUDGED, AuditTag.EVENT_CONFIRMED]
    assert result.entries[1].after == {"profile_id": "pro_2"}
    assert nonzero(result.counts["outcomes"]) == {"confirmed": 1}
    assert only_state(result).confirmed_at == NOW


def test_a_repair_without_a_link_yet_is_not_confirmed() -> None:
    result = settled(item(repaired_at=NOW - HOUR, repairs=1))
    assert AuditTag.EVENT_CONFIRMED not in tags(result)
    assert "confirmed" not in nonzero(result.counts["outcomes"])


def test_a_link_seen_again_is_not_confirmed_again() -> None:
    known: dict[str, Any] = {
        "repaired_at": NOW - DAY,
        "confirmed_at": NOW - HOUR,
        "cause": Cause.ASSIGNED,
        "remedy": "settle",
    }
    result = settled(item(some_evidence(read=linked()), settled_at=NOW - HOUR, **known))
    assert result.entries == ()


UNCORRECTED: dict[str, Any] = {"uncorrected": ProfileId("pro_1"), "uncorrected_reason": "a trigger"}


def test_a_refused_correction_is_tried_again_at_the_next_look() -> None:
    one = item(some_evidence(read=linked()), **UNCORRECTED)
    result = settled(one)
    assert result.corrections == (
        Correction(one.key, ProfileId("pro_1"), one.case.event.written_at, refused="a trigger"),
    )
    assert only_state(result).uncorrected == "pro_1"


@pytest.mark.parametrize("read", [found(deleted=True), Unreadable("timeout", "late"), Unauthorized("revoked")])
def test_a_refused_correction_is_left_where_the_event_is_gone_or_was_not_read(read: ReadBack) -> None:
    assert settled(item(some_evidence(read=read), **UNCORRECTED)).corrections == ()


def test_an_accepted_write_takes_the_place_of_a_refused_correction() -> None:
    one = item(LOST, **UNCORRECTED)
    result = settled(one, outcomes={one.key: Applied()})
    assert result.corrections == (Correction(one.key, ProfileId("pro_2"), one.case.event.written_at),)
    assert only_state(result).uncorrected is None


def test_a_write_that_a_link_proves_takes_the_place_of_a_refused_correction() -> None:
    one = item(some_evidence(read=linked()), **IN_DOUBT, **UNCORRECTED)
    result = settled(one)
    assert [c.refused for c in result.corrections] == [None]
    assert only_state(result).uncorrected is None


def test_what_is_said_of_a_write_goes_by_the_applications_time_and_not_by_one_given_on_our_correction() -> None:
    one = item(LOST, stamped_from=NOW - DAY)
    (entry,) = settled(one, outcomes={one.key: Applied()}).entries
    assert entry.before == {"profile_id": "pro_1", "written_at": (NOW - DAY).isoformat()}


IN_DOUBT: dict[str, Any] = {"intended_at": NOW - HOUR, "intended_profile": ProfileId("pro_2")}


def test_a_link_proves_a_write_whose_answer_was_lost() -> None:
    one = item(some_evidence(read=linked()), **IN_DOUBT)
    result = settled(one)
    assert tags(result) == [AuditTag.REPAIR_APPLIED, AuditTag.EVENT_JUDGED, AuditTag.EVENT_CONFIRMED]
    assert (result.entries[0].outcome, result.entries[0].after) == ("applied", {"profile_id": "pro_2"})
    assert result.corrections == (Correction(one.key, ProfileId("pro_2"), one.case.event.written_at),)
    assert nonzero(result.counts["outcomes"]) == {"repaired": 1, "confirmed": 1}


def test_a_second_repair_is_confirmed_though_an_earlier_one_was() -> None:
    known: dict[str, Any] = {"repaired_at": NOW - 2 * DAY, "confirmed_at": NOW - DAY, "repairs": 1}
    result = settled(item(some_evidence(read=linked()), **IN_DOUBT, **known))
    assert AuditTag.EVENT_CONFIRMED in tags(result)
    assert nonzero(result.counts["outcomes"])["confirmed"] == 1


def test_without_a_link_a_lost_answer_stays_in_doubt_and_the_question_is_closed() -> None:
    result = settled(item(**IN_DOUBT))
    assert tags(result) == [AuditTag.REPAIR_IN_DOUBT, AuditTag.EVENT_JUDGED]
    assert result.entries[0].outcome == "in_doubt"
    assert result.corrections == ()
    assert only_state(result).intended_at is None


def test_an_intent_that_names_no_profile_states_nothing() -> None:
    assert tags(settled(item(intended_at=NOW - HOUR))) == [AuditTag.EVENT_JUDGED]


def test_an_unread_account_leaves_a_doubt_for_the_next_look() -> None:
    assert settled(item(some_evidence(read=Unreadable("timeout", "")), **IN_DOUBT)).entries == ()


def test_a_write_of_the_application_that_overtook_ours_is_told() -> None:
    one = item(overtaken=True)
    result = settled(one)
    assert tags(result) == [AuditTag.REPAIR_OVERTAKEN, AuditTag.EVENT_JUDGED]
    assert result.entries[0].after == {"written_at": one.case.event.written_at.isoformat()}


def test_the_applications_body_that_is_put_back_is_no_repair() -> None:
    one = restored(item(overtaken=True))
    result = settled(one, outcomes={one.key: Applied()})
    assert tags(result) == [AuditTag.REPAIR_OVERTAKEN, AuditTag.REPAIR_APPLIED]
    assert nonzero(result.counts["outcomes"]) == {}


# ---------------------------------------------------------------- held and drifted


def test_a_held_verdict_is_not_told_yet() -> None:
    one = item(conferencing="absent", cause=Cause.SETTLING, remedy="wait")
    result = settled(held=[one])
    assert result.entries == ()
    assert result.counts["causes"] == {}
    state = only_state(result)
    assert (state.conferencing, state.cause, state.next_read_at) == ("pending", Cause.SETTLING, NOW)


def test_an_event_that_drifted_from_its_plan_is_told_and_left() -> None:
    one = item(LOST)
    result = settled(drifted=[one])
    assert result.states == ()
    (entry,) = result.entries
    assert entry.tag is AuditTag.PLAN_DRIFTED
    assert (entry.evidence, entry.after) == (evidence_json(one.evidence), remedy_json(one.remedy))
    assert result.counts["causes"] == {"profile_removed": 1}


# ---------------------------------------------------------------- notices

RELINK = Subject(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"))
AUTHORIZE = Subject(NoticeKind.REAUTHORIZE_ACCOUNT, None)
STARTS_AT = START.at


def test_a_notice_is_queued_with_its_relink_address_and_told_without() -> None:
    result = settled(item(DOWN), roster=ROSTER)
    (notice,) = result.notices.queue
    assert notice == Notice(RELINK, ((a_key(), STARTS_AT),), "zoom", RELINK_URL)
    assert tags(result) == [AuditTag.EVENT_JUDGED, AuditTag.NOTICE_QUEUED]
    assert result.entries[1].after == {
        "kind": "relink_conferencing",
        "profile_id": "pro_1",
        "events": ["cal_1_a/evt-1"],
    }
    assert (result.entries[1].account_id, result.entries[1].run_id, result.entries[1].key) == (ACCOUNT, RUN, None)
    assert result.counts["notices"] == {"queued": 1, "updated": 0, "resolved": 0}


def test_events_that_wait_for_the_same_person_share_a_notice() -> None:
    result = settled(item(DOWN, "evt-1"), item(DOWN, "evt-2"), roster=ROSTER)
    (notice,) = result.notices.queue
    assert [key for key, _ in notice.events] == [a_key("evt-1"), a_key("evt-2")]
    assert tags(result).count(AuditTag.NOTICE_QUEUED) == 1


def test_a_notice_about_no_profile_has_no_relink_address() -> None:
    integrated = some_evidence(asked="default", roster=some_profiles())
    (notice,) = settled(item(integrated), roster=ROSTER).notices.queue
    assert (notice.subject.kind, notice.relink_url) == (NoticeKind.RESTORE_LICENCE, None)


def test_without_a_roster_a_notice_has_no_relink_address() -> None:
    (notice,) = settled(item(DOWN)).notices.queue
    assert notice.relink_url is None


def test_an_open_notice_is_updated_by_another_event() -> None:
    known = Notice(RELINK, ((a_key("evt-1"), STARTS_AT),), "zoom", RELINK_URL)
    result = settled(item(DOWN, "evt-2"), roster=ROSTER, open_notices=[known])
    assert [n.subject for n in result.notices.update] == [RELINK]
    assert AuditTag.NOTICE_UPDATED in tags(result)
    assert result.counts["notices"] == {"queued": 0, "updated": 1, "resolved": 0}


def test_a_link_resolves_the_notice_that_waited_for_it() -> None:
    known = Notice(RELINK, ((a_key(), STARTS_AT),), "zoom", RELINK_URL)
    result = settled(item(some_evidence(read=linked())), open_notices=[known])
    assert result.notices == NoticeChanges(resolve=(RELINK,))
    assert tags(result) == [AuditTag.EVENT_JUDGED, AuditTag.NOTICE_RESOLVED]
    assert result.entries[1].after == {"kind": "relink_conferencing", "profile_id": "pro_1"}


@pytest.mark.parametrize("how", ["unread", "kept", "held", "drifted"])
def test_events_that_nothing_was_decided_about_keep_waiting_for_their_notices(how: str) -> None:
    known = [
        Notice(RELINK, ((a_key(), STARTS_AT),), "zoom", RELINK_URL),
        Notice(AUTHORIZE, ((a_key(), STARTS_AT),)),
    ]
    unread, lost, open_question = item(some_evidence(read=Unreadable("timeout", ""))), item(LOST), item()
    result = {
        "unread": lambda: settled(unread, open_notices=known),
        "kept": lambda: settled(lost, kept=[lost], open_notices=known),
        "held": lambda: settled(held=[open_question], open_notices=known),
        "drifted": lambda: settled(drifted=[lost], open_notices=known),
    }[how]()
    assert result.notices == NoticeChanges()


# ---------------------------------------------------------------- accounts

REVOKED = some_evidence(read=Unauthorized("invalid_grant"), roster=None)


def test_an_account_that_must_be_authorised_again_is_parked_once_for_all_its_events() -> None:
    result = settled(item(REVOKED, "evt-1"), item(REVOKED, "evt-2"))
    (notice,) = result.notices.queue
    assert notice.subject == AUTHORIZE
    assert len(notice.events) == 2
    parked = [e for e in result.entries if e.tag is AuditTag.ACCOUNT_PARKED]
    assert len(parked) == 1
    assert (parked[0].account_id, parked[0].key, parked[0].evidence) == (ACCOUNT, None, None)
    assert parked[0].after == {"remedy": "park", "reason": "invalid_grant"}


def test_an_account_that_can_be_read_again_need_not_be_authorised() -> None:
    known = Notice(AUTHORIZE, ((a_key("evt-9"), STARTS_AT),))
    assert settled(item(), open_notices=[known]).notices.resolve == (AUTHORIZE,)


def test_an_account_of_which_some_could_not_be_read_still_waits_to_be_authorised() -> None:
    known = Notice(AUTHORIZE, ((a_key("evt-1"), STARTS_AT), (a_key("evt-9"), STARTS_AT)))
    result = settled(item(REVOKED, "evt-1"), item(some_evidence(read=linked()), "evt-2"), open_notices=[known])
    assert result.notices == NoticeChanges()


# ---------------------------------------------------------------- properties

VERDICTS = st.lists(strategies.evidence() | strategies.overdue_evidence(), max_size=4).map(
    lambda every: [item(e, f"evt-{n}") for n, e in enumerate(every)]
)


def _answered(decided: Sequence[Judged], outcomes: Sequence[Outcome]) -> dict[EventKey, Outcome]:
    return {i.key: o for i, o in zip(decided, outcomes, strict=False) if isinstance(i.remedy, Reupsert)}


OUTCOMES = st.lists(strategies.outcomes, min_size=4, max_size=4)


@settings(max_examples=40)
@given(VERDICTS, OUTCOMES)
def test_every_event_that_was_read_has_a_state_and_every_cause_is_counted(
    decided: list[Judged], outcomes: list[Outcome]
) -> None:
    result = settled(*decided, outcomes=_answered(decided, outcomes))
    assert [s.key for s in result.states] == [i.key for i in decided if not isinstance(i.remedy, Leave)]
    assert sum(result.counts["causes"].values()) == len(decided)
    assert result.newly_settled == sum(isinstance(i.remedy, Settle) for i in decided)


@settings(max_examples=40)
@given(VERDICTS, OUTCOMES)
def test_each_write_has_one_outcome_in_the_trail_and_only_accepted_ones_correct_the_row(
    decided: list[Judged], outcomes: list[Outcome]
) -> None:
    answered = _answered(decided, outcomes)
    result = settled(*decided, outcomes=answered)
    told = [entry.key for entry in result.entries if entry.outcome is not None]
    assert sorted(k for k in told if k) == sorted(answered)
    assert [c.key for c in result.corrections] == [k for k, o in answered.items() if isinstance(o, Applied)]


@settings(max_examples=40)
@given(VERDICTS, OUTCOMES)
def test_nothing_secret_is_told_and_every_verdict_told_can_be_reached_again(
    decided: list[Judged], outcomes: list[Outcome]
) -> None:
    result = settled(*decided, outcomes=_answered(decided, outcomes), roster=ROSTER)
    for entry in result.entries:
        text = json.dumps([entry.evidence, entry.before, entry.after])
        assert "relink.example" not in text
        assert "video.example" not in text
        assert LINK not in text
        if entry.evidence is not None:
            finding = classify(evidence_from(entry.evidence), POLICY)
            said = {name: value for name, value in (entry.after or {}).items() if name != "support"}
            assert (finding.cause, remedy_json(choose(finding, POLICY))) == (entry.cause, said)


@settings(max_examples=40)
@given(VERDICTS)
def test_looking_again_at_the_same_tells_nothing_new(decided: list[Judged]) -> None:
    first = settled(*decided)
    states = {s.key: s for s in first.states}
    again = [replace(i, case=replace(i.case, state=states.get(i.key, i.case.state))) for i in decided]
    open_notices = [*first.notices.queue]
    second = settled(*again, open_notices=open_notices)
    assert [e.tag for e in second.entries if e.tag is not AuditTag.ACCOUNT_PARKED] == []
    assert second.notices == NoticeChanges()


def test_an_event_moved_past_its_start_by_the_person_is_settled_by_the_calendars_time() -> None:
    result = settled(item(some_evidence(read=found(start=Instant(NOW - HOUR)))))
    assert only_state(result).conferencing == "ignored"
    assert result.newly_settled == 1


def test_a_refused_profile_and_the_next_one_are_both_on_record() -> None:
    first = item(some_evidence(asked="pro_gone"))
    second = replace(first, remedy=Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME))
    refused = Rejected(422, ("errors.not_recognized",))
    attempts: dict[EventKey, list[Attempt]] = {first.key: [(first, refused, NOW), (second, Applied(), LATER)]}
    result = settle(a_caseload(first.case), [first], (), attempts, (), None, LATER, POLICY)
    assert tags(result) == [AuditTag.REPAIR_REJECTED, AuditTag.REPAIR_APPLIED]
    assert nonzero(result.counts["outcomes"]) == {"repaired": 1, "repair_rejected": 1}
    state = only_state(result)
    assert [r.profile_id for r in state.rejections] == [getattr(first.remedy, "profile_id", None)]
    assert (state.repairs, state.remedy) == (1, "reupsert pro_2")
