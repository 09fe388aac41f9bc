"""Audit entries: one spelling, one hash, that every field changes."""

import json
from dataclasses import fields, replace
from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.audit import GENESIS, RUNS_CHAIN, AuditEntry, AuditTag, canonical, entry_hash
from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId
from tests import strategies
from tests.builders import ACCOUNT, NOW, RUN, a_key

ENTRY = AuditEntry(
    tag=AuditTag.EVENT_JUDGED,
    at=NOW,
    run_id=RUN,
    account_id=ACCOUNT,
    key=a_key(),
    cause=Cause.SETTLING,
    remedy="wait",
    outcome="applied",
    evidence={"now": "2026", "n": [1, {"b": None, "a": "ü"}]},
    before={"cause": None},
    after={"remedy": "wait"},
)

OTHERS: dict[str, list[Any]] = {
    "tag": [AuditTag.EVENT_ESCALATED],
    "at": [NOW + timedelta(microseconds=1)],
    "run_id": [None, UUID(int=2)],
    "account_id": [None, AccountId("acc_2")],
    "key": [None, a_key("evt-2"), a_key(calendar_id="cal_2")],
    "cause": [None, Cause.UNEXPLAINED],
    "remedy": [None, "", "report"],
    "outcome": [None, "", "rejected"],
    "evidence": [None, {}, {"now": "2026", "n": [1, {"b": None, "a": "u"}]}, {"now": "2026", "n": [{"b": None}, 1]}],
    "before": [None, {}, {"cause": "settling"}],
    "after": [None, {}, {"remedy": "wait", "reason": None}],
}
"""Another value, or several, for every field of an entry."""

HASH = entry_hash(ENTRY, "acc_1", 1, GENESIS)


def test_every_field_of_an_entry_is_among_those_tried_below() -> None:
    assert set(OTHERS) == {field.name for field in fields(AuditEntry)}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in OTHERS.items() for value in values])
def test_the_hash_changes_with_every_field(name: str, value: object) -> None:
    changed = replace(ENTRY, **{name: value})  # type: ignore[arg-type]
    assert entry_hash(changed, "acc_1", 1, GENESIS) != HASH


@pytest.mark.parametrize(
    "chain, seq, prev_hash", [("acc_2", 1, GENESIS), ("acc_1", 2, GENESIS), ("acc_1", 1, HASH)], ids=str
)
def test_the_hash_changes_with_the_place_in_the_chain(chain: str, seq: int, prev_hash: str) -> None:
    assert entry_hash(ENTRY, chain, seq, prev_hash) != HASH


def test_the_hash_never_changes_from_version_to_version() -> None:
    """A trail written by an earlier version must still prove itself: this value is stored in somebody's database."""
    assert HASH == "bdee829029abcf9d3bd8066266eddb2fb97c5dfd90fb7054aab6e59f332ad5e5"
    assert canonical(AuditEntry(AuditTag.RUN_STARTED, NOW), "runs", 1) == (
        b'["runs",1,"run:started","2026-03-02T09:00:00.000000+00:00",null,null,null,null,null,null,null,null,null,null]'
    )


def test_fields_cannot_run_into_each_other() -> None:
    one = replace(ENTRY, remedy="wait", outcome=None)
    other = replace(ENTRY, remedy=None, outcome="wait")
    assert canonical(one, "acc_1", 1) != canonical(other, "acc_1", 1)
    split = replace(ENTRY, key=a_key("1-evt", "cal"))
    moved = replace(ENTRY, key=a_key("evt", "cal1-"))
    assert canonical(split, "acc_1", 1) != canonical(moved, "acc_1", 1)


def test_the_zone_in_which_a_moment_is_kept_does_not_matter() -> None:
    elsewhere = replace(ENTRY, at=NOW.astimezone(timezone(timedelta(hours=-5))))
    assert entry_hash(elsewhere, "acc_1", 1, GENESIS) == HASH


@given(strategies.json_objects, strategies.json_objects)
def test_the_bytes_are_the_same_after_json_was_stored_and_read_in_another_order(
    evidence: dict[str, Any], after: dict[str, Any]
) -> None:
    entry = replace(ENTRY, evidence=evidence, after=after)
    stored = replace(
        entry,
        evidence=json.loads(json.dumps(evidence, sort_keys=True)),
        after=dict(reversed(json.loads(json.dumps(after)).items())),
    )
    assert canonical(stored, "acc_1", 1) == canonical(entry, "acc_1", 1)


@given(strategies.json_objects, strategies.json_objects)
def test_json_that_differs_is_spelt_differently(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    spelt = [canonical(replace(ENTRY, evidence=value), "acc_1", 1) for value in (one, other)]
    assert (spelt[0] == spelt[1]) is same


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_spelt(text: str) -> None:
    fields_ = json.loads(canonical(replace(ENTRY, outcome=text), text, 1))
    assert (fields_[0], fields_[10]) == (text, text)


def test_an_entry_belongs_to_its_account_or_to_the_runs() -> None:
    assert ENTRY.chain == "acc_1"
    assert AuditEntry(AuditTag.RUN_STARTED, NOW).chain == RUNS_CHAIN


def test_tags_are_subject_and_verb() -> None:
    for tag in AuditTag:
        subject, verb = tag.value.split(":")
        assert subject in {"run", "event", "repair", "correction", "plan", "notice", "account", "incident"}
        assert verb.replace("_", "").isalpha()
