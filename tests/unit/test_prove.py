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

from reconciler.domain.audit import GENESIS, AuditEntry, AuditTag, StoredEntry, entry_hash
from reconciler.domain.cause import Cause
from reconciler.domain.evidence import Evidence, Unreadable
from reconciler.domain.evidence_json import evidence_json
from reconciler.domain.ids import AccountId
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import remedy_json
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
        self.silent: list[tuple[UUID, str]] = []
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

    async def in_chains(self) -> AsyncIterator[StoredEntry]:
        for s in sorted(self.stored, key=lambda s: (s.chain, s.seq)):
            yield s

    async def judged(self, run_id: UUID | None) -> AsyncIterator[StoredEntry]:
        for s in self.stored:
            if s.entry.evidence is not None and s.entry.cause and run_id in {None, s.entry.run_id}:
                yield s

    async def unsaid(self) -> Sequence[tuple[UUID, str]]:
        return self.silent

    async def seal_before(self, run_id: UUID, entry_id: int) -> tuple[int, str]:
        hashes = [s.hash for s in self.stored if s.entry.run_id == run_id and s.entry_id < entry_id]
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
        remedy="as stored",
        evidence=json.loads(json.dumps(evidence_json(item.evidence))),
        after=remedy_json(item.remedy),
    )


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
    assert result_of(verify(a_trail())) == Proof(entries=7)
    assert result_of(verify(MemoryTrail())) == Proof()


def test_several_runs_and_a_run_resumed_after_its_seal_have_no_faults() -> None:
    trail = a_trail()
    trail.append(a_verdict(run_id=OTHER_RUN))
    trail.append(a_verdict())
    trail.seal(OTHER_RUN)
    trail.seal()
    assert result_of(verify(trail)) == Proof(entries=11)


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
    assert result_of(verify(trail)) == Proof(entries=1)


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
    assert fault == "entry 1 (cal_1_a/evt-1): says settling and as stored, replay says unexplained and wait"


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
    trail = MemoryTrail(a_verdict())
    trail.silent = [(RUN, "run:finished")]
    assert result_of(verify(trail)).faults == [f"run {RUN}: its entry run:finished was removed"]
