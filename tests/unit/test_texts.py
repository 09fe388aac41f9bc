"""What the commands say to a person: stories, summaries, the state of the work."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from reconciler.domain.audit import AuditEntry, AuditTag, StoredEntry
from reconciler.domain.cause import Cause
from reconciler.domain.evidence import Notified, NotListed
from reconciler.domain.evidence_json import evidence_json
from reconciler.domain.ids import ProfileId
from reconciler.domain.plural import many
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import About, NoticeKind, Notify, ProviderChange, Remedy, Reupsert, Wait, remedy_json
from reconciler.reporting.explain import story_text
from reconciler.reporting.summary_text import fates_text, status_text
from tests.builders import HOUR, NOW, a_key, some_evidence

KEY = a_key()
RUN_ID = UUID(int=7)
OLD, NEW = ProfileId("pro_old"), ProfileId("pro_new")
EVENT: dict[str, Any] = {
    "calendar_id": KEY.calendar_id, "event_id": KEY.event_id, "account_id": "acc_1", "starts_at": NOW + HOUR,
    "profile_id": NEW, "written_at": NOW - HOUR, "dropped": False, "faults": [], "account_known": True,
    "planned": None, "remedy": "wait",
    "now": NOW, "account_state": "active",
}  # fmt: skip


@pytest.mark.parametrize("number, text", [(0, "0 entries"), (1, "1 entry"), (2, "2 entries"), (2400, "2,400 entries")])
def test_a_number_has_its_noun_in_the_form_it_calls_for(number: int, text: str) -> None:
    assert many(number, "entry", "entries") == text
    assert many(number, "run") == text.replace("entries", "runs").replace("entry", "run")


def an_entry(tag: AuditTag, cause: Cause, remedy: Remedy, **changes: Any) -> StoredEntry:
    entry = AuditEntry(tag=tag, at=NOW, run_id=RUN_ID, key=KEY, cause=cause, after=remedy_json(remedy), **changes)
    return StoredEntry(1, entry, "acc_1", 1, "", "")


def test_explain_names_what_an_event_asked_for_before_a_repair_and_after_it() -> None:
    evidence, before = evidence_json(some_evidence(asked=OLD)), {"profile_id": OLD}
    remedy = Reupsert(NEW, "zoom", ProviderChange.SAME)
    told = story_text(
        EVENT,
        [
            an_entry(AuditTag.REPAIR_INTENDED, Cause.PROFILE_REMOVED, remedy, before=before, evidence=evidence),
            an_entry(AuditTag.REPAIR_APPLIED, Cause.PROFILE_REMOVED, remedy, before=before),
        ],
        Policy(),
    )
    again = "write it again asking for pro_new instead of pro_old (zoom, the same service as before)"
    assert f"about to write it again: profile_removed, so {again}\n" in told
    assert f"Cronofy accepted the write: {again}\n" in told


def test_explain_says_of_a_newer_body_that_it_is_the_applications_own() -> None:
    remedy = Reupsert(NEW, "zoom", ProviderChange.SAME, restores=True)
    told = story_text(
        EVENT, [an_entry(AuditTag.REPAIR_APPLIED, Cause.UNEXPLAINED, remedy, before={"profile_id": NEW})], Policy()
    )
    assert "Cronofy accepted the write: write it again as the application last wrote it, asking for pro_new\n" in told


def test_explain_says_what_a_plan_would_write_in_place_of_what_the_event_asks_for() -> None:
    planned = {
        "run_id": RUN_ID, "dry_run": True, "held_back": None, "closed": True, "plan_id": UUID(int=8),
        "remedy": "reupsert", "cause": "profile_removed",
        "detail": remedy_json(Reupsert(NEW, None, ProviderChange.UNKNOWN)),
    }  # fmt: skip
    told = story_text({**EVENT, "profile_id": OLD, "planned": planned}, [], Policy())
    assert "profile_removed, write it again asking for pro_new instead of pro_old (" in told


@pytest.mark.parametrize(
    "times, said",
    [(1, "not in a complete listing, for the first time\n"), (2, "not in a complete listing, 2 times in a row\n")],
)
def test_explain_counts_how_often_an_event_was_missing(times: int, said: str) -> None:
    evidence = evidence_json(some_evidence(read=NotListed(times)))
    assert said in story_text(
        EVENT, [an_entry(AuditTag.EVENT_JUDGED, Cause.UNEXPLAINED, Wait(), evidence=evidence)], Policy()
    )


def test_explain_claims_of_no_rule_that_did_not_fit_what_may_be_untrue() -> None:
    pushed = Notified("conferencing_failing", "profile_missing", NOW - timedelta(days=9))
    evidence = evidence_json(some_evidence(notified=(pushed,), written_ago=timedelta(minutes=5)))
    entry = an_entry(AuditTag.EVENT_JUDGED, Cause.SETTLING, Wait(), evidence=evidence)
    told = story_text(EVENT, [entry], Policy()).splitlines()
    fits, heading = told.index("the first rule that fits what was read last:"), "rules before it that did not fit:"
    assert told[fits + 1].startswith("  settling: ")
    assert told[fits + 2] == heading
    assert told[fits + 3].startswith("  unreadable: ")
    assert not any(line.startswith("  no ") for line in told)


def test_a_notice_has_the_name_of_its_kind() -> None:
    remedy = Notify(NoticeKind.RELINK_CONFERENCING, OLD)
    told = story_text(EVENT, [an_entry(AuditTag.EVENT_JUDGED, Cause.PROFILE_DISCONNECTED, remedy)], Policy())
    assert "judged: notice relink_conferencing about pro_old\n" in told


def test_notices_about_several_profiles_name_each() -> None:
    remedy = Notify(NoticeKind.RELINK_CONFERENCING, OLD, "zoom", (About(NEW, "zoom"),))
    told = story_text(EVENT, [an_entry(AuditTag.EVENT_JUDGED, Cause.PROFILE_DISCONNECTED, remedy)], Policy())
    assert "judged: notice relink_conferencing about pro_old, pro_new\n" in told


@pytest.mark.parametrize(
    "number, said",
    [
        (1, "1 has changed since and was left alone; 1 was not reached; 1 was in another run's hands"),
        (2, "2 have changed since and were left alone; 2 were not reached; 2 were in another run's hands"),
    ],
)
def test_one_event_is_spoken_of_as_one(number: int, said: str) -> None:
    fates = {fate: {"": number} for fate in ("drifted", "left", "elsewhere")}
    assert fates_text(3 * number, fates, undoes=False) == f"  0 of {3 * number} carried out; {said}"


def test_status_speaks_of_one_as_one() -> None:
    status: dict[str, Any] = {
        "due": {"events": 1, "accounts": 1}, "runs": [], "last_run": None, "budget": None, "incidents": [],
        "notices": {"relink_calendar": {"notices": 1, "events": 1}},
    }  # fmt: skip
    told = status_text(status)
    assert "due now: 1 event of 1 account\n" in told
    assert told.endswith("open notices: 1 relink_calendar for 1 event")
