"""Stored plans, and what runs changed: what `apply` and `undo` go by."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from reconciler.domain.ids import EventKey
from reconciler.postgres.failures import repeated, speaking_plainly
from reconciler.postgres.pool import Pool
from reconciler.postgres.statements import statements

_SQL = statements("plans")


class Plans:
    """Reads plans and what became of their events; closes a plan."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def items(self, plan_id: UUID) -> list[dict[str, Any]]:
        """What a plan holds, soonest start first."""
        with speaking_plainly():
            return [dict(row) for row in await self._pool.fetch(_SQL["plan_items"], plan_id)]

    async def remedies(self, run_id: UUID) -> dict[str, int]:
        """How many events a run worked out each remedy for without carrying it out; none that changes nothing."""
        with speaking_plainly():
            rows = await self._pool.fetch(_SQL["remedies_of"], run_id)
        return {row["remedy"]: row["number"] for row in rows}

    async def plan(self, plan_id: UUID) -> dict[str, Any] | None:
        """A stored plan's digest and expiry, or null if there is none."""
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["plan"], plan_id)
        return dict(row) if row else None

    async def changes(self, run_id: UUID) -> list[dict[str, Any]] | None:
        """What a run changed of events, from the audit trail; null if there is no such run."""
        with speaking_plainly():
            async with self._pool.acquire() as connection:
                if not await connection.fetchval(_SQL["exists"], run_id):
                    return None
                return [dict(row) for row in await connection.fetch(_SQL["changes"], run_id)]

    async def fates(self, run_id: UUID, events: Sequence[EventKey]) -> Mapping[str, Mapping[str, int]]:
        """What became in a run of the events that it was told by name: per fate how many, by remedy.

        The fates, of which every event has one: `carried_out`; `refused` by Cronofy; `in_doubt`, written without a
        certain answer; `failed`, not read or not written; `drifted`, changed since; `held_back` by a limit; `left` at
        the end; `elsewhere`, in another run's hands.
        """
        calendars, ids = [key.calendar_id for key in events], [key.event_id for key in events]
        fates: dict[str, dict[str, int]] = {}
        with speaking_plainly():
            for row in await self._pool.fetch(_SQL["fates"], run_id, calendars, ids):
                fates.setdefault(row["fate"], {})[row["remedy"] or ""] = row["number"]
        return fates

    async def in_hand(self, run_id: UUID) -> bool:
        """Whether a living process has this run in hand."""
        with speaking_plainly():
            return bool(await self._pool.fetchval(_SQL["in_hand"], run_id))

    async def left_in_doubt(self, run_id: UUID) -> int:
        """How many events a run wrote last without a certain outcome: what it changed of them is not known."""
        with speaking_plainly():
            number: int = await self._pool.fetchval(_SQL["left_in_doubt"], run_id)
            return number

    @repeated
    async def close(self, run_id: UUID, seconds_for: Callable[[int], float]) -> dict[str, Any]:
        """Close a run's plan under its digest: its id, digest, remedies, and what carrying it out is expected to cost.

        The run's summary is given it too: all of this in a dry run, else the id of what was held back.
        Carrying out reads each account with writes again and sends its writes in batches of up to 50.
        """
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(statements("cases")["open_plan"], run_id)
                plan_id: UUID = await connection.fetchval(_SQL["plan_of"], run_id)
                items = [dict(row) for row in await connection.fetch(_SQL["plan_items"], plan_id)]
                digest = plan_digest(items)
                writes = Counter(i["account_id"] for i in items if i["detail"]["remedy"] == "reupsert")
                requests = sum(2 + n for n in writes.values())
                closed = {
                    "plan_id": str(plan_id),
                    "digest": digest,
                    "remedies": dict(Counter(i["detail"]["remedy"] for i in items)),
                    "expected_requests": requests,
                    "expected_seconds": round(seconds_for(requests), 1),
                }
                await connection.execute(_SQL["seal_plan"], plan_id, digest, closed)
                await connection.execute(_SQL["tell_of_plan"], run_id, closed)
                return closed


def plan_digest(items: Sequence[Mapping[str, Any]]) -> str:
    """The digest of a plan: every event with its cause, its remedy in detail and the digest of its evidence."""
    lines = [
        json.dumps([i["calendar_id"], i["event_id"], i["cause"], i["detail"], i["evidence_digest"]], sort_keys=True)
        for i in items
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
