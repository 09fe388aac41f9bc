"""Proves the audit trail: every entry stands as it was written and belongs to its run, every verdict is reached again.

What cannot be read is named, and the proof goes on past it.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from reconciler.domain.audit import (
    GENESIS,
    OF_NO_ACCOUNT,
    RUNS_CHAIN,
    AuditEntry,
    AuditTag,
    BadEntry,
    Json,
    RunBooks,
    StoredEntry,
    Stray,
    entry_hash,
)
from reconciler.domain.cause import RULES_VERSION, classify
from reconciler.domain.evidence import Evidence
from reconciler.domain.evidence_json import UNREADABLE, evidence_from, why_unreadable
from reconciler.domain.plural import many
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import REMEDY_NAMES, ProviderChange, Remedy, Reupsert, choose, drift_of, remedy_json
from reconciler.domain.support import SUPPORT

_MOST_FAULTS = 100


class Trail(Protocol):
    """The audit trail at one moment, read in flat memory."""

    def in_chains(self) -> AsyncIterator[StoredEntry | BadEntry]: ...

    def judged(self, run_id: UUID | None) -> AsyncIterator[StoredEntry | BadEntry]: ...

    async def books(self) -> Sequence[RunBooks]: ...

    async def strays(self) -> Sequence[Stray]: ...

    async def unsealed(self) -> Sequence[tuple[UUID, int]]: ...

    async def seal_before(self, run_id: UUID, entry_id: int) -> tuple[int, str]: ...


@dataclass(slots=True)
class Proof:
    """What was checked, and what was wrong: each fault names its place.

    `superseded` counts verdicts by older rules that today's would not reach; `unproven` says what nothing vouches for.
    """

    entries: int = 0
    superseded: int = 0
    unproven: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note something wrong; beyond a hundred, only that there is more."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)
        elif len(self.faults) == _MOST_FAULTS:
            self.faults.append("and more: only the first hundred are listed")


# ---------------------------------------------------------------- verify


async def verify(trail: Trail, seals: Collection[str] = ()) -> Proof:
    """Check every chain from its first entry, every run's seal and books, and that every entry is part of a run.

    `seals` are hashes kept outside the database: the trail must still hold each.
    """
    walk = _Walk(Proof(), frozenset(seals))
    async for stored in trail.in_chains():
        walk.step(stored)
    proof = walk.proof
    for seal in walk.ends:
        await _check_seal(trail, seal, proof)
    for books in await trail.books():
        _check_books(books, walk, proof)
    for stray in await trail.strays():
        proof.fault(f"{_place(stray)}: {_STRAY[stray.why].format(stray.run_id)}")
    for missing in sorted(walk.seals - walk.found.keys()):
        proof.fault(f"seal {missing}: the trail does not hold it; what was written until then was removed or rewritten")
    proof.unproven += [
        f"run {run_id}: no seal covers {many(entries, 'entry', 'entries')}; it is under way, or its process died"
        for run_id, entries in await trail.unsealed()
    ]
    proof.unproven += _unanchored(walk)
    return proof


_STRAY = {
    "no_run": "belongs to no run",
    "unknown_run": "belongs to run {}, which reconciler.runs does not hold",
    "after_seal": "was appended to run {} after its seal",
    "not_its_account": "is about an account that run {} did not work",
}


@dataclass(slots=True)
class _Walk:
    """The pass over all chains: how far it got in this one, and what the runs' own entries say."""

    proof: Proof
    seals: frozenset[str]
    chain: str = ""
    seq: int = 0
    prev_hash: str = GENESIS
    begun: dict[UUID, AuditEntry | None] = field(default_factory=dict)
    ends: list[StoredEntry] = field(default_factory=list)
    last: dict[UUID, StoredEntry | None] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    def step(self, stored: StoredEntry | BadEntry) -> None:
        """Check that an entry follows the one before it, and stands as it was written."""
        self.proof.entries += 1
        if stored.chain != self.chain:
            self.chain, self.seq, self.prev_hash = stored.chain, 0, GENESIS
        if why := self._out_of_place(stored):
            self.proof.fault(f"{_place(stored)}: {why}")
        self.seq, self.prev_hash = stored.seq, stored.hash
        if why := stored.why if isinstance(stored, BadEntry) else _altered(stored):
            self.proof.fault(f"{_place(stored)}: {why}")
        elif stored.chain == RUNS_CHAIN and stored.hash in self.seals:
            self.found[stored.hash] = stored.seq
        if stored.chain == RUNS_CHAIN:
            self._note(stored)

    def _out_of_place(self, stored: StoredEntry | BadEntry) -> str | None:
        if stored.seq > self.seq + 1:
            return f"{stored.seq - self.seq - 1} entries before it were removed"
        if stored.seq <= self.seq:
            return "was inserted, its place was taken"
        return "does not follow the entry before it" if stored.prev_hash != self.prev_hash else None

    def _note(self, stored: StoredEntry | BadEntry) -> None:
        """Keep what a run's entry says of its beginning or its end; null where it cannot be read."""
        read = stored if isinstance(stored, StoredEntry) else None
        said = stored.entry if isinstance(stored, StoredEntry) else stored
        if said.run_id is None:
            return
        if said.tag == AuditTag.RUN_STARTED:
            self.begun.setdefault(said.run_id, read.entry if read else None)
        elif said.tag == AuditTag.RUN_FINISHED:
            self.last[said.run_id] = read
            self.ends += [read] if read else []


def _place(stored: StoredEntry | BadEntry | Stray) -> str:
    return f"entry {stored.entry_id} (chain {stored.chain}, place {stored.seq})"


def _altered(stored: StoredEntry) -> str | None:
    """What is wrong with an entry in itself."""
    entry = stored.entry
    try:
        digest = entry_hash(entry, stored.chain, stored.seq, stored.prev_hash)
    except UNREADABLE as error:
        return f"cannot be hashed ({str(error)[:200]})"
    if digest != stored.hash:
        return "was changed after it was written"
    if entry.chain != stored.chain or (entry.tag in OF_NO_ACCOUNT) != (stored.chain == RUNS_CHAIN):
        return f"{entry.tag} of account {entry.account_id} does not belong in this chain"
    return None


async def _check_seal(trail: Trail, seal: StoredEntry, proof: Proof) -> None:
    run_id, sealed = seal.entry.run_id, seal.entry.evidence
    if run_id is None:
        return
    if not isinstance(sealed, dict):
        proof.fault(f"run {run_id}: its seal holds nothing")
        return
    entries, digest = await trail.seal_before(run_id, seal.entry_id)
    if entries != sealed.get("entries"):
        proof.fault(f"run {run_id}: {sealed.get('entries')} entries were sealed, {entries} are there")
    elif digest != sealed.get("digest"):
        proof.fault(f"run {run_id}: its entries are not those that were sealed")


def _check_books(books: RunBooks, walk: _Walk, proof: Proof) -> None:
    """A run's books and its own entries must say the same of how it began and how it ended."""
    run_id = books.run_id
    if run_id not in walk.begun:
        proof.fault(f"run {run_id}: its entry run:started was removed")
    elif (entry := walk.begun[run_id]) is not None and (names := _begun_otherwise(books.begun, entry.after)):
        proof.fault(f"run {run_id}: reconciler.runs says another {', '.join(names)} than its entry run:started")
    if books.is_open:
        return
    if run_id not in walk.last:
        proof.fault(f"run {run_id}: its entry run:finished was removed")
        return
    end = walk.last[run_id]
    if end is not None and (
        (books.status, books.finished_at) != (end.entry.outcome, end.entry.at) or books.seal not in {None, end.hash}
    ):
        proof.fault(f"run {run_id}: reconciler.runs says another end than its last entry run:finished")


def _begun_otherwise(books: Json | None, said: Json | None) -> list[str]:
    """The names of what the books say differently; older entries do not say all of it."""
    if books is None:
        return ["beginning"]
    return [name for name, value in books.items() if name in (said or {}) and (said or {})[name] != value]


def _unanchored(walk: _Walk) -> list[str]:
    """What no hash kept outside the database vouches for."""
    if not walk.seals:
        return ["that this is the newest trail and the first one: give the seals of logs or reports with --seal"]
    newest = max(walk.found.values(), default=0)
    later = sum(end.seq > newest for end in walk.ends)
    return [f"what was written since the newest seal given: {many(later, 'run')} closed after it"] if later else []


# ---------------------------------------------------------------- replay


async def replay(trail: Trail, run_id: UUID | None, policy_of: Callable[[UUID | None], Policy | None]) -> Proof:
    """Feed every stored evidence to the classifier; cause and remedy must come out as they stand in the trail.

    A verdict by older rules that these rules would not reach is counted as superseded, not as a fault. Null for a
    policy: it cannot be read.
    """
    proof = Proof()
    async for stored in trail.judged(run_id):
        proof.entries += 1
        if isinstance(stored, BadEntry):
            proof.fault(f"entry {stored.entry_id}: {stored.why}")
            continue
        try:
            _replay_one(stored, policy_of(stored.entry.run_id), proof)
        except UNREADABLE as error:
            proof.fault(f"entry {stored.entry_id}: {why_unreadable(error)}")
    return proof


def _replay_one(stored: StoredEntry, policy: Policy | None, proof: Proof) -> None:
    entry = stored.entry
    if entry.evidence is None or entry.cause is None:
        lacks = "evidence" if entry.evidence is None else "cause"
        proof.fault(f"entry {stored.entry_id} ({entry.key}): {entry.tag} without {lacks}")
        return
    if policy is None:
        proof.fault(f"entry {stored.entry_id}: the policy of run {entry.run_id} cannot be read")
        return
    evidence, rules = evidence_from(entry.evidence), entry.evidence.get("rules", RULES_VERSION)
    if type(rules) is not int or not 0 < rules <= RULES_VERSION:
        known = f"this program knows 1 to {RULES_VERSION}"
        proof.fault(f"entry {stored.entry_id}: it was judged by rules {str(rules)[:20]}, {known}")
        return
    finding = classify(evidence, policy)
    cause, expected = finding.cause, _expected(entry, evidence, choose(finding, policy))
    stated = (entry.cause, entry.remedy, _decided(entry.after))
    if stated in [(cause, REMEDY_NAMES[type(remedy)], remedy_json(remedy)) for remedy in expected]:
        return
    if rules < RULES_VERSION:
        proof.superseded += 1
        return
    proof.fault(
        f"entry {stored.entry_id} ({entry.key}): says {entry.cause} and {entry.remedy}, "
        f"replay says {cause} and {remedy_json(expected[0])['remedy']}"
    )


def _expected(entry: AuditEntry, evidence: Evidence, chosen: Remedy) -> tuple[Remedy, ...]:
    """The remedies that may stand beside a cause: what the rules choose, or a write that follows from no rule.

    An undo asks for what the event asked for before that run; the application's newer body is sent as it is.
    """
    after: Any = entry.after or {}
    drift = drift_of(evidence)
    if isinstance(undoes := after.get("undoes"), str):
        return (Reupsert(after.get("profile_id"), None, ProviderChange.UNKNOWN, drift, undoes=undoes),)
    if after.get("restores") is True:
        again = Reupsert(evidence.asked, evidence.provider, ProviderChange.SAME, drift, restores=True)
        return (again, Reupsert(evidence.asked, evidence.provider, ProviderChange.SAME, restores=True))
    return (chosen,)


def _decided(after: Json | None) -> Json | None:
    """What an entry says was decided, without the details for support, which follow from no rule."""
    return {name: value for name, value in after.items() if name != SUPPORT} if after is not None else None
