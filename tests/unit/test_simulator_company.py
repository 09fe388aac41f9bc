"""The demonstration company: every cause planted, rows and world in step, and no outage seen where none is."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.simulator.scenarios import Company, company

NOW = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
GRACE = timedelta(minutes=15)
LOOKBACK = timedelta(hours=24)

# interface.md section 4, in its order.
CAUSES = (
    "unreadable",
    "account_unauthorized",
    "event_deleted",
    "event_past",
    "assigned",
    "event_missing",
    "calendar_unavailable",
    "calendar_disconnected",
    "settling",
    "provider_retired",
    "profile_removed",
    "profile_disconnected",
    "integrated_unavailable",
    "missing_meeting_url",
    "provider_outage",
    "conferencing_absent",
    "unexplained",
)


@pytest.fixture(scope="module")
def group() -> Company:
    return company(NOW)


def rows(group: Company) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["calendar_id"], row["event_id"]): row for row in group.events}


def test_every_cause_is_planted_for_the_first_run_but_event_missing(group: Company) -> None:
    assert set(group.expected.values()) == set(CAUSES) - {"event_missing"}
    assert set(group.expected_second_run.values()) == {"event_missing"}
    assert all(group.expected[key] == "unexplained" for key in group.expected_second_run)
    assert set(group.storyline) == set(CAUSES)


def test_it_is_as_large_as_a_company_group_and_mostly_fine(group: Company) -> None:
    assert len(group.accounts) == 46
    assert 250 <= len(group.events) <= 280
    assert len({row["customer"] for row in group.accounts}) == 3
    assert len({row["account_manager"] for row in group.accounts}) == 3
    assert len({row["email"] for row in group.accounts}) == len(group.accounts)
    assert Counter(group.expected.values())["assigned"] > len(group.expected) / 2
    assert any(not row["name"].isascii() for row in group.accounts)


def test_the_same_moment_and_seed_give_the_same_company(group: Company) -> None:
    again = company(NOW)
    assert again.expected == group.expected
    assert [row["body"] for row in again.events] == [row["body"] for row in group.events]
    assert company(NOW, seed=8).expected.keys() != group.expected.keys()


def test_rows_are_those_of_the_applications_relations(group: Company) -> None:
    for row in group.accounts:
        assert row.keys() == {
            *("account_id", "data_center", "access_token", "refresh_token", "token_expires_at", "name", "email"),
            *("customer", "account_manager", "state", "parked_reason", "updated_at"),
        }
        assert group.world.accounts[row["account_id"]].access_token == row["access_token"]
    for row in group.events:
        assert row.keys() == {
            *("calendar_id", "event_id", "account_id", "starts_at", "ends_at", "profile_id", "body"),
            *("written_at", "cancelled_at"),
        }
        assert json.loads(json.dumps(row["body"])) == row["body"]
        assert row["written_at"] < NOW
        assert row["starts_at"].tzinfo is not None
        assert group.world.event(row["calendar_id"], row["event_id"]).body == row["body"]


def test_exactly_the_due_events_have_an_expectation(group: Company) -> None:
    states = {row["account_id"]: row["state"] for row in group.accounts}
    due = {
        key
        for key, row in rows(group).items()
        if row["starts_at"] > NOW
        and row["cancelled_at"] is None
        and row["profile_id"] not in {None, "none", "explicit"}
        and states[row["account_id"]] == "active"
    }
    assert due == group.expected.keys()
    assert len(group.events) > len(due)


def test_what_a_read_shows_fits_the_expected_cause(group: Company) -> None:
    linked = {"assigned"}
    absent = {"provider_retired", "conferencing_absent"}
    either = {"unreadable", "account_unauthorized", "unexplained", "integrated_unavailable"}
    for key, cause in group.expected.items():
        shown = group.world.event(*key).conferencing
        kind = "absent" if shown is None else "pending" if shown.get("pending") else "link"
        if cause not in either:
            assert kind == ("link" if cause in linked else "absent" if cause in absent else "pending"), (key, cause)


def test_body_shapes_vary(group: Company) -> None:
    keys = Counter(name for row in group.events for name in row["body"])
    assert {"description", "location", "attendees", "reminders", "subscriptions", "tzid"} <= keys.keys()
    starts = [row["body"]["start"] for row in group.events]
    assert any(isinstance(start, dict) for start in starts)
    assert any(isinstance(start, str) and len(start) == len("2026-11-20") for start in starts)


def test_a_moved_event_on_a_removed_profile_is_there(group: Company) -> None:
    moved = [
        key
        for key, cause in group.expected.items()
        if cause == "profile_removed" and group.world.event(*key).start.instant() != rows(group)[key]["starts_at"]
    ]
    assert len(moved) == 1


def test_only_goto_looks_like_an_outage(group: Company) -> None:
    written: dict[str, list[bool]] = defaultdict(list)
    late: dict[str, set[str]] = defaultdict(set)
    for key, row in rows(group).items():
        account = group.world.accounts[row["account_id"]]
        profile = account.conferencing_profile(row["profile_id"])
        if profile is None and row["profile_id"] == "default":
            profile = account.default_profile()
        name = profile.provider_name if profile else str(row["profile_id"])
        fresh = NOW - row["written_at"] <= LOOKBACK and row["starts_at"] > NOW
        if not fresh or account.revoked or (profile and not profile.connected):
            continue
        shown = group.world.event(*key).conferencing or {}
        overdue = bool(shown.get("pending")) and NOW - row["written_at"] > GRACE
        written[name].append(overdue)
        if overdue:
            late[name].add(row["account_id"])
    suspects = {name for name, flags in written.items() if sum(flags) >= len(flags) / 2 and len(late[name]) >= 5}
    assert suspects == {"go_to"}
    assert all(len(accounts) < 5 for name, accounts in late.items() if name != "go_to")


def test_settling_events_are_within_any_grace_period(group: Company) -> None:
    for key, cause in group.expected.items():
        age = NOW - rows(group)[key]["written_at"]
        assert (age < timedelta(minutes=2)) == (cause == "settling")
        assert cause == "settling" or age > timedelta(minutes=30)
