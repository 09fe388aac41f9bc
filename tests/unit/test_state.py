"""What is remembered of an event, and how a look and a write change it."""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.domain.cause import SETTLED, Cause, classify
from reconciler.domain.event import Absent, Assigned
from reconciler.domain.evidence import Evidence, Found, NotListed, Unreadable
from reconciler.domain.ids import ProfileId
from reconciler.domain.outcome import Applied, InDoubt, Outcome, Rejected, Unneeded, Unsent
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import ProviderChange, Reupsert, choose, remedy_text
from reconciler.domain.state import EventState, after_look, after_write, conferencing_word, decided_anew
from reconciler.domain.times import Instant
from tests import strategies
from tests.builders import (
    DAY,
    HOUR,
    LINK,
    MINUTE,
    NOW,
    POLICY,
    STARTS_IN,
    a_state,
    an_event,
    found,
    linked,
    refused,
    some_evidence,
)

WRITTEN_AT = NOW - HOUR
AGAIN = Reupsert(ProfileId("pro_2"), "zoom", ProviderChange.SAME)


def look(before: EventState, evidence: Evidence, *, held: bool = False, policy: Policy = POLICY) -> EventState:
    """The state after this evidence was judged."""
    finding = classify(evidence, policy)
    return after_look(before, an_event(), finding.cause, choose(finding, policy), evidence, held=held)


# ---------------------------------------------------------------- a newer write


def test_a_newer_write_starts_the_count_anew() -> None:
    known = a_state(
        conferencing="assigned",
        cause=Cause.ASSIGNED,
        repairs=2,
        repaired_at=NOW,
        confirmed_at=NOW,
        rejections=(refused("pro_2"),),
        pending_since=NOW,
        unchanged_looks=4,
        settled_at=NOW,
        intended_at=NOW,
        intended_profile=ProfileId("pro_2"),
        seen_written_at=WRITTEN_AT,
        asked_provider="zoom",
        uncorrected=ProfileId("pro_2"),
        uncorrected_reason="a constraint",
        stamped_from=WRITTEN_AT,
    )
    assert known.for_write(NOW) == a_state(
        conferencing="assigned", cause=Cause.ASSIGNED, seen_written_at=WRITTEN_AT, asked_provider="zoom"
    )


@given(strategies.event_states)
def test_the_same_write_changes_nothing(state: EventState) -> None:
    assert state.seen_written_at is None or state.for_write(state.seen_written_at) is state
    never_seen = replace(state, seen_written_at=None)
    assert never_seen.for_write(NOW) is never_seen


@pytest.mark.parametrize(
    "repaired, confirmed, awaited", [(None, None, False), (NOW, None, True), (NOW, NOW, False), (None, NOW, False)]
)
def test_a_repair_awaits_confirmation_until_a_read_shows_the_link(
    repaired: datetime | None, confirmed: datetime | None, awaited: bool
) -> None:
    assert a_state(repaired_at=repaired, confirmed_at=confirmed).awaits_confirmation is awaited


# ---------------------------------------------------------------- the word for what was read


@pytest.mark.parametrize(
    "evidence, word",
    [
        (some_evidence(), "pending"),
        (some_evidence(pending=False), "absent"),
        (some_evidence(read=linked()), "assigned"),
        (some_evidence(read=found(deleted=True)), "gone"),
        (some_evidence(read=NotListed(2)), "gone"),
        (some_evidence(read=NotListed(1)), "before"),
        (some_evidence(read=Unreadable("timeout", "")), "before"),
        (some_evidence(read=found(start=Instant(NOW))), "ignored"),
        (some_evidence(read=NotListed(1), starts_in=-HOUR), "ignored"),
    ],
    ids=["pending", "absent", "linked", "deleted", "missing", "missing once", "unread", "past", "past, not listed"],
)
def test_one_word_says_what_was_read(evidence: Evidence, word: str) -> None:
    assert conferencing_word(classify(evidence, POLICY).cause, evidence, "before") == word


# ---------------------------------------------------------------- after a look


def test_the_first_look_at_a_pending_event_remembers_since_when() -> None:
    evidence = some_evidence()
    finding = classify(evidence, POLICY)
    assert after_look(a_state(), an_event(), finding.cause, choose(finding, POLICY), evidence) == a_state(
        conferencing="pending",
        cause=Cause.UNEXPLAINED,
        remedy="wait",
        asked_provider="zoom",
        read_at=NOW,
        pending_since=NOW,
        next_read_at=NOW + 5 * MINUTE,
        seen_written_at=WRITTEN_AT,
    )


def test_a_link_is_recorded_and_the_event_settled() -> None:
    before = a_state(
        conferencing="pending", cause=Cause.UNEXPLAINED, pending_since=NOW - HOUR, next_read_at=NOW, unchanged_looks=3
    )
    after = look(before, some_evidence(read=linked("google_meet")))
    assert (after.conferencing, after.join_url, after.provider_name) == ("assigned", LINK, "google_meet")
    assert (after.cause, after.remedy) == (Cause.ASSIGNED, "settle")
    assert (after.settled_at, after.next_read_at, after.pending_since) == (NOW, None, None)


def test_a_link_that_has_gone_is_forgotten_but_not_its_provider() -> None:
    before = a_state(conferencing="assigned", join_url=LINK, provider_name="zoom", settled_at=NOW - DAY)
    after = look(before, some_evidence())
    assert (after.conferencing, after.join_url, after.provider_name) == ("pending", None, "zoom")
    assert after.settled_at is None
    assert after.next_read_at is not None


def test_pending_since_stays_while_it_is_pending_and_ends_with_it() -> None:
    before = a_state(conferencing="pending", pending_since=NOW - DAY)
    assert look(before, some_evidence()).pending_since == NOW - DAY
    assert look(before, some_evidence(read=NotListed(1))).pending_since == NOW - DAY
    assert look(before, some_evidence(pending=False)).pending_since is None


def test_the_provider_asked_for_is_remembered_where_it_is_not_known_this_time() -> None:
    before = a_state(asked_provider="zoom")
    assert look(before, some_evidence(roster=None)).asked_provider == "zoom"
    assert look(a_state(), some_evidence(roster=None)).asked_provider is None


def test_looks_that_change_nothing_are_counted_and_space_out() -> None:
    state, times = a_state(), []
    for _ in range(4):
        state = look(state, some_evidence())
        times.append(state.next_read_at)
    assert state.unchanged_looks == 3
    assert times == [NOW + n * MINUTE for n in (5, 15, 60, 180)]


@pytest.mark.parametrize(
    "evidence",
    [some_evidence(pending=False), some_evidence(open_incidents=["zoom"]), some_evidence(written_ago=2 * DAY)],
    ids=["another conferencing", "another cause", "another remedy"],
)
def test_any_change_starts_the_gaps_anew(evidence: Evidence) -> None:
    before = replace(look(a_state(), some_evidence()), unchanged_looks=4)
    after = look(before, evidence)
    assert after.unchanged_looks == 0
    assert after.next_read_at == NOW + 5 * MINUTE


def test_misses_are_counted_only_in_a_row() -> None:
    once = look(a_state(), some_evidence(read=NotListed(1)))
    assert once.misses == 1
    assert look(once, some_evidence(read=NotListed(2))).misses == 2
    assert look(once, some_evidence()).misses == 0


@pytest.mark.parametrize(
    "before, evidence",
    [
        (a_state(), some_evidence(read=NotListed(1))),
        (a_state(repaired_at=NOW - HOUR), some_evidence()),
        (a_state(intended_at=NOW - HOUR), some_evidence()),
    ],
    ids=["missing once", "a repair to confirm", "a write in doubt"],
)
def test_what_is_in_doubt_is_due_at_once(before: EventState, evidence: Evidence) -> None:
    assert look(before, evidence).next_read_at == NOW


def test_once_missing_twice_it_is_no_longer_in_doubt() -> None:
    after = look(a_state(misses=1), some_evidence(read=NotListed(2)))
    assert after.cause is Cause.EVENT_MISSING
    assert after.next_read_at == NOW + 5 * MINUTE


@pytest.mark.parametrize(
    "before", [a_state(repaired_at=NOW - HOUR), a_state(intended_at=NOW - HOUR)], ids=["accepted", "answer lost"]
)
def test_a_link_confirms_the_repair_before_it(before: EventState) -> None:
    assert look(before, some_evidence(read=linked())).confirmed_at == NOW
    assert look(before, some_evidence()).confirmed_at is None


def test_a_link_without_a_repair_confirms_nothing() -> None:
    assert look(a_state(), some_evidence(read=linked())).confirmed_at is None
    confirmed = a_state(repaired_at=NOW - DAY, confirmed_at=NOW - HOUR)
    assert look(confirmed, some_evidence(read=linked())).confirmed_at == NOW - HOUR


def test_a_look_answers_an_intent_whose_outcome_was_lost() -> None:
    after = look(a_state(intended_at=NOW, intended_profile=ProfileId("pro_2")), some_evidence())
    assert (after.intended_at, after.intended_profile) == (None, None)


def test_a_held_look_keeps_what_was_seen_and_leaves_the_verdict_open() -> None:
    before = a_state(
        conferencing="absent",
        cause=Cause.SETTLING,
        remedy="wait",
        next_read_at=NOW - MINUTE,
        unchanged_looks=2,
        intended_at=NOW - HOUR,
        intended_profile=ProfileId("pro_2"),
    )
    assert look(before, some_evidence(), held=True) == replace(
        before,
        conferencing="pending",
        asked_provider="zoom",
        read_at=NOW,
        pending_since=NOW,
        seen_written_at=WRITTEN_AT,
        next_read_at=NOW,
    )


# ---------------------------------------------------------------- after a write


def test_an_accepted_repair_is_counted_and_awaits_its_link() -> None:
    before = a_state(repairs=1, repaired_at=NOW - DAY, confirmed_at=NOW - HOUR, unchanged_looks=4)
    after = after_write(before, Applied(), AGAIN, NOW)
    assert after == a_state(repairs=2, repaired_at=NOW, next_read_at=NOW)
    assert after.awaits_confirmation


def test_a_refused_repair_is_remembered_and_not_counted() -> None:
    before = a_state(rejections=(refused("pro_3"),), next_read_at=NOW + HOUR)
    after = after_write(before, Rejected(422, ("errors.not_recognized",)), AGAIN, NOW)
    assert after == replace(before, rejections=(refused("pro_3"), refused("pro_2")))


def test_a_lost_answer_is_remembered_and_due_at_once() -> None:
    after = after_write(a_state(), InDoubt("timeout"), AGAIN, NOW)
    assert after == a_state(intended_at=NOW, intended_profile=ProfileId("pro_2"), next_read_at=NOW)


@pytest.mark.parametrize("outcome", [Unsent("busy"), Unneeded("written meanwhile")])
def test_what_was_not_written_is_due_at_once_and_changes_nothing_else(outcome: Outcome) -> None:
    before = a_state(repairs=1, next_read_at=NOW + HOUR)
    assert after_write(before, outcome, AGAIN, NOW) == replace(before, next_read_at=NOW)


# ---------------------------------------------------------------- what the trail has to be told


@pytest.mark.parametrize(
    "before, after, anew",
    [
        (a_state(), a_state(cause=Cause.SETTLING, remedy="wait"), True),
        (a_state(cause=Cause.SETTLING, remedy="wait"), a_state(cause=Cause.SETTLING, remedy="wait"), False),
        (a_state(cause=Cause.SETTLING, remedy="wait"), a_state(cause=Cause.UNEXPLAINED, remedy="wait"), True),
        (a_state(cause=Cause.UNEXPLAINED, remedy="wait"), a_state(cause=Cause.UNEXPLAINED, remedy="escalate"), True),
        (
            a_state(cause=Cause.ASSIGNED, remedy="settle"),
            a_state(cause=Cause.ASSIGNED, remedy="settle", settled_at=NOW),
            True,
        ),
        (
            a_state(cause=Cause.ASSIGNED, remedy="settle", settled_at=NOW - DAY),
            a_state(cause=Cause.ASSIGNED, remedy="settle", settled_at=NOW),
            False,
        ),
    ],
    ids=["first", "unchanged", "another cause", "another remedy", "settled again after a write", "still settled"],
)
def test_only_what_is_decided_anew_is_told(before: EventState, after: EventState, anew: bool) -> None:
    assert decided_anew(before, after) is anew


# ---------------------------------------------------------------- properties


@settings(max_examples=50)
@given(strategies.event_states, strategies.evidence(), strategies.policies, st.booleans())
def test_a_look_writes_nothing_off(before: EventState, evidence: Evidence, policy: Policy, held: bool) -> None:
    after = look(before, evidence, held=held, policy=policy)
    for kept in ("key", "account_id", "repairs", "repaired_at", "rejections"):
        assert getattr(after, kept) == getattr(before, kept)
    shows_link = isinstance(evidence.read_back, Found) and isinstance(evidence.read_back.conferencing, Assigned)
    assert (after.join_url is not None) is shows_link
    assert after.read_at == evidence.now
    assert (after.pending_since is not None) is (after.conferencing == "pending")


@settings(max_examples=50)
@given(strategies.event_states, strategies.evidence(), strategies.policies)
def test_a_judged_event_is_either_settled_or_due_again(before: EventState, evidence: Evidence, policy: Policy) -> None:
    after = look(before, evidence, policy=policy)
    finding = classify(evidence, policy)
    assert after.cause is finding.cause
    assert after.remedy == remedy_text(choose(finding, policy))
    assert (after.settled_at is not None) is (finding.cause in SETTLED)
    assert (after.next_read_at is None) is (finding.cause in SETTLED)
    assert after.next_read_at is None or after.next_read_at >= evidence.now


@settings(max_examples=50)
@given(strategies.event_states, strategies.evidence(), strategies.policies)
def test_looking_twice_at_the_same_decides_nothing_new(before: EventState, evidence: Evidence, policy: Policy) -> None:
    once = look(before, evidence, policy=policy)
    assert not decided_anew(once, look(once, evidence, policy=policy))


@given(strategies.event_states, strategies.outcomes)
def test_no_write_that_was_not_accepted_counts_as_a_repair(before: EventState, outcome: Outcome) -> None:
    after = after_write(before, outcome, AGAIN, NOW)
    assert after.repairs == before.repairs + isinstance(outcome, Applied)
    assert len(after.rejections) == len(before.rejections) + isinstance(outcome, Rejected)
    unchanged = {"key", "account_id", "conferencing", "cause", "remedy", "join_url", "settled_at", "seen_written_at"}
    assert unchanged <= {f.name for f in fields(before) if getattr(before, f.name) == getattr(after, f.name)}


def test_these_looks_speak_of_an_event_far_enough_ahead_for_gaps() -> None:
    """Guards the expectations above: within a day of the start every look would be due at once."""
    assert an_event().starts_at == NOW + STARTS_IN
    assert STARTS_IN > DAY
    assert found(Absent()).start == Instant(NOW + STARTS_IN)


SOON = timedelta(milliseconds=200)


@pytest.mark.parametrize(
    "known, surely, perhaps",
    [
        ({}, False, False),
        ({"intended_at": NOW}, True, False),
        ({"repaired_at": NOW}, False, True),
        ({"repaired_at": NOW - MINUTE}, False, False),
        ({"repaired_at": NOW, "seen_written_at": NOW + SOON}, False, False),
        ({"repaired_at": NOW, "seen_written_at": None}, False, False),
        ({"intended_at": NOW, "seen_written_at": None}, False, False),
    ],
)
def test_a_write_that_crossed_ours_is_known_and_one_hardly_later_suspected(
    known: dict[str, Any], surely: bool, perhaps: bool
) -> None:
    state = a_state(**{"seen_written_at": NOW - HOUR, **known})
    assert state.overtaken_by(NOW + SOON) is surely
    assert state.perhaps_overtaken_by(NOW + SOON) is perhaps
