"""One account's events: loaded with what is on record, intended writes, and the one transaction that records a unit."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from reconciler.domain.casework import (
    Case,
    Caseload,
    Counts,
    HeldCases,
    Scope,
    Unit,
    UnitError,
    UnitResult,
    Verdict,
    added,
)
from reconciler.domain.evidence import KnownProfile, Notified
from reconciler.domain.evidence_json import evidence_from, evidence_json
from reconciler.domain.ids import AccountId, CalendarId, EventKey, ProfileId
from reconciler.domain.notice import Addressee, Notice, recipient
from reconciler.domain.remedy import remedy_json, remedy_text
from reconciler.domain.roster import Roster
from reconciler.ports import Density, Intent, SafetyLimitReached, SafetyLimits, Window
from reconciler.postgres import audit_log
from reconciler.postgres.pool import Connection, Pool, speaking_plainly
from reconciler.postgres.rows import ReadBody, event_from, key_of, notice_events, notice_from, state_from, state_row
from reconciler.postgres.statements import statements

_SQL = statements("cases")
_RUNS = statements("runs")


@dataclass(frozen=True, slots=True)
class DueFilter:
    """Which events are due: the parameters of `reconciler.due_events`."""

    horizon: timedelta
    scope: Scope
    recheck_assigned: bool = False

    def arguments(self, now: datetime, account_id: AccountId | None) -> tuple[Any, ...]:
        """The function's arguments, in order."""
        s = self.scope
        return (
            now, self.horizon, account_id, self.recheck_assigned, bool(s.as_json()),
            _some(s.accounts), _some(s.customers), _some(s.managers), _some(s.providers), _some(s.profiles),
            _some([k.calendar_id for k in s.events]), _some([k.event_id for k in s.events]),
            s.starting_before, s.starting_after, s.written_before, s.written_after, _some(s.causes),
        )  # fmt: skip


def _some(values: Sequence[str]) -> list[str] | None:
    return list(values) or None


class PostgresCases:
    """Implements `ports.CaseStore` on a pool; `dry_run` keeps everything but the run's own progress unwritten."""

    def __init__(
        self, pool: Pool, read_body: ReadBody, due: DueFilter, limits: SafetyLimits, *, dry_run: bool = False
    ) -> None:
        self._pool = pool
        self._read_body = read_body
        self._due = due
        self._limits = limits
        self._dry_run = dry_run

    async def load(self, unit: Unit, now: datetime) -> Caseload | UnitError:
        """See `ports.CaseStore.load`."""
        with speaking_plainly():
            async with self._pool.acquire() as connection:
                account = await connection.fetchrow(_SQL["account"], unit.account_id)
                if account is None:
                    return UnitError("no_account", "events name an account that reconciler.accounts does not hold")
                rows = await connection.fetch(_SQL["due"], *self._due.arguments(now, unit.account_id))
                keys = [key_of(row) for row in rows]
                notified = await self._notified(connection, keys)
                cases = tuple(
                    Case(
                        event := event_from(row, self._read_body),
                        state_from(row).for_write(event.written_at),
                        notified.get(key, ()),
                    )
                    for key, row in zip(keys, rows, strict=True)
                )
                return await self._caseload(connection, unit, account, cases)

    async def _caseload(
        self, connection: Connection, unit: Unit, account: asyncpg.Record | None, cases: tuple[Case, ...]
    ) -> Caseload:
        profiles = await connection.fetch(_SQL["profiles"], unit.account_id)
        on_record = bool(profiles) or await connection.fetchval(_SQL["has_roster"], unit.account_id)
        notices = await connection.fetch(_SQL["open_notices"], unit.account_id)
        known: Mapping[str, str | None] = dict(account or {})
        return Caseload(
            unit=unit,
            addressee=Addressee(
                unit.account_id, known.get("email"), known.get("customer"), known.get("account_manager")
            ),
            data_center=known.get("data_center") or "us",
            cases=cases,
            profiles={
                ProfileId(p["profile_id"]): KnownProfile(p["provider_name"], p["profile_name"]) for p in profiles
            },
            listed_before=sum(1 for p in profiles if p["listed"]) if on_record else None,
            open_notices=tuple(notice_from(row) for row in notices),
        )

    async def _notified(self, connection: Connection, keys: Sequence[EventKey]) -> dict[EventKey, tuple[Notified, ...]]:
        rows = await connection.fetch(_SQL["notified"], [k.calendar_id for k in keys], [k.event_id for k in keys])
        found: dict[EventKey, tuple[Notified, ...]] = {}
        for row in rows:
            found[key_of(row)] = (
                *found.get(key_of(row), ()),
                Notified(row["type"], row["subtype"], row["received_at"]),
            )
        return found

    async def density(self, account_id: AccountId, window: Window) -> Density:
        """See `ports.CaseStore.density`."""
        since, until = (datetime.combine(day, time(), UTC) for day in (window.since, window.until))
        with speaking_plainly():
            rows = await self._pool.fetch(_SQL["density"], account_id, since, until)
        found: dict[CalendarId, dict[date, int]] = {}
        for row in rows:
            found.setdefault(CalendarId(row["calendar_id"]), {})[row["day"]] = row["events"]
        return found

    async def intend(self, intent: Intent) -> Mapping[EventKey, str]:
        """See `ports.CaseStore.intend`."""
        keys = list(intent.writes)
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(
                    _SQL["still_writable"],
                    [k.calendar_id for k in keys],
                    [k.event_id for k in keys],
                    [intent.writes[k][0] for k in keys],
                )
                bodies = {key_of(row): row["body"] for row in rows}
                if bodies:
                    await self._charge(connection, intent, len(bodies))
                    await connection.execute(
                        _SQL["mark_intended"],
                        intent.unit.account_id,
                        intent.at,
                        [k.calendar_id for k in bodies],
                        [k.event_id for k in bodies],
                        [intent.writes[k][1] for k in bodies],
                    )
                    await audit_log.append(connection, [e for e in intent.entries if e.key in bodies])
                return bodies

    async def _charge(self, connection: Connection, intent: Intent, writes: int) -> None:
        run_id, limits = intent.unit.run_id, self._limits
        if await connection.fetchval(
            _SQL["charge_repairs"], run_id, writes, limits.repairs, limits.share, intent.events_read
        ):
            return
        counted = await connection.fetchrow(_SQL["repair_counters"], run_id)
        repairs, read = (counted["repairs"], counted["events_read"] + intent.events_read) if counted else (0, 0)
        if repairs + writes > limits.repairs:
            why = f"RECONCILER_MAX_REPAIRS allows {limits.repairs} repairs in a run"
        else:
            why = f"RECONCILER_MAX_REPAIR_SHARE allows {limits.share:g} of the {read} events read"
        raise SafetyLimitReached(f"{why}; {repairs} are done and {writes} more were to follow")

    async def record(self, result: UnitResult) -> Sequence[EventKey]:
        """See `ports.CaseStore.record`."""
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await self._finish_unit(connection, result):
                    return ()
                if result.held:
                    await self._hold(connection, result)
                if result.verdicts:
                    await self._plan(connection, result)
                if self._dry_run:
                    return ()
                return await self._record_decisions(connection, result)

    async def record_held(self, result: UnitResult) -> None:
        """Record verdicts that were held back; the account's held evidence goes in the same transaction."""
        run_id, account_id = result.unit.run_id, result.unit.account_id
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                counts: Counts = await connection.fetchval(_SQL["unit_counts"], run_id, account_id)
                await connection.execute(_SQL["add_unit_counts"], run_id, account_id, added(counts, result.counts))
                await connection.execute(_SQL["release_held"], run_id, account_id)
                if self._dry_run:
                    await self._plan(connection, result)
                else:
                    await self._record_decisions(connection, result)

    async def held(self, run_id: UUID, after: str) -> Sequence[HeldCases]:
        """The next accounts with held evidence, in order of their ids."""
        with speaking_plainly():
            async with self._pool.acquire() as connection:
                accounts = await connection.fetch(_SQL["held_accounts"], run_id, after)
                return [await self._held_of(connection, run_id, AccountId(row["account_id"])) for row in accounts]

    async def _held_of(self, connection: Connection, run_id: UUID, account_id: AccountId) -> HeldCases:
        account = await connection.fetchrow(_SQL["account"], account_id)
        rows = await connection.fetch(_SQL["held"], run_id, account_id)
        cases = tuple(
            Case(event := event_from(r, self._read_body), state_from(r).for_write(event.written_at)) for r in rows
        )
        unit = Unit(run_id, account_id, rows[0]["starts_at"])
        caseload = await self._caseload(connection, unit, account, cases)
        return HeldCases(caseload, {key_of(r): evidence_from(r["evidence"]) for r in rows})

    async def compare_roster(self, run_id: UUID, *, lost: bool) -> tuple[int, int]:
        """See `ports.CaseStore.compare_roster`."""
        with speaking_plainly():
            row = await self._pool.fetchrow(_RUNS["compare_rosters"], run_id, int(lost))
        return (row["rosters_compared"], row["rosters_lost"]) if row else (0, 0)

    async def _finish_unit(self, connection: Connection, result: UnitResult) -> bool:
        error = result.error
        observed = {p: {"overdue": o.overdue, "total": o.total} for p, o in result.observed.items()}
        unit = result.unit
        counts = result.counts
        if unit.attempt:
            before: Counts = await connection.fetchval(_SQL["unit_counts"], unit.run_id, unit.account_id)
            counts = added(before, counts)
        done = await connection.fetchval(
            _SQL["finish_unit"],
            unit.run_id,
            unit.account_id,
            "failed" if error else "done",
            counts,
            observed,
            error.kind if error else None,
            error.message if error else None,
            result.park is not None,
        )
        if done and (read := counts.get("events", {}).get("read", 0)):
            await connection.execute(_SQL["add_events_read"], unit.run_id, read)
        return done is not None

    async def _record_decisions(self, connection: Connection, result: UnitResult) -> Sequence[EventKey]:
        unit = result.unit
        if result.states:
            await connection.execute(_SQL["put_states"], [state_row(s, unit.run_id) for s in result.states])
        overtaken = await self._correct(connection, result)
        if result.roster is not None:
            await self._put_roster(connection, unit.account_id, result.roster, result.at)
        now = result.at
        for notice in (*result.notices.queue, *result.notices.update):
            await self._put_notice(connection, result, notice, now)
        for subject in result.notices.resolve:
            await connection.execute(
                _SQL["resolve_notice"], unit.account_id, subject.kind, subject.profile_id, now, unit.run_id
            )
        if result.park is not None:
            await connection.execute(_SQL["park"], unit.account_id, result.park)
        if result.entries:
            await audit_log.append(connection, result.entries)
        return overtaken

    async def _correct(self, connection: Connection, result: UnitResult) -> Sequence[EventKey]:
        wanted = result.corrections
        if not wanted:
            return ()
        rows = await connection.fetch(
            _SQL["correct"],
            [c.key.calendar_id for c in wanted],
            [c.key.event_id for c in wanted],
            [c.profile_id for c in wanted],
            [c.written_at for c in wanted],
        )
        corrected = {key_of(row) for row in rows}
        return [c.key for c in wanted if c.key not in corrected]

    async def _put_roster(self, connection: Connection, account_id: AccountId, roster: Roster, now: datetime) -> None:
        rows = [
            (p.profile_id, "conferencing", p.provider_name, p.profile_name, p.connected) for p in roster.conferencing
        ] + [(p.profile_id, "calendar", p.provider_name, None, p.connected) for p in roster.calendar_profiles]
        await connection.execute(_SQL["unlist_profiles"], account_id)
        if rows:
            unique = list({(row[0], row[1]): row for row in rows}.values())
            await connection.execute(_SQL["put_profiles"], account_id, now, *map(list, zip(*unique, strict=True)))

    async def _put_notice(self, connection: Connection, result: UnitResult, notice: Notice, now: datetime) -> None:
        who = result.addressee
        starts = [starts_at for _, starts_at in notice.events]
        await connection.execute(
            _SQL["queue_notice"],
            notice.subject.kind,
            who.account_id,
            notice.subject.profile_id,
            notice.provider_name,
            notice.relink_url,
            recipient(notice.subject.kind, who),
            who.customer,
            who.account_manager,
            notice_events(notice),
            len(starts),
            min(starts, default=None),
            max(starts, default=None),
            now,
            result.unit.run_id,
        )

    async def _hold(self, connection: Connection, result: UnitResult) -> None:
        await connection.execute(
            _SQL["hold"],
            result.unit.run_id,
            result.unit.account_id,
            [key.calendar_id for key, _ in result.held],
            [key.event_id for key, _ in result.held],
            [evidence_json(evidence) for _, evidence in result.held],
        )

    async def _plan(self, connection: Connection, result: UnitResult) -> None:
        items = result.verdicts
        await connection.execute(_SQL["open_plan"], result.unit.run_id)
        await connection.execute(
            _SQL["put_plan_items"],
            result.unit.run_id,
            result.unit.account_id,
            [v.key.calendar_id for v in items],
            [v.key.event_id for v in items],
            [v.starts_at for v in items],
            [v.cause for v in items],
            [remedy_text(v.remedy) for v in items],
            [remedy_json(v.remedy) for v in items],
            [evidence_digest(v) for v in items],
        )


def evidence_digest(verdict: Verdict) -> str:
    """A digest of what a verdict rests on, without the moments of observation: equal while nothing changed."""
    stored = evidence_json(verdict.evidence)
    stored.pop("now")
    text = json.dumps(stored, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
