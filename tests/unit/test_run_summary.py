"""A run's summary as programs read it, and when a provider counts as down."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.cause import Cause
from reconciler.domain.run import ProviderShare, RunRow, Totals, expected_end, summary
from tests.builders import DAY, MINUTE, NOW

RUN = RunRow(
    run_id=UUID(int=7),
    run_key="nightly-2026-03-02",
    trigger="schedule",
    reason="because",
    scope={"customers": ["Acme"]},
    dry_run=False,
    started_at=NOW,
    policy={},
)
NOTHING = Totals(units=0, events=0, done=0, failed=0, parked=0, remaining=0)


def a_summary(run: RunRow = RUN, totals: Totals = NOTHING, **other: Any) -> dict[str, Any]:
    given_ = {
        "status": "completed",
        "finished_at": NOW,
        "counts": {},
        "incidents": {},
        "errors": (),
        "seal": "5ea1",
        **other,
    }
    return summary(run, totals=totals, **given_)


def test_the_summary_of_a_run_that_found_nothing_has_every_field_at_zero() -> None:
    assert a_summary() == {
        "run_id": "00000000-0000-0000-0000-000000000007",
        "run_key": "nightly-2026-03-02",
        "status": "completed",
        "dry_run": False,
        "trigger": "schedule",
        "reason": "because",
        "scope": {"customers": ["Acme"]},
        "started_at": "2026-03-02T09:00:00+00:00",
        "finished_at": "2026-03-02T09:00:00+00:00",
        "duration_seconds": 0.0,
        "accounts": {"due": 0, "done": 0, "failed": 0, "parked": 0, "left": 0},
        "events": {"due": 0, "read": 0, "settled": 0},
        "causes": {},
        "outcomes": {
            "repaired": 0,
            "repair_rejected": 0,
            "repair_in_doubt": 0,
            "confirmed": 0,
            "noticed": 0,
            "waiting": 0,
            "escalated": 0,
            "reported": 0,
        },
        "notices": {"queued": 0, "updated": 0, "resolved": 0},
        "incidents": {"opened": 0, "closed": 0},
        "requests": {
            "total": 0,
            "events": 0,
            "userinfo": 0,
            "upsert": 0,
            "batch": 0,
            "token": 0,
            "retried": 0,
            "refused": 0,
        },
        "errors": [],
        "seal": "5ea1",
    }


def test_the_summary_holds_what_was_counted() -> None:
    result = a_summary(
        totals=Totals(units=6, events=50, done=1, failed=2, parked=3, remaining=4, read=40),
        counts={
            "events": {"read": 41, "settled": 30},
            "causes": {"unexplained": 2, "assigned": 30, "settling": 0},
            "outcomes": {"repaired": 1, "reported": 8},
            "notices": {"queued": 5, "resolved": 6},
            "requests": {"total": 9, "refused": 1},
        },
        incidents={"opened": 1, "closed": 2},
        errors=[{"account_id": "acc_1", "kind": "timeout", "message": "no answer"}],
    )
    assert result["accounts"] == {"due": 6, "done": 1, "failed": 2, "parked": 3, "left": 4}
    assert result["events"] == {"due": 50, "read": 40, "settled": 30}
    assert list(result["causes"].items()) == [("assigned", 30), ("unexplained", 2)]
    assert (result["outcomes"]["repaired"], result["outcomes"]["reported"]) == (1, 8)
    assert result["notices"] == {"queued": 5, "updated": 0, "resolved": 6}
    assert result["incidents"] == {"opened": 1, "closed": 2}
    assert (result["requests"]["total"], result["requests"]["refused"]) == (9, 1)
    assert result["errors"] == [{"account_id": "acc_1", "kind": "timeout", "message": "no answer"}]


def test_every_cause_that_was_found_is_listed_in_the_order_of_the_rules() -> None:
    counts = {"causes": {cause.value: n for n, cause in enumerate(reversed(Cause), start=1)}}
    assert list(a_summary(counts=counts)["causes"]) == [cause.value for cause in Cause]


def test_the_duration_is_in_seconds_to_the_millisecond() -> None:
    finished = NOW + MINUTE + MINUTE / 7
    assert a_summary(finished_at=finished)["duration_seconds"] == 68.571


def test_a_summary_is_plain_json() -> None:
    result = a_summary(replace(RUN, run_key=None, reason=None, dry_run=True))
    assert json.loads(json.dumps(result)) == result
    assert (result["run_key"], result["reason"], result["dry_run"]) == (None, None, True)


# ---------------------------------------------------------------- outages


@pytest.mark.parametrize(
    "overdue, total, accounts, outage",
    [
        (5, 10, 5, True),
        (10, 10, 5, True),
        (6, 11, 5, True),
        (5, 11, 5, False),
        (9, 10, 4, False),
        (0, 0, 0, False),
    ],
    ids=["half of them", "all of them", "just over half", "just under half", "too few accounts", "nothing"],
)
def test_an_outage_takes_five_accounts_and_half_of_the_events(
    overdue: int, total: int, accounts: int, outage: bool
) -> None:
    assert ProviderShare(overdue, total, accounts).is_outage is outage


@pytest.mark.parametrize(
    "overdue, total, waiting, over",
    [
        (0, 0, 0, True),
        (0, 10, 0, True),
        (1, 11, 0, True),
        (1, 10, 0, False),
        (0, 0, 1, False),
        (0, 9, 1, False),
        (0, 10, 1, True),
        (1, 19, 1, False),
        (1, 20, 1, True),
    ],
)
def test_an_outage_is_over_when_under_a_tenth_still_waits(overdue: int, total: int, waiting: int, over: bool) -> None:
    assert ProviderShare(overdue, total, 1, waiting).is_over is over


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 50), st.integers(0, 50))
def test_an_outage_is_never_both_on_and_over(overdue: int, served: int, accounts: int, waiting: int) -> None:
    share = ProviderShare(overdue, overdue + served, min(accounts, overdue), waiting)
    told = ProviderShare(overdue, overdue + served, accounts, waiting, told=overdue, told_accounts=accounts)
    assert not (told.is_outage and told.is_over)
    assert not (share.is_outage and share.is_over)


def test_a_share_is_kept_as_an_incidents_evidence() -> None:
    assert ProviderShare(5, 10, 6, 7, 4, 3, 2).as_json() == {
        "overdue": 5,
        "events": 10,
        "accounts": 6,
        "customers": 4,
        "waiting": 7,
        "told": 3,
        "told_accounts": 2,
    }


@pytest.mark.parametrize(
    "told, total, accounts, opened",
    [(0, 0, 0, False), (1, 1, 1, False), (2, 20, 2, True), (2, 21, 2, False), (5, 100, 5, True), (9, 100, 4, False)],
)
def test_an_outage_is_told_for_five_accounts_or_for_two_and_a_tenth_of_the_events(
    told: int, total: int, accounts: int, opened: bool
) -> None:
    share = ProviderShare(told, total, accounts, told=told, told_accounts=accounts)
    assert (share.is_told, share.is_outage) == (opened, opened)
    assert not share.is_inferred or opened


# ---------------------------------------------------------------- how long it will take


@pytest.mark.parametrize(
    "left, done, since, expected",
    [
        (10, 5, NOW - MINUTE, NOW + 2 * MINUTE),
        (1, 2, NOW - MINUTE, NOW + MINUTE / 2),
        (0, 5, NOW - MINUTE, NOW),
        (10, 0, NOW - MINUTE, None),
        (10, 5, None, None),
        (10, 5, NOW, None),
        (10, 5, NOW + MINUTE, None),
        (10**7, 1, NOW - DAY, NOW + 365 * DAY),
    ],
    ids=[
        "at the pace so far",
        "less than was done",
        "nothing left",
        "none done",
        "no pace",
        "at once",
        "clock",
        "never",
    ],
)
def test_the_end_is_expected_at_the_pace_of_the_last_accounts(
    left: int, done: int, since: datetime | None, expected: datetime | None
) -> None:
    assert expected_end(NOW, left, done, since) == expected
