"""The audit trail in Postgres: appends to hash chains, and reads them back in flat memory to prove them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

import asyncpg

from reconciler.domain.audit import GENESIS, AuditEntry, AuditTag, StoredEntry, entry_hash
from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey
from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.statements import statements

_SQL = statements("audit")
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """The last place of a chain and the hash of its entry."""

    seq: int = 0
    hash: str = GENESIS


async def append(connection: Connection, entries: Iterable[AuditEntry]) -> None:
    """Append entries to their chains, within the caller's transaction; who was overtaken repeats it (`repeated`)."""
    rows: list[dict[str, Any]] = []
    for chain, group in groupby(sorted(entries, key=lambda e: e.chain), key=lambda e: e.chain):
        rows += chained(chain, await head_of(connection, chain), group)[0]
    await append_rows(connection, rows)


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


def _stored(row: asyncpg.Record) -> StoredEntry:
    key = EventKey(CalendarId(row["calendar_id"]), EventId(row["event_id"])) if row["event_id"] is not None else None
    entry = AuditEntry(
        tag=AuditTag(row["tag"]),
        at=row["at"],
        run_id=row["run_id"],
        account_id=AccountId(row["account_id"]) if row["account_id"] is not None else None,
        key=key,
        cause=Cause(row["cause"]) if row["cause"] else None,
        remedy=row["remedy"],
        outcome=row["outcome"],
        evidence=row["evidence"],
        before=row["before"],
        after=row["after"],
    )
    return StoredEntry(row["entry_id"], entry, row["chain"], row["seq"], row["prev_hash"], row["hash"])


class AuditReader:
    """Reads the trail."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def in_chains(self) -> AsyncIterator[StoredEntry]:
        """Every entry, chain by chain in order."""
        async for entry in self._stream(_SQL["in_chains"]):
            yield entry

    async def judged(self, run_id: UUID | None) -> AsyncIterator[StoredEntry]:
        """Every stored verdict, of one run or of all."""
        async for entry in self._stream(_SQL["judged"], run_id):
            yield entry

    async def of_event(self, key: EventKey) -> Sequence[StoredEntry]:
        """One event's whole story, oldest first."""
        with speaking_plainly():
            return [_stored(r) for r in await self._pool.fetch(_SQL["of_event"], key.calendar_id, key.event_id)]

    async def unsaid(self) -> Sequence[tuple[UUID, str]]:
        """Runs in the books of whose beginning or end the trail says nothing, with the tag that is missing."""
        with speaking_plainly():
            return [(row["run_id"], row["tag"]) for row in await self._pool.fetch(_SQL["unsaid"])]

    async def seal_before(self, run_id: UUID, entry_id: int) -> tuple[int, str]:
        """How many entries of a run stand before an entry, and a digest over the last of them in each chain."""
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["seal"], run_id, entry_id)
        return (row["entries"], row["digest"]) if row else (0, "")

    async def _stream(self, sql: str, *args: object) -> AsyncIterator[StoredEntry]:
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                async for row in connection.cursor(sql, *args, prefetch=_PAGE):
                    yield _stored(row)
