"""The audit trail proves itself: what was changed, removed or inserted shows, and every verdict is reached again."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.domain.audit import (
    GENESIS,
    OF_NO_ACCOUNT,
    VERDICTS,
    AuditEntry,
    AuditTag,
    BadEntry,
    RunBooks,
    StoredEntry,
    Stray,
    entry_hash,
)
from reconciler.domain.cause import RULES_VERSION, Cause
from reconciler.domain.evidence import Evidence, Unreadable
from reconciler.domain.evidence_json import evidence_json
from reconciler.domain.ids import AccountId, ProfileId
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import REMEDY_NAMES, Drift, ProviderChange, Reupsert, remedy_json
from reconciler.pipeline.prove import Proof, replay, verify
from tests import strategies
from tests.builders import ACCOUNT, DAY, HOUR, MINUTE, NOW, POLICY, RUN, a_key, judged, linked, some_evidence

T = TypeVar("T")
OTHER_RUN = UUID(int=2)


def result_of(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing: an in-memory trail needs no event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waited")


class MemoryTrail:
    """A trail in memory that chains as the real one does, and lets itself be tampered with."""

    def __init__(self, *entries: AuditEntry) -> None:
        self.stored: list[StoredEntry] = []
        self.runs: list[RunBooks] = []
        self.astray: list[Stray] = []
        self.open: list[tuple[UUID, int]] = []
        self.bad: list[BadEntry] = []
        for entry in entries:
            self.append(entry)

    def append(self, entry: AuditEntry) -> None:
        before = [s for s in self.stored if s.chain == entry.chain]
        seq, prev_hash = (before[-1].seq, before[-1].hash) if before else (0, GENESIS)
        self.stored.append(self._chained(len(self.stored) + 1, entry, seq + 1, prev_hash))

    def _chained(self, entry_id: int, entry: AuditEntry, seq: int, prev_hash: str) -> StoredEntry:
        digest = entry_hash(entry, entry.chain, seq, prev_hash)
        return StoredEntry(entry_id, entry, entry.chain, seq, prev_hash, digest)

    def seal(self, run_id: UUID = RUN) -> None:
        """Close a run's books as a run does."""
        entries, digest = result_of(self.seal_before(run_id, len(self.stored) + 1))
        evidence = {"entries": entries, "digest": digest}
        self.append(AuditEntry(AuditTag.RUN_FINISHED, NOW, run_id=run_id, outcome="completed", evidence=evidence))

    def tamper(self, entry_id: int, **changes: Any) -> None:
        """Change an entry where it stands, hashes left alone."""
        self._put(entry_id, lambda s: replace(s, entry=replace(s.entry, **changes)))

    def move(self, entry_id: int, **changes: Any) -> None:
        """Change what stands beside an entry: its place, its hashes."""
        self._put(entry_id, lambda s: replace(s, **changes))

    def forge(self, entry_id: int, **changes: Any) -> None:
        """Change an entry and hash the rest of its chain anew, as somebody with the source code would."""
        self.tamper(entry_id, **changes)
        chain = next(s.chain for s in self.stored if s.entry_id == entry_id)
        prev_hash = GENESIS
        for at, s in enumerate(self.stored):
            if s.chain == chain:
                self.stored[at] = self._chained(s.entry_id, s.entry, s.seq, prev_hash)
                prev_hash = self.stored[at].hash

    def remove(self, *entry_ids: int) -> None:
        self.stored = [s for s in self.stored if s.entry_id not in entry_ids]

    def _put(self, entry_id: int, change: Callable[[StoredEntry], StoredEntry]) -> None:
        self.stored = [change(s) if s.entry_id == entry_id else s for s in self.stored]

    def spoil(self, entry_id: int, why: str = "its tag 'x' is unknown") -> None:
        """Make an entry unreadable where it stands."""
        (s,) = (s for s in self.stored if s.entry_id == entry_id)
        self.remove(entry_id)
        self.bad.append(BadEntry(s.entry_id, s.entry.run_id, s.entry.tag, s.chain, s.seq, s.prev_hash, s.hash, why))

    def _all(self) -> list[StoredEntry | BadEntry]:
        return [*self.stored, *self.bad]

    async def in_chains(self) -> AsyncIterator[StoredEntry | BadEntry]:
        for s in sorted(self._all(), key=lambda s: (s.chain, s.seq)):
            yield s

    async def judged(self, run_id: UUID | None) -> AsyncIterator[StoredEntry | BadEntry]:
        for bad in self.bad:
            yield bad
        for s in self.stored:
            states = s.entry.tag in VERDICTS or s.entry.evidence is not None
            if states and s.entry.tag not in OF_NO_ACCOUNT and run_id in {None, s.entry.run_id}:
                yield s

    async def books(self) -> Sequence[RunBooks]:
        return self.runs

    async def strays(self) -> Sequence[Stray]:
        return self.astray

    async def unsealed(self) -> Sequence[tuple[UUID, int]]:
        return self.open

    async def seal_before(self, run_id: UUID, entry_id: int) -> tuple[int, str]:
        before = [s for s in self._all() if s.entry_id < entry_id]
        before.sort(key=lambda s: s.entry_id)
        hashes = [s.hash for s in before if (s.entry if isinstance(s, StoredEntry) else s).run_id == run_id]
        return len(hashes), hashlib.sha256("".join(hashes).encode()).hexdigest()


def a_verdict(
    evidence: Evidence | None = None, account: AccountId = ACCOUNT, run_id: UUID = RUN, policy: Policy = POLICY
) -> AuditEntry:
    item = judged(evidence, policy=policy)
    return AuditEntry(
        tag=AuditTag.EVENT_JUDGED,
        at=NOW,
        run_id=run_id,
        account_id=account,
        key=a_key(),
        cause=item.cause,
        remedy=REMEDY_NAMES[type(item.remedy)],
        evidence=json.loads(json.dumps(evidence_json(item.evidence))),
        after=remedy_json(item.remedy),
    )


UNANCHORED = "that this is the newest trail and the first one: give the seals of logs or reports with --seal"


def proven(trail: MemoryTrail, *seals: str) -> Proof:
    """What `verify` says, but for the standing remark that no seal was given."""
    proof = result_of(verify(trail, seals))
    proof.unproven = [text for text in proof.unproven if text != UNANCHORED]
    return proof


def a_trail() -> MemoryTrail:
    """Entry 1 begins a run, 2 to 4 are of one account, 5 and 6 of another, 7 seals the run."""
    trail = MemoryTrail(AuditEntry(AuditTag.RUN_STARTED, NOW, run_id=RUN))
    for account, evidence in (
        ("acc_1", some_evidence(written_ago=MINUTE)),
        ("acc_1", some_evidence()),
        ("acc_1", some_evidence(read=linked())),
        ("acc_2", some_evidence(pending=False)),
        ("acc_2", some_evidence(read=linked())),
    ):
        trail.append(a_verdict(evidence, AccountId(account)))
    trail.seal()
    return trail


# ---------------------------------------------------------------- verify


def test_a_trail_as_it_was_written_has_no_faults() -> None:
    assert result_of(verify(a_trail())) == Proof(entries=7, unproven=[UNANCHORED])
    assert proven(MemoryTrail()) == Proof()


def test_several_runs_and_a_run_resumed_after_its_seal_have_no_faults() -> None:
    trail = a_trail()
    trail.append(a_verdict(run_id=OTHER_RUN))
    trail.append(a_verdict())
    trail.seal(OTHER_RUN)
    trail.seal()
    assert proven(trail) == Proof(entries=11)


@pytest.mark.parametrize("entry_id", range(1, 8))
@pytest.mark.parametrize(
    "changes",
    [
        {"at": NOW + HOUR},
        {"outcome": "forged"},
        {"after": {"remedy": "wait", "forged": True}},
        {"tag": AuditTag.REPAIR_APPLIED},
        {"account_id": AccountId("acc_9")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_entry_shows(entry_id: int, changes: dict[str, Any]) -> None:
    trail = a_trail()
    trail.tamper(entry_id, **changes)
    faults = result_of(verify(trail)).faults
    assert [f for f in faults if f.startswith(f"entry {entry_id} ") and f.endswith("was changed after it was written")]


@pytest.mark.parametrize("entry_id, next_id", [(1, 7), (2, 3), (3, 4), (5, 6)])
def test_a_removed_entry_shows_at_the_one_after_it(entry_id: int, next_id: int) -> None:
    trail = a_trail()
    trail.remove(entry_id)
    faults = result_of(verify(trail)).faults
    place = next(s.seq for s in trail.stored if s.entry_id == next_id)
    chain = next(s.chain for s in trail.stored if s.entry_id == next_id)
    assert f"entry {next_id} (chain {chain}, place {place}): 1 entries before it were removed" in faults


def test_several_removed_entries_are_counted() -> None:
    trail = a_trail()
    trail.remove(2, 3)
    assert "entry 4 (chain acc_1, place 3): 2 entries before it were removed" in result_of(verify(trail)).faults


def test_the_end_of_a_chain_is_missed_by_the_seal_of_its_run() -> None:
    trail = a_trail()
    trail.remove(4)
    assert result_of(verify(trail)).faults == [f"run {RUN}: 6 entries were sealed, 5 are there"]


def test_a_whole_chain_is_missed_by_the_seal_of_its_run() -> None:
    trail = a_trail()
    trail.remove(5, 6)
    assert result_of(verify(trail)).faults == [f"run {RUN}: 6 entries were sealed, 4 are there"]


def test_a_chain_hashed_anew_is_missed_by_the_seal_of_its_run() -> None:
    trail = a_trail()
    trail.forge(3, remedy="forged")
    assert result_of(verify(trail)).faults == [f"run {RUN}: its entries are not those that were sealed"]


def test_entries_that_changed_places_show() -> None:
    trail = a_trail()
    trail.move(2, seq=2)
    trail.move(3, seq=1)
    assert len(result_of(verify(trail)).faults) >= 4


def test_an_entry_closed_up_over_a_gap_does_not_follow_the_one_before() -> None:
    trail = a_trail()
    trail.remove(3)
    trail.move(4, seq=2)
    faults = result_of(verify(trail)).faults
    assert "entry 4 (chain acc_1, place 2): does not follow the entry before it" in faults
    assert "entry 4 (chain acc_1, place 2): was changed after it was written" in faults


def test_an_entry_inserted_in_a_taken_place_shows() -> None:
    trail = a_trail()
    trail.append(a_verdict(account=AccountId("acc_2"), run_id=OTHER_RUN))
    trail.move(8, seq=2)
    assert "entry 8 (chain acc_2, place 2): was inserted, its place was taken" in result_of(verify(trail)).faults


def test_an_entry_appended_by_a_run_that_is_not_sealed_yet_is_no_fault() -> None:
    trail = a_trail()
    trail.append(a_verdict(run_id=OTHER_RUN))
    assert result_of(verify(trail)).faults == []


def test_a_chain_starts_at_its_beginning() -> None:
    trail = a_trail()
    trail.move(5, prev_hash="f" * 64)
    assert "entry 5 (chain acc_2, place 1): does not follow the entry before it" in result_of(verify(trail)).faults


@pytest.mark.parametrize("evidence", [None, [], "sealed", {}, {"entries": 6}, {"entries": 6, "digest": "0" * 64}])
def test_a_forged_seal_shows_even_with_its_chain_hashed_anew(evidence: Any) -> None:
    trail = a_trail()
    trail.forge(7, evidence=evidence)
    (fault,) = result_of(verify(trail)).faults
    assert fault.startswith(f"run {RUN}: ")


def test_a_seal_of_no_run_seals_nothing() -> None:
    trail = MemoryTrail(AuditEntry(AuditTag.RUN_FINISHED, NOW))
    assert proven(trail) == Proof(entries=1)


def test_of_very_many_faults_the_first_hundred_are_listed() -> None:
    trail = MemoryTrail(*(a_verdict() for _ in range(103)))
    for entry_id in range(1, 104):
        trail.tamper(entry_id, outcome="forged")
    proof = result_of(verify(trail))
    assert proof.entries == 103
    assert proof.faults[99].startswith("entry 100 ")
    assert proof.faults[100:] == ["and more: only the first hundred are listed"]


@given(st.lists(st.sampled_from(("acc_1", "acc_2", "acc_3")), min_size=1, max_size=8), st.data())
def test_no_entry_can_be_changed_or_removed_unseen(accounts: list[str], data: st.DataObject) -> None:
    trail = MemoryTrail(*(AuditEntry(AuditTag.NOTICE_QUEUED, NOW, RUN, AccountId(a)) for a in accounts))
    trail.seal()
    assert result_of(verify(trail)).faults == []
    entry_id = data.draw(st.integers(1, len(accounts)))
    if data.draw(st.booleans()):
        trail.remove(entry_id)
    else:
        data.draw(st.sampled_from((trail.tamper, trail.forge)))(entry_id, outcome="forged")
    assert result_of(verify(trail)).faults


def some_books(run_id: UUID = RUN, **other: Any) -> RunBooks:
    return RunBooks(**{"run_id": run_id, "status": "completed", "finished_at": NOW, "begun": {}, "seal": None, **other})


def test_books_that_say_what_the_entries_say_are_no_fault() -> None:
    trail = a_trail()
    for seal in (None, trail.stored[-1].hash):
        trail.runs = [some_books(seal=seal)]
        assert result_of(verify(trail)).faults == []


@pytest.mark.parametrize(
    "other", [{"status": "partial"}, {"finished_at": NOW + HOUR}, {"finished_at": None}, {"seal": "0" * 64}]
)
def test_books_that_say_another_end_than_the_last_seal_show(other: dict[str, Any]) -> None:
    trail = a_trail()
    trail.runs = [some_books(**other)]
    fault = f"run {RUN}: reconciler.runs says another end than its last entry run:finished"
    assert result_of(verify(trail)).faults == [fault]
    trail.runs = [some_books(**{**other, "status": "running"})]
    assert result_of(verify(trail)).faults == []


def test_a_seal_appended_to_a_run_that_was_closed_shows_in_its_books() -> None:
    trail = a_trail()
    trail.runs = [some_books(seal=trail.stored[-1].hash)]
    trail.append(a_verdict())
    trail.seal()
    assert len(result_of(verify(trail)).faults) == 1


@pytest.mark.parametrize(
    "begun, said",
    [
        ({"policy": {"grace": 1}, "dry_run": False}, "policy"),
        ({"policy": {"grace": 900}, "dry_run": True, "reason": "r"}, "dry_run"),
        ({"policy": {}, "dry_run": True}, "policy, dry_run"),
        (None, "beginning"),
    ],
)
def test_books_that_say_another_beginning_show(begun: Any, said: str) -> None:
    trail = MemoryTrail(
        AuditEntry(AuditTag.RUN_STARTED, NOW, run_id=RUN, after={"policy": {"grace": 900}, "dry_run": False})
    )
    trail.runs = [some_books(status="running", begun=begun)]
    fault = f"run {RUN}: reconciler.runs says another {said} than its entry run:started"
    assert result_of(verify(trail)).faults == [fault]


@pytest.mark.parametrize(
    "why, run_id, said",
    [
        ("no_run", None, "belongs to no run"),
        ("unknown_run", RUN, f"belongs to run {RUN}, which reconciler.runs does not hold"),
        ("after_seal", RUN, f"was appended to run {RUN} after its seal"),
        ("not_its_account", RUN, f"is about an account that run {RUN} did not work"),
    ],
)
def test_an_entry_beside_the_runs_is_named(why: str, run_id: UUID | None, said: str) -> None:
    trail = a_trail()
    trail.astray = [Stray(9, "acc_1", 4, run_id, why)]
    assert result_of(verify(trail)).faults == [f"entry 9 (chain acc_1, place 4): {said}"]


@pytest.mark.parametrize("entry_id", [2, 3, 5])
def test_an_entry_that_cannot_be_read_is_named_and_the_rest_is_proven(entry_id: int) -> None:
    trail = a_trail()
    trail.spoil(entry_id)
    proof = result_of(verify(trail))
    assert (proof.entries, len(proof.faults)) == (7, 1)
    assert proof.faults[0].endswith("its tag 'x' is unknown")
    trail.tamper(4, outcome="forged")
    assert len(result_of(verify(trail)).faults) == 2


def test_a_runs_own_entries_that_cannot_be_read_are_not_called_removed() -> None:
    trail = a_trail()
    trail.runs = [some_books()]
    trail.spoil(1)
    trail.spoil(7)
    assert [fault.partition(": ")[2] for fault in result_of(verify(trail)).faults] == ["its tag 'x' is unknown"] * 2


def test_what_cannot_be_hashed_is_a_fault() -> None:
    trail = a_trail()
    trail.tamper(3, after={"remedy": {1, 2}})
    (fault,) = result_of(verify(trail)).faults
    assert fault.startswith("entry 3 (chain acc_1, place 2): cannot be hashed (")


@pytest.mark.parametrize(
    "entry",
    [
        AuditEntry(AuditTag.NOTICE_QUEUED, NOW, run_id=RUN),
        AuditEntry(AuditTag.RUN_FINISHED, NOW, run_id=RUN, account_id=ACCOUNT),
        AuditEntry(AuditTag.INCIDENT_OPENED, NOW, run_id=RUN, account_id=ACCOUNT),
    ],
)
def test_an_entry_in_a_chain_where_its_kind_never_stands_shows(entry: AuditEntry) -> None:
    (fault,) = result_of(verify(MemoryTrail(entry))).faults
    assert "does not belong in this chain" in fault


def test_a_seal_kept_outside_is_found_in_the_trail_or_missed() -> None:
    trail = a_trail()
    kept = trail.stored[-1].hash
    assert proven(trail, kept) == Proof(entries=7)
    trail.append(a_verdict(run_id=OTHER_RUN))
    trail.seal(OTHER_RUN)
    later = "what was written since the newest seal given: 1 run closed after it"
    assert proven(trail, kept) == Proof(entries=9, unproven=[later])
    assert proven(trail, kept, trail.stored[-1].hash) == Proof(entries=9)
    trail.forge(7, outcome="partial")
    missing = f"seal {kept}: the trail does not hold it; what was written until then was removed or rewritten"
    assert missing in result_of(verify(trail, [kept])).faults


def test_a_seal_that_stands_only_beside_its_entry_is_not_found() -> None:
    trail = a_trail()
    kept = trail.stored[-1].hash
    trail.tamper(7, outcome="partial")
    faults = result_of(verify(trail, [kept])).faults
    assert [fault for fault in faults if fault.startswith(f"seal {kept}")]


def test_what_no_seal_covers_yet_is_said_and_no_fault() -> None:
    trail = a_trail()
    trail.open = [(OTHER_RUN, 1), (RUN, 2)]
    assert proven(trail) == Proof(
        entries=7,
        unproven=[
            f"run {OTHER_RUN}: no seal covers 1 entry; it is under way, or its process died",
            f"run {RUN}: no seal covers 2 entries; it is under way, or its process died",
        ],
    )


# ---------------------------------------------------------------- replay


def replayed(entries: Iterable[AuditEntry], run_id: UUID | None = None, policy: Policy = POLICY) -> Proof:
    return result_of(replay(MemoryTrail(*entries), run_id, lambda _: policy))


@settings(max_examples=40)
@given(st.lists(strategies.evidence() | strategies.overdue_evidence(), max_size=4), strategies.policies)
def test_every_verdict_is_reached_again_from_what_was_stored(every: list[Evidence], policy: Policy) -> None:
    assert replayed([a_verdict(e, policy=policy) for e in every], policy=policy) == Proof(entries=len(every))


def test_entries_without_a_verdict_are_passed_over() -> None:
    assert result_of(replay(a_trail(), None, lambda _: POLICY)) == Proof(entries=5)


def test_a_replay_may_be_limited_to_a_run() -> None:
    entries = [a_verdict(), a_verdict(run_id=OTHER_RUN), a_verdict(run_id=OTHER_RUN)]
    assert replayed(entries, OTHER_RUN).entries == 2
    assert replayed(entries, UUID(int=9)).entries == 0


def test_each_verdict_is_replayed_under_the_policy_of_its_run() -> None:
    patient = Policy(grace=DAY)
    entries = [a_verdict(), a_verdict(run_id=OTHER_RUN, policy=patient)]
    assert [e.cause for e in entries] == [Cause.UNEXPLAINED, Cause.SETTLING]
    policies: dict[UUID | None, Policy] = {RUN: POLICY, OTHER_RUN: patient}
    assert result_of(replay(MemoryTrail(*entries), None, policies.__getitem__)).faults == []
    assert len(replayed(entries).faults) == 1


@pytest.mark.parametrize("details", [{}, {"support": {"account_id": "acc_1"}}])
def test_an_escalation_is_reached_again_with_and_without_details_for_support(details: dict[str, Any]) -> None:
    entry = a_verdict(some_evidence(written_ago=2 * DAY))
    assert (entry.after or {})["remedy"] == "escalate"
    assert replayed([replace(entry, after={**(entry.after or {}), **details})]) == Proof(entries=1)


def test_another_cause_shows_with_both() -> None:
    entry = replace(a_verdict(), cause=Cause.SETTLING)
    (fault,) = replayed([entry]).faults
    assert fault == "entry 1 (cal_1_a/evt-1): says settling and wait, replay says unexplained and wait"


@pytest.mark.parametrize("after", [None, {}, {"remedy": "report"}, {"remedy": "wait", "reason": "forged"}])
def test_another_remedy_shows(after: Any) -> None:
    assert len(replayed([replace(a_verdict(), after=after)]).faults) == 1


@pytest.mark.parametrize(
    "evidence",
    [{}, {"version": 2}, [], "text", {**evidence_json(some_evidence()), "now": 5}, {"version": 1, "body": None}],
)
def test_evidence_that_cannot_be_read_is_a_fault_and_the_rest_is_replayed(evidence: Any) -> None:
    proof = replayed([replace(a_verdict(), evidence=evidence), a_verdict()])
    assert proof.entries == 2
    (fault,) = proof.faults
    assert fault.startswith("entry 1: its evidence cannot be read (")


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterable[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from _places(part, (*path, key))


@given(strategies.overdue_evidence(), strategies.json_values, st.data())
def test_no_tampering_with_evidence_stops_a_replay(evidence: Evidence, value: Any, data: st.DataObject) -> None:
    entry = a_verdict(evidence)
    path = data.draw(st.sampled_from(list(_places(entry.evidence))))
    part: Any = entry.evidence
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert replayed([entry, a_verdict()]).entries == 2


def test_what_could_not_be_read_is_replayed_as_such() -> None:
    assert replayed([a_verdict(some_evidence(read=Unreadable("timeout", "no answer")))]) == Proof(entries=1)


def test_a_run_in_the_books_of_which_the_trail_says_nothing_is_a_fault() -> None:
    trail = a_trail()
    trail.runs = [some_books(run_id=OTHER_RUN)]
    assert result_of(verify(trail)).faults == [
        f"run {OTHER_RUN}: its entry run:started was removed",
        f"run {OTHER_RUN}: its entry run:finished was removed",
    ]
    trail.runs = [some_books(run_id=OTHER_RUN, status="running")]
    assert result_of(verify(trail)).faults == [f"run {OTHER_RUN}: its entry run:started was removed"]


@pytest.mark.parametrize("lacking", ["evidence", "cause"])
def test_a_verdict_without_its_evidence_or_cause_is_a_fault(lacking: str) -> None:
    changes: dict[str, Any] = {lacking: None}
    (fault,) = replayed([replace(a_verdict(), **changes)]).faults
    assert fault == f"entry 1 (cal_1_a/evt-1): event:judged without {lacking}"


def test_evidence_beside_a_tag_that_holds_none_is_replayed_too() -> None:
    entry = replace(a_verdict(), tag=AuditTag.EVENT_CONFIRMED, cause=Cause.ASSIGNED)
    assert len(replayed([entry]).faults) == 1


def test_an_entry_that_cannot_be_read_is_a_fault_of_the_replay() -> None:
    trail = MemoryTrail(a_verdict(), a_verdict())
    trail.spoil(1)
    assert result_of(replay(trail, None, lambda _: POLICY)).faults == ["entry 1: its tag 'x' is unknown"]


def test_a_policy_that_cannot_be_read_is_a_fault() -> None:
    proof = result_of(replay(MemoryTrail(a_verdict()), None, lambda _: None))
    assert proof.faults == [f"entry 1: the policy of run {RUN} cannot be read"]


@pytest.mark.parametrize("rules", [0, -1, RULES_VERSION + 1, "2", True, None, 1.5, [2]])
def test_rules_that_this_program_does_not_know_are_a_fault(rules: Any) -> None:
    entry = a_verdict()
    (fault,) = replayed([replace(entry, evidence={**(entry.evidence or {}), "rules": rules})]).faults
    assert fault.startswith("entry 1: it was judged by rules ")


DRIFT = Drift("2026-03-09T10:00:00Z", "2026-03-09T11:00:00Z")


def a_write(remedy: Reupsert) -> AuditEntry:
    return replace(a_verdict(), tag=AuditTag.REPAIR_INTENDED, remedy="reupsert", after=remedy_json(remedy))


def test_what_an_undo_writes_follows_from_no_rule_but_its_cause_does() -> None:
    entry = a_write(Reupsert(ProfileId("pro_old"), None, ProviderChange.UNKNOWN, undoes=str(OTHER_RUN)))
    assert replayed([entry]) == Proof(entries=1)
    assert len(replayed([replace(entry, cause=Cause.SETTLING)]).faults) == 1


def test_what_puts_back_a_newer_body_asks_for_what_the_event_asks() -> None:
    evidence = some_evidence()
    again = Reupsert(evidence.asked, evidence.provider, ProviderChange.SAME, restores=True)
    assert replayed([a_write(again)]) == Proof(entries=1)
    assert len(replayed([a_write(replace(again, profile_id=ProfileId("pro_forged")))]).faults) == 1


@pytest.mark.parametrize(
    "after",
    [
        {"remedy": "wait", "undoes": str(RUN)},
        {"remedy": "reupsert", "undoes": None},
        {"remedy": "reupsert", "restores": "yes"},
        {**remedy_json(Reupsert(ProfileId("pro_9"), None, ProviderChange.UNKNOWN, DRIFT, undoes=str(RUN)))},
        {**remedy_json(Reupsert(ProfileId("pro_9"), "zoom", ProviderChange.SAME, undoes=str(RUN)))},
    ],
)
def test_a_verdict_does_not_pass_for_an_undo(after: dict[str, Any]) -> None:
    entry = replace(a_verdict(), remedy=after["remedy"], after=after)
    assert len(replayed([entry]).faults) == 1
