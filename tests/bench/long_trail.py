"""Fills an audit trail with a million chained entries."""

from datetime import UTC, datetime, timedelta

import psycopg

from reconciler.domain.audit import GENESIS, AuditEntry, AuditTag, entry_hash
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey


def fill(dsn: str, chains: int, each: int) -> None:
    """Write `chains` accounts' chains of `each` entries."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    with (
        psycopg.connect(dsn) as connection,
        connection.cursor().copy(
            "COPY reconciler.audit_entries "
            "(at, tag, account_id, calendar_id, event_id, evidence, prev_hash, hash, chain, seq) FROM STDIN"
        ) as copy,
    ):
        for number in range(chains):
            account, prev_hash = AccountId(f"acc_{number:024d}"), GENESIS
            for seq in range(1, each + 1):
                at = began + timedelta(seconds=seq)
                key = EventKey(CalendarId(f"cal_{number}"), EventId(f"e{seq}"))
                entry = AuditEntry(AuditTag.NOTICE_UPDATED, at, account_id=account, key=key, evidence={"looks": seq})
                digest = entry_hash(entry, account, seq, prev_hash)
                evidence = f'{{"looks": {seq}}}'
                copy.write_row(
                    (
                        at,
                        entry.tag.value,
                        account,
                        key.calendar_id,
                        key.event_id,
                        evidence,
                        prev_hash,
                        digest,
                        account,
                        seq,
                    )
                )
                prev_hash = digest
