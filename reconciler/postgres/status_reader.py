"""Reads what is going on, for `reconciler status` and `reconciler explain`."""

import hashlib
from datetime import datetime
from typing import Any

from reconciler.domain.ids import EventKey
from reconciler.postgres.case_store import DueFilter
from reconciler.postgres.pool import Pool, speaking_plainly
from reconciler.postgres.statements import statements

_SQL = statements("status")


def client_key(client_id: str) -> str:
    """The name under which a Cronofy application's allowance is kept."""
    return hashlib.sha256(client_id.encode()).hexdigest()[:16]


class StatusReader:
    """Reads the present state of the work."""

    def __init__(self, pool: Pool, due: DueFilter) -> None:
        self._pool = pool
        self._due = due

    async def status(self, now: datetime, client_id: str | None) -> dict[str, Any]:
        """Runs under way, due work, budget, open notices and incidents, as plain values."""
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                runs = await connection.fetch(_SQL["runs_under_way"])
                due = await connection.fetchrow(_SQL["due"], *self._due.arguments(now))
                notices = await connection.fetch(_SQL["open_notices"])
                incidents = await connection.fetch(_SQL["open_incidents"])
                last = await connection.fetchrow(_SQL["last_finished"])
                budget = await connection.fetchrow(_SQL["budget"], client_key(client_id)) if client_id else None
        return {
            "now": now,
            "runs": [dict(r) for r in runs],
            "due": dict(due) if due else {},
            "budget": dict(budget) if budget else None,
            "notices": {n["kind"]: {"notices": n["notices"], "events": n["events"]} for n in notices},
            "incidents": [dict(i) for i in incidents],
            "last_run": dict(last) if last else None,
        }

    async def event(self, key: EventKey) -> dict[str, Any] | None:
        """One event as it stands, or null if neither the application nor our own record has such an event."""
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["event"], key.calendar_id, key.event_id)
        return dict(row) if row else None
