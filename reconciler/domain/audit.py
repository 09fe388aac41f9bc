"""The audit trail's statements: a closed vocabulary, one immutable entry each, chained by hash."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId, EventKey

GENESIS = "0" * 64
"""The `prev_hash` of a chain's first entry."""

RUNS_CHAIN = "runs"
"""The chain of entries that belong to no account."""


class AuditTag(StrEnum):
    """What an entry states, `subject:verb`. A word once used is never given another meaning."""

    RUN_STARTED = "run:started"
    RUN_FINISHED = "run:finished"
    EVENT_JUDGED = "event:judged"
    EVENT_CONFIRMED = "event:confirmed"
    EVENT_ESCALATED = "event:escalated"
    REPAIR_INTENDED = "repair:intended"
    REPAIR_APPLIED = "repair:applied"
    REPAIR_UNNEEDED = "repair:unneeded"
    REPAIR_REJECTED = "repair:rejected"
    REPAIR_IN_DOUBT = "repair:in_doubt"
    REPAIR_UNSENT = "repair:unsent"
    REPAIR_OVERTAKEN = "repair:overtaken"
    CORRECTION_REFUSED = "correction:refused"
    PLAN_DRIFTED = "plan:drifted"
    NOTICE_QUEUED = "notice:queued"
    NOTICE_UPDATED = "notice:updated"
    NOTICE_RESOLVED = "notice:resolved"
    ACCOUNT_PARKED = "account:parked"
    INCIDENT_OPENED = "incident:opened"
    INCIDENT_CLOSED = "incident:closed"


VERDICTS = frozenset({AuditTag.EVENT_JUDGED, AuditTag.EVENT_ESCALATED, AuditTag.REPAIR_INTENDED, AuditTag.PLAN_DRIFTED})
"""What states a cause and a remedy, with the evidence that they rest on."""

OF_NO_ACCOUNT = frozenset(
    {AuditTag.RUN_STARTED, AuditTag.RUN_FINISHED, AuditTag.INCIDENT_OPENED, AuditTag.INCIDENT_CLOSED}
)
"""What stands in the chain of the runs, and nowhere else. Its evidence is no event's."""


Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One statement of the trail. `at` is the moment of decision; numbers in the JSON parts are whole."""

    tag: AuditTag
    at: datetime
    run_id: UUID | None = None
    account_id: AccountId | None = None
    key: EventKey | None = None
    cause: Cause | None = None
    remedy: str | None = None
    outcome: str | None = None
    evidence: Json | None = None
    before: Json | None = None
    after: Json | None = None

    @property
    def chain(self) -> str:
        """The chain this entry belongs to: its account's, or that of the runs."""
        return self.account_id or RUNS_CHAIN


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry with its place in its chain."""

    entry_id: int
    entry: AuditEntry
    chain: str
    seq: int
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that cannot be read, for the reason `why`; its place in its chain can."""

    entry_id: int
    run_id: UUID | None
    tag: str
    chain: str
    seq: int
    prev_hash: str
    hash: str
    why: str


@dataclass(frozen=True, slots=True)
class Stray:
    """An entry that belongs to nothing on record. `why` is one of `no_run unknown_run after_seal not_its_account`."""

    entry_id: int
    chain: str
    seq: int
    run_id: UUID | None
    why: str


@dataclass(frozen=True, slots=True)
class RunBooks:
    """What a run's books say that its entries say too.

    `begun` holds scope, dry_run, reason and policy, null where that cannot be read; `seal` is null where there is none.
    """

    run_id: UUID
    status: str
    finished_at: datetime | None
    begun: Json | None
    seal: str | None

    @property
    def is_open(self) -> bool:
        """Whether the run is under way, or was left by a process that died."""
        return self.status == "running"


def canonical(entry: AuditEntry, chain: str, seq: int) -> bytes:
    """The bytes that the hash covers: every field, in one order, in one spelling."""
    fields = [
        chain,
        seq,
        entry.tag,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        str(entry.run_id) if entry.run_id else None,
        entry.account_id,
        entry.key.calendar_id if entry.key else None,
        entry.key.event_id if entry.key else None,
        entry.cause,
        entry.remedy,
        entry.outcome,
        entry.evidence,
        entry.before,
        entry.after,
    ]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def entry_hash(entry: AuditEntry, chain: str, seq: int, prev_hash: str) -> str:
    """The hash of an entry at a place of a chain, as hexadecimal SHA-256 over the previous hash and the entry."""
    return hashlib.sha256(prev_hash.encode() + canonical(entry, chain, seq)).hexdigest()
