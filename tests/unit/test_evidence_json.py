"""Evidence as it is stored: back the same, without any link, and replayed to the same verdict."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from reconciler.domain.cause import classify
from reconciler.domain.event import Assigned
from reconciler.domain.evidence import Evidence, KnownProfile, Rejection
from reconciler.domain.evidence_json import (
    EVIDENCE_VERSION,
    LINK_KEPT_ELSEWHERE,
    evidence_from,
    evidence_json,
    rejections_from,
    rejections_json,
)
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import choose
from tests import strategies
from tests.builders import HOUR, LINK, found, linked, pushed, refused, some_evidence, some_profiles


def without_link(evidence: Evidence) -> Evidence:
    """The same evidence as it can come back: with a word in place of the link."""
    shown = evidence.found
    if shown is None or not isinstance(shown.conferencing, Assigned):
        return evidence
    kept = replace(shown.conferencing, join_url=LINK_KEPT_ELSEWHERE)
    return replace(evidence, read_back=replace(shown, conferencing=kept))


def stored(evidence: Evidence) -> Any:
    """As the database gives it back: through JSON, with the keys in another order."""
    return json.loads(json.dumps(evidence_json(evidence), sort_keys=True, allow_nan=False))


@given(strategies.evidence() | strategies.overdue_evidence())
def test_evidence_comes_back_as_it_was_but_for_the_link(evidence: Evidence) -> None:
    assert evidence_from(stored(evidence)) == without_link(evidence)


@given(strategies.evidence() | strategies.overdue_evidence(), strategies.policies)
def test_a_replay_reaches_the_same_cause_and_remedy(evidence: Evidence, policy: Policy) -> None:
    finding, again = classify(evidence, policy), classify(evidence_from(stored(evidence)), policy)
    assert again.cause is finding.cause
    assert choose(again, policy) == choose(finding, policy)


@given(strategies.evidence() | strategies.overdue_evidence())
def test_storing_twice_changes_nothing(evidence: Evidence) -> None:
    assert evidence_json(evidence_from(stored(evidence))) == stored(evidence)


def test_no_link_is_stored() -> None:
    text = json.dumps(evidence_json(some_evidence(read=linked(), roster=some_profiles())))
    assert "http" not in text
    assert LINK not in text
    assert "assigned" in text


@given(strategies.evidence(strategies.founds))
def test_nothing_of_a_link_is_stored_whatever_else_is_known(evidence: Evidence) -> None:
    assert "video.example" not in json.dumps(evidence_json(evidence))


def test_what_is_not_known_takes_no_room() -> None:
    assert set(evidence_json(some_evidence(roster=None))) == {
        "version", "rules", "now", "asked", "starts_at", "written_at", "body", "read_back", "repairs",
    }  # fmt: skip


def test_all_that_is_known_is_there() -> None:
    evidence = some_evidence(
        previous=KnownProfile("zoom", None),
        repaired_ago=HOUR,
        notified=[pushed()],
        rejections=[refused("pro_2")],
        open_incidents=["zoom"],
    )
    there = evidence_json(evidence)
    assert there["version"] == EVIDENCE_VERSION
    assert {"roster", "previous", "repaired_at", "notified", "rejections", "open_incidents"} <= set(there)
    assert there["rejections"] == [
        {"profile_id": "pro_2", "keys": ["errors.not_recognized"], "about_profile": True},
    ]


def test_refusals_come_back_as_they_were() -> None:
    refusals: tuple[Rejection, ...] = (refused("pro_2"), refused("pro_3", about_profile=False))
    assert rejections_from(json.loads(json.dumps(rejections_json(refusals)))) == refusals


@pytest.mark.parametrize("version", [0, EVIDENCE_VERSION + 1, "1", None])
def test_evidence_of_another_version_is_refused(version: object) -> None:
    with pytest.raises(ValueError, match="this program reads 1"):
        evidence_from({**evidence_json(some_evidence()), "version": version})


@pytest.mark.parametrize("name", sorted(evidence_json(some_evidence(roster=None)).keys() - {"rules"}))
def test_evidence_that_lacks_a_part_is_refused(name: str) -> None:
    there = evidence_json(some_evidence())
    del there[name]
    with pytest.raises(KeyError, match=name):
        evidence_from(there)


def test_a_read_back_of_an_unknown_kind_is_refused() -> None:
    there = evidence_json(some_evidence())
    there["read_back"]["kind"] = "guessed"
    with pytest.raises(ValueError, match="no read-back is called 'guessed'"):
        evidence_from(there)


def test_conferencing_of_an_unknown_state_is_refused() -> None:
    there = evidence_json(some_evidence(read=found()))
    there["read_back"]["conferencing"]["state"] = "perhaps"
    with pytest.raises(ValueError, match="no conferencing is called 'perhaps'"):
        evidence_from(there)
