"""Proves the audit trail: no entry was changed, removed or inserted, and every verdict can be reached again."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from reconciler.domain.audit import GENESIS, AuditTag, Json, StoredEntry, entry_hash
from reconciler.domain.cause import RULES_VERSION, classify
from reconciler.domain.evidence_json import evidence_from
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import choose, remedy_json
from reconciler.domain.support import SUPPORT

_MOST_FAULTS = 100


class Trail(Protocol):
    """The audit trail, read in flat memory."""

    def in_chains(self) -> AsyncIterator[StoredEntry]: ...

    def judged(self, run_id: UUID | None) -> AsyncIterator[StoredEntry]: ...

    async def unsaid(self) -> Sequence[tuple[UUID, str]]: ...

    async def seal_before(self, run_id: UUID, entry_id: int) -> tuple[int, str]: ...


@dataclass(slots=True)
class Proof:
    """What was checked, and what was wrong: each fault names its place.

    `superseded` counts verdicts by older rules that today's would not reach.
    """

    entries: int = 0
    superseded: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note something wrong; beyond a hundred, only that there is more."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(text)
        elif len(self.faults) == _MOST_FAULTS:
            self.faults.append("and more: only the first hundred are listed")


async def verify(trail: Trail) -> Proof:
    """Check every chain from its first entry, every run's seal over what it wrote, and that its own entries stand."""
    proof = Proof()
    chain, seq, prev_hash = "", 0, GENESIS
    seals: list[StoredEntry] = []
    async for stored in trail.in_chains():
        proof.entries += 1
        if stored.chain != chain:
            chain, seq, prev_hash = stored.chain, 0, GENESIS
        place = f"entry {stored.entry_id} (chain {stored.chain}, place {stored.seq})"
        if stored.seq > seq + 1:
            proof.fault(f"{place}: {stored.seq - seq - 1} entries before it were removed")
        elif stored.seq <= seq:
            proof.fault(f"{place}: was inserted, its place was taken")
        elif stored.prev_hash != prev_hash:
            proof.fault(f"{place}: does not follow the entry before it")
        if entry_hash(stored.entry, stored.chain, stored.seq, stored.prev_hash) != stored.hash:
            proof.fault(f"{place}: was changed after it was written")
        seq, prev_hash = stored.seq, stored.hash
        if stored.entry.tag is AuditTag.RUN_FINISHED:
            seals.append(stored)
    for seal in seals:
        await _check_seal(trail, seal, proof)
    for run_id, tag in await trail.unsaid():
        proof.fault(f"run {run_id}: its entry {tag} was removed")
    return proof


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


async def replay(trail: Trail, run_id: UUID | None, policy_of: Callable[[UUID | None], Policy]) -> Proof:
    """Feed every stored evidence to the classifier; cause and remedy must come out as they stand in the trail.

    A verdict by older rules that these rules would not reach is counted as superseded, not as a fault.
    """
    proof = Proof()
    async for stored in trail.judged(run_id):
        proof.entries += 1
        entry = stored.entry
        try:
            finding = classify(evidence_from(entry.evidence or {}), policy_of(entry.run_id))
            remedy = remedy_json(choose(finding, policy_of(entry.run_id)))
        except (KeyError, ValueError, TypeError, AttributeError) as error:  # whatever was made of it, it costs no more
            proof.fault(f"entry {stored.entry_id}: its evidence cannot be read ({error})")
            continue
        if (finding.cause, remedy) == (entry.cause, _decided(entry.after)):
            continue
        if (entry.evidence or {}).get("rules", RULES_VERSION) < RULES_VERSION:
            proof.superseded += 1
        else:
            proof.fault(
                f"entry {stored.entry_id} ({entry.key}): says {entry.cause} and {entry.remedy}, "
                f"replay says {finding.cause} and {remedy['remedy']}"
            )
    return proof


def _decided(after: Json | None) -> Json | None:
    """What an entry says was decided, without the details for support, which follow from no rule."""
    return {name: value for name, value in after.items() if name != SUPPORT} if after is not None else None
