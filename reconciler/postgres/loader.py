"""Writes rows into the application's two relations, as an application would: for the demo and for tests."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import open_pool

_ACCOUNTS = """
INSERT INTO reconciler.accounts (account_id, data_center, access_token, refresh_token, token_expires_at, name, email,
                                 customer, account_manager, state, parked_reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_EVENTS = """
INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, ends_at, profile_id, body, written_at,
                               cancelled_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
"""


async def load_rows(dsn: str, accounts: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> None:
    """Insert accounts and events; `body` is a JSON value or null."""
    async with open_pool(dsn, 2) as pool:
        with speaking_plainly():
            async with pool.acquire() as connection, connection.transaction():
                await connection.executemany(
                    _ACCOUNTS,
                    [
                        (
                            a["account_id"], a.get("data_center", "us"), a.get("access_token"), a.get("refresh_token"),
                            a.get("token_expires_at"), a.get("name"), a.get("email"), a.get("customer"),
                            a.get("account_manager"), a.get("state", "active"), a.get("parked_reason"),
                        )
                        for a in accounts
                    ],
                )  # fmt: skip
                await connection.executemany(
                    _EVENTS,
                    [
                        (
                            e["calendar_id"], e["event_id"], e["account_id"], e["starts_at"], e.get("ends_at"),
                            e.get("profile_id"),
                            json.dumps(e["body"], ensure_ascii=False) if e.get("body") is not None else None,
                            e["written_at"], e.get("cancelled_at"),
                        )
                        for e in events
                    ],
                )  # fmt: skip
