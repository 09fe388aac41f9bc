"""The audit trail in Postgres: appends to hash chains, and seals what a run wrote."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from reconciler.domain.audit import GENESIS, AuditEntry, entry_hash
from reconciler.postgres.pool import Connection
from reconciler.postgres.statements import statements

_SQL = statements("audit")


@dataclass(frozen=True, slots=True)
class Head:
    """The last place of a chain and the hash of its entry."""

    seq: int = 0
    hash: str = GENESIS


async def append(connection: Connection, entries: Iterable[AuditEntry]) -> None:
    """Append entries to their chains, within the caller's transaction; who was overtaken repeats it (`repeated`)."""
    await append_rows(connection, await _rows(connection, entries))


async def append_seal(connection: Connection, entry: AuditEntry) -> str:
    """Append a run's last entry, within the caller's transaction; its hash is the run's seal."""
    rows = await _rows(connection, [entry])
    await append_rows(connection, rows)
    seal: str = rows[-1]["hash"]
    return seal


async def _rows(connection: Connection, entries: Iterable[AuditEntry]) -> list[dict[str, Any]]:
    """Entries of any chains as rows that follow the heads of these."""
    rows: list[dict[str, Any]] = []
    for chain, group in groupby(sorted(entries, key=lambda e: e.chain), key=lambda e: e.chain):
        rows += chained(chain, await head_of(connection, chain), group)[0]
    return rows


async def head_of(connection: Connection, chain: str) -> Head:
    """The head of a chain as it stands."""
    row = await connection.fetchrow(_SQL["head"], chain)
    return Head(row["seq"], row["hash"]) if row else Head()


async def seal(connection: Connection, run_id: UUID) -> dict[str, object]:
    """How many entries a run wrote, and a digest over the last of them in each chain: what its last entry holds."""
    row = await connection.fetchrow(_SQL["seal"], run_id, None)
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return {"entries": row["entries"], "digest": row["digest"]}


def chained(chain: str, head: Head, entries: Iterable[AuditEntry]) -> tuple[list[dict[str, Any]], Head]:
    """Entries as rows that follow the head of their chain; and its new head.

    An account's chain has one writer at a time, whoever holds the account; the runs' has several. Two writers collide
    on a sequence number, and the second is undone whole: no lock that others may take keeps anybody waiting.
    """
    rows = []
    for entry in entries:
        digest = entry_hash(entry, chain, head.seq + 1, head.hash)
        rows.append({**_row(entry), "prev_hash": head.hash, "hash": digest, "chain": chain, "seq": head.seq + 1})
        head = Head(head.seq + 1, digest)
    return rows, head


async def append_rows(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows that are chained already."""
    if rows:
        await connection.execute(_SQL["append"], rows)


def _row(e: AuditEntry) -> dict[str, Any]:
    calendar_id, event_id = (e.key.calendar_id, e.key.event_id) if e.key else (None, None)
    return {
        "run_id": None if e.run_id is None else str(e.run_id),
        "at": e.at.isoformat(),
        "tag": e.tag,
        "account_id": e.account_id,
        "calendar_id": calendar_id,
        "event_id": event_id,
        "cause": e.cause,
        "remedy": e.remedy,
        "outcome": e.outcome,
        "evidence": e.evidence,
        "before": e.before,
        "after": e.after,
    }
