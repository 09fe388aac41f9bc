"""docs/decisions.md is what the rules say."""

import re
from pathlib import Path
from typing import assert_never

import pytest
from hypothesis import given, settings

from reconciler.domain.cause import RULES, SETTLED, Cause, classify
from reconciler.domain.evidence import Evidence
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import (
    Escalate,
    Leave,
    NoticeKind,
    Notify,
    Park,
    Remedy,
    Report,
    Reupsert,
    Settle,
    Wait,
    choose,
)
from reconciler.reporting.decisions import DOCUMENT, NOTICE_TEXTS, REMEDY_TEXTS, main, render
from tests import strategies

ROOT = Path(__file__).parents[2]


def test_the_document_is_rendered_from_the_rules() -> None:
    written = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    assert written == render(), "write it anew: python -m reconciler.reporting.decisions"


def test_the_module_writes_the_document_into_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    main()
    assert (tmp_path / "docs" / "decisions.md").read_text(encoding="utf-8") == render()


def test_every_cause_and_every_notice_has_its_text() -> None:
    assert set(REMEDY_TEXTS) == set(Cause)
    assert set(NOTICE_TEXTS) == set(NoticeKind)
    assert all(text.strip() for text in (*REMEDY_TEXTS.values(), *NOTICE_TEXTS.values()))


def test_the_table_lists_every_rule_in_its_order_and_marks_what_settles() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+?) \| (.+?) \| (yes)? ?\|$", render(), re.MULTILINE)
    assert [(int(place), cause, when, bool(settled)) for place, cause, when, _, settled in rows] == [
        (place, rule.cause.value, rule.when, rule.cause in SETTLED) for place, rule in enumerate(RULES, start=1)
    ]


def test_notices_that_a_remedy_names_are_those_there_are() -> None:
    named = set(re.findall(r"notice `(\w+)`", " ".join(REMEDY_TEXTS.values())))
    assert named == {kind.value for kind in NoticeKind}


def _said(remedy: Remedy) -> str:
    """The words that a text must hold to promise this remedy."""
    match remedy:
        case Notify(kind):
            return f"notice `{kind}`"
        case Park():
            return "park the account"
        case Reupsert():
            return "write again"
        case Report():
            return "report"
        case Escalate():
            return "hand it to a person"
        case Wait():
            return "wait"
        case Leave() | Settle():
            return ""
    assert_never(remedy)


@settings(derandomize=True, database=None, max_examples=150)
@given(strategies.evidence() | strategies.overdue_evidence(), strategies.policies)
def test_what_is_done_is_what_the_table_says(evidence: Evidence, policy: Policy) -> None:
    finding = classify(evidence, policy)
    remedy, text = choose(finding, policy), REMEDY_TEXTS[finding.cause]
    if "write again" in text and isinstance(remedy, Report | Escalate):
        return  # a body that cannot be sent, or too many repairs: said below the table for all of them
    assert _said(remedy) in text
    assert isinstance(remedy, Wait | Escalate) or not text.startswith("wait")


def test_no_cell_of_a_table_breaks_it() -> None:
    cells = [*(rule.when for rule in RULES), *REMEDY_TEXTS.values(), *NOTICE_TEXTS.values()]
    assert not [cell for cell in cells if "|" in cell or "\n" in cell]
