"""Fills an audit trail with a million chained entries, of runs that are closed and sealed."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from reconciler.domain.audit import GENESIS, AuditEntry, AuditTag, entry_hash
from reconciler.domain.ids import AccountId

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def fill(dsn: str, chains: int, each: int) -> None:
    """Write `chains` accounts' chains of `each` entries, one of each run."""
    accounts = [AccountId(f"acc_{number:024d}") for number in range(chains)]
    with psycopg.connect(dsn) as connection:
        for run in range(each):
            connection.execute(
                "INSERT INTO reconciler.runs (run_id, status, started_at, finished_at)"
                " VALUES (%s, 'completed', %s, %s)",
                (UUID(int=run), _at(run), _at(run)),
            )
        connection.execute(
            "INSERT INTO reconciler.run_units (run_id, account_id, deadline, events_due, state)"
            " SELECT r.run_id, a.account_id, r.started_at, 1, 'done'"
            " FROM reconciler.runs r, unnest(%s::text[]) a (account_id)",
            (accounts,),
        )
        _copy(connection, (_looks(account, each) for account in accounts))
        _copy(connection, [_ends(connection, each)])


def _at(run: int) -> datetime:
    return _BEGAN + timedelta(days=run)


def _looks(account: AccountId, runs: int) -> Iterator[AuditEntry]:
    for run in range(runs):
        yield AuditEntry(AuditTag.NOTICE_UPDATED, _at(run), UUID(int=run), account, after={"looks": run})


def _ends(connection: "psycopg.Connection", runs: int) -> list[AuditEntry]:
    """The runs' own entries: that each began, and its seal."""
    entries = []
    for run in range(runs):
        run_id, beginning = UUID(int=run), AuditEntry(AuditTag.RUN_STARTED, _at(run), UUID(int=run))
        entries.append(beginning)
        heads = connection.execute(
            "SELECT count(*),"
            " encode(sha256(convert_to(string_agg(hash, '' ORDER BY chain COLLATE \"C\") || %s, 'UTF8')), 'hex')"
            " FROM reconciler.audit_entries WHERE run_id = %s",
            (_chain(entries)[-1][-3], run_id),
        ).fetchone()
        assert heads is not None
        sealed = {"entries": heads[0] + 1, "digest": heads[1]}
        entries.append(AuditEntry(AuditTag.RUN_FINISHED, _at(run), run_id, outcome="completed", evidence=sealed))
    return entries


def _chain(entries: Iterable[AuditEntry]) -> list[tuple[object, ...]]:
    """The rows of one chain."""
    rows: list[tuple[object, ...]] = []
    prev_hash = GENESIS
    for seq, entry in enumerate(entries, start=1):
        digest = entry_hash(entry, entry.chain, seq, prev_hash)
        evidence, after = (Jsonb(part) if part is not None else None for part in (entry.evidence, entry.after))
        head = (entry.run_id, entry.at, entry.tag.value, entry.account_id, entry.outcome, evidence, after)
        rows.append((*head, prev_hash, digest, entry.chain, seq))
        prev_hash = digest
    return rows


def _copy(connection: "psycopg.Connection", chains: Iterable[Iterable[AuditEntry]]) -> None:
    names = "run_id, at, tag, account_id, outcome, evidence, after, prev_hash, hash, chain, seq"
    with connection.cursor().copy(f"COPY reconciler.audit_entries ({names}) FROM STDIN") as copy:
        for chain in chains:
            for row in _chain(chain):
                copy.write_row(row)
