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
