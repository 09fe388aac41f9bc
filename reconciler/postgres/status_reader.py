"""Reads what is going on, for `reconciler status` and `reconciler explain`."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from reconciler.domain.event import BodyState
from reconciler.domain.ids import EventKey
from reconciler.domain.plural import many
from reconciler.domain.run import expected_end
from reconciler.postgres.due import DueFilter
from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.faults import EVENT_TIMES, account_faults, body_fault, event_faults
from reconciler.postgres.moments import is_usable
from reconciler.postgres.pool import Pool
from reconciler.postgres.statements import statements

_SQL = statements("status")
_HELD_BACK = statements("runs")["held_back"]
"""The very words with which the run itself ends."""

_BACKLOG_S = 1.0
"""Requests that far behind their turn are waiting for the allowance."""


def client_key(client_id: str) -> str:
    """The name under which a Cronofy application's allowance is kept."""
    return hashlib.sha256(client_id.encode()).hexdigest()[:16]


class StatusReader:
    """Reads the present state of the work."""

    def __init__(self, pool: Pool, due: DueFilter) -> None:
        self._pool = pool
        self._due = due

    async def status(self, now: datetime, client_id: str | None) -> dict[str, Any]:
        """Runs under way and the last one, due work, budget, open notices and incidents, as plain values.

        `held_back` of a run names the limits that held back writes, those of single accounts included. Of the last run
        `plan_id` is the plan of what they held back, `kept` the number of its remedies, and `trouble` counts the
        accounts that could not be read or written, with the first errors.
        """
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                runs = await connection.fetch(_SQL["runs_under_way"], now)
                waiting = await connection.fetchrow(_SQL["waiting_sessions"])
                due = await connection.fetchrow(_SQL["due"], *self._due.arguments(now))
                notices = await connection.fetch(_SQL["open_notices"])
                incidents = await connection.fetch(_SQL["open_incidents"])
                last = await connection.fetchrow(_SQL["last_finished"])
                trouble = await connection.fetch(_SQL["trouble"], last["run_id"]) if last else []
                told = {r["run_id"]: await connection.fetchval(_HELD_BACK, r["run_id"]) for r in (*runs, last) if r}
                budget = await connection.fetchrow(_SQL["budget"], client_key(client_id)) if client_id else None
        waits = _waits(budget, waiting, [i["provider_name"] for i in incidents])
        return {
            "now": now,
            "runs": [{**_under_way(r, now, waits), "held_back": told[r["run_id"]]} for r in runs],
            "due": dict(due) if due else {},
            "budget": dict(budget) if budget else None,
            "notices": {n["kind"]: {"notices": n["notices"], "events": n["events"]} for n in notices},
            "incidents": [dict(i) for i in incidents],
            "last_run": {**dict(last), "held_back": told[last["run_id"]], "trouble": _trouble(trouble)}
            if last
            else None,
        }

    async def unlisted(self, providers: Sequence[str]) -> list[str]:
        """Those of these providers that no roster on record names: mistyped, or of accounts not read yet."""
        with speaking_plainly():
            return [row["name"] for row in await self._pool.fetch(_SQL["unlisted_providers"], providers)]

    async def event(self, key: EventKey) -> dict[str, Any] | None:
        """One event as it stands, or null if neither the application nor our own record has such an event.

        `faults`: what the application stored of it, or of its account, that cannot be used; such times are null.
        """
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["event"], key.calendar_id, key.event_id)
            body = None
            if await self._pool.fetchval(_SQL["may_read_bodies"]):
                body = await self._pool.fetchval(_SQL["body_state"], key.calendar_id, key.event_id)
        return _with_faults(dict(row), BodyState(body or BodyState.USABLE)) if row else None


def _with_faults(event: dict[str, Any], body: BodyState) -> dict[str, Any]:
    helpers = ("copies", "account_rows", "token_expires_at", "updated_at")
    found = {name: event.pop(name) for name in helpers}
    faults = [] if event["dropped"] else event_faults({**event, **found})
    if found["copies"] > 1:
        body = BodyState.TWICE
    if (what := body_fault(body)) is not None:
        faults.append(what)
    if event["account_known"] and not event["dropped"]:
        account = {**found, "rows": found["account_rows"], "state": event["account_state"]}
        faults += [f"its account's {what}" for what in account_faults(account)]
    unusable = (name for name in EVENT_TIMES if event[name] is not None and not is_usable(event[name]))
    return {**event, **dict.fromkeys(unusable), "faults": faults}


def _trouble(rows: Sequence[asyncpg.Record]) -> dict[str, Any]:
    errors = [{name: row[name] for name in ("account_id", "kind", "message")} for row in rows]
    return {"accounts": rows[0]["accounts"] if rows else 0, "errors": errors}


def _under_way(row: asyncpg.Record, now: datetime, waits: list[str]) -> dict[str, Any]:
    """A run under way, with its expected end by the pace so far and what it waits for."""
    run = dict(row)
    recent, since, held, todo = (run.pop(name) for name in ("recent", "recent_since", "held", "todo"))
    run["expected_end"] = expected_end(now, todo, recent, since) if run["planned"] else None
    ours = [] if run["planned"] else ["the list of due accounts"]
    if held:
        ours.append(f"its last account, to give {many(held, 'event')} a verdict (is their provider down?)")
    run["waits_for"] = [] if run["abandoned"] else [*waits, *ours]
    return run


def _waits(budget: asyncpg.Record | None, waiting: asyncpg.Record | None, down: Sequence[str]) -> list[str]:
    """What all runs under way wait for at the moment, in words."""
    waits = []
    if budget and budget["held_for_seconds"] > 0:
        waits.append(f"the pause after a 429, {budget['held_for_seconds']:.0f} s more")
    elif budget and budget["minute_backlog_seconds"] >= _BACKLOG_S:
        waits.append(f"the request budget, {budget['minute_backlog_seconds']:.0f} s behind")
    if waiting and waiting["sessions"]:
        sessions = many(waiting["sessions"], "session waits", "sessions wait")
        waits.append(f"the database: {sessions} for a lock, {waiting['seconds']:.0f} s so far")
    waits += [f"{provider}: incident open, its events are not written" for provider in down]
    return waits
