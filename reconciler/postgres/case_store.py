"""One account's events: loaded with what is on record, intended writes, and the one transaction that records a unit."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any
from uuid import UUID

import asyncpg

from reconciler.domain.audit import AuditEntry
from reconciler.domain.casework import (
    Case,
    Counts,
    HeldCases,
    Scope,
    Unit,
    UnitError,
    UnitResult,
    added,
)
from reconciler.domain.evidence_json import digest_of, evidence_from
from reconciler.domain.ids import AccountId, EventKey
from reconciler.domain.notice import Notice, recipient
from reconciler.domain.remedy import PASSIVE, remedy_json, remedy_text
from reconciler.domain.roster import Losses
from reconciler.ports import (
    AccountLimitReached,
    DatabaseUnreachable,
    Intent,
    Loaded,
    Recorded,
    SafetyLimitReached,
    SafetyLimits,
)
from reconciler.postgres import audit_log
from reconciler.postgres.audit_log import Head
from reconciler.postgres.corrections import write_back
from reconciler.postgres.due import DueFilter
from reconciler.postgres.failures import repeated, speaking_plainly
from reconciler.postgres.loading import loaded_from, nobodys, usable_cases
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.rows import (
    ReadBody,
    ReadPushed,
    Row,
    case_from,
    caseload_from,
    held_row,
    key_of,
    loaded_case,
    more_errors,
    notice_events,
    profile_rows,
    state_row,
    unit_row,
    writable_bodies,
)
from reconciler.postgres.statements import statements
from reconciler.postgres.together import Together
from reconciler.postgres.tokens import TokenSafe, TokenUnreadable, want_one_that_opens

_SQL = statements("cases")
_RUNS = statements("runs")
_EVER = timedelta(days=36_500)

Claim = Callable[[Connection, Unit], Awaitable[bool]]
"""Asked first in a transaction that writes for a unit: whether the claim to it still stands, locked until the end."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What keeps a process from writing for a unit that is another's by now.

    `session` is the database session that holds the locks of its runs and accounts: with it they are gone, which the
    process may not know yet. `claim`: where processes share a run, the unit has to be claimed too.
    """

    session: int
    claim: Claim | None = None


class PostgresCases:
    """Implements `ports.CaseStore` on a pool; `dry_run` keeps everything but the run's own progress unwritten.

    Behind a `fence` nothing is written for a unit that is another process's by now: no intent, no result.
    """

    def __init__(
        self,
        pool: Pool,
        safe: TokenSafe,
        read_body: ReadBody,
        read_pushed: ReadPushed,
        due: DueFilter,
        limits: SafetyLimits,
        *,
        dry_run: bool = False,
        fence: Fence | None = None,
    ) -> None:
        self._pool = pool
        self._safe = safe
        self._read_body = read_body
        self._read_pushed = read_pushed
        self._due = due
        self._limits = limits
        self._dry_run = dry_run
        self._fence = fence
        self._heads: dict[AccountId, Head] = {}
        self._put = Together(self._record_plain, apart=True)

    async def load(
        self, unit: Unit, now: datetime, page_size: int, events: Sequence[EventKey] = ()
    ) -> Loaded | UnitError | None:
        """See `ports.CaseStore.load`."""
        due = DueFilter(_EVER, Scope(events=tuple(events))) if events else self._due
        with speaking_plainly():
            if not unit.account_id:
                return nobodys(unit, await self._pool.fetch(_SQL["load_nobodys"], *due.arguments(now)))
            rows = await self._pool.fetch(_SQL["load"], *due.arguments(now), unit.account_id, page_size)
        if not rows:
            return None
        try:
            loaded = loaded_from(unit, rows, self._case_of, partial(self._safe.pair, unit.account_id))
        except TokenUnreadable as error:
            await want_one_that_opens(self._pool, self._safe)
            return UnitError(error.kind, str(error))
        if isinstance(loaded, UnitError):
            return loaded
        account = rows[0]["account"]
        self._know_head(unit.account_id, account)
        if due.scope.as_json():  # not all of the account's events are looked at
            return loaded
        caseload = replace(loaded.caseload, to_look_at=tuple(account["to_look_at"] or ()))
        return replace(loaded, caseload=caseload)

    def _case_of(self, row: Row) -> Case:
        return loaded_case(row, self._read_body, self._read_pushed)

    def _know_head(self, account_id: AccountId, account: Mapping[str, Any]) -> None:
        self._heads[account_id] = Head(*account["head"]) if account["head"] else Head()

    @repeated
    async def intend(self, intent: Intent) -> Mapping[EventKey, str]:
        """See `ports.CaseStore.intend`."""
        keys = list(intent.writes)
        with speaking_plainly(), self._heads_of(intent.unit.account_id, go_on=True):
            async with self._pool.acquire() as connection, connection.transaction():
                if not await self._may_write(connection, intent.unit):
                    return {}
                rows = await connection.fetch(
                    _SQL["still_writable"],
                    [k.calendar_id for k in keys],
                    [k.event_id for k in keys],
                    [intent.writes[k][0] for k in keys],
                )
                bodies = writable_bodies(rows)
                if bodies:
                    if intent.counts:
                        await self._charge(connection, intent, len(bodies))
                    await connection.execute(
                        _SQL["forget_other_accounts"],
                        intent.unit.account_id,
                        [k.calendar_id for k in bodies],
                        [k.event_id for k in bodies],
                    )
                    await connection.execute(
                        _SQL["mark_intended"],
                        intent.unit.account_id,
                        intent.at,
                        [k.calendar_id for k in bodies],
                        [k.event_id for k in bodies],
                        [intent.writes[k][1] for k in bodies],
                        [intent.writes[k][0] for k in bodies],
                        intent.restores,
                    )
                    wanted = [entry for entry in intent.entries if entry.key in bodies]
                    chained = await self._chained(connection, intent.unit.account_id, wanted)
                    await audit_log.append_rows(connection, chained)
                return bodies

    async def unchanged(self, unit: Unit, writes: Mapping[EventKey, datetime]) -> Collection[EventKey]:
        """See `ports.CaseStore.unchanged`."""
        with speaking_plainly():
            rows = await self._pool.fetch(
                _SQL["unchanged"],
                [k.calendar_id for k in writes],
                [k.event_id for k in writes],
                list(writes.values()),
                unit.run_id,
                self._session,
            )
        return {key_of(row) for row in rows}

    async def _may_write(self, connection: Connection, unit: Unit) -> bool:
        """Whether the unit is still this process's."""
        if not await self._holds_run(connection, unit.run_id):
            return False
        return self._fence is None or self._fence.claim is None or await self._fence.claim(connection, unit)

    async def _holds_run(self, connection: Connection, run_id: UUID) -> bool:
        """Whether this process's locks still stand, and the run's books are open."""
        return self._fence is None or bool(await connection.fetchval(_SQL["may_write"], run_id, self._fence.session))

    @property
    def _session(self) -> int | None:
        return self._fence.session if self._fence else None

    @contextmanager
    def _heads_of(self, *accounts: AccountId, go_on: bool = False) -> Iterator[None]:
        """Know the heads of these accounts' chains no longer than they are surely so; `go_on`: more is to follow."""
        sure = False
        try:
            yield
            sure = go_on
        finally:
            if not sure:
                for account_id in accounts:
                    self._heads.pop(account_id, None)

    async def _charge(self, connection: Connection, intent: Intent, writes: int) -> None:
        """Count the writes, and the unit's reads with them: a share of what others have yet to record is no share."""
        run_id, account_id, limits = intent.unit.run_id, intent.unit.account_id, self._limits
        await connection.execute(_SQL["lock_counters"], run_id)
        done = await connection.fetchval(_SQL["charge_account"], run_id, account_id, writes) - writes
        if done + writes > limits.per_account:
            raise AccountLimitReached(
                f"RECONCILER_MAX_REPAIRS_PER_ACCOUNT allows {limits.per_account} repairs of one account in a run; "
                f"of {account_id} {done} are done and {writes} more were to follow"
            )
        await connection.execute(_SQL["count_reads"], run_id, account_id, intent.events_read)
        if await connection.fetchval(_SQL["charge_repairs"], run_id, writes, limits.repairs, limits.share):
            return
        counted = await connection.fetchrow(_SQL["repair_counters"], run_id)
        repairs, read = (counted["repairs"], counted["events_read"]) if counted else (0, 0)
        if repairs + writes > limits.repairs:
            why = f"RECONCILER_MAX_REPAIRS allows {limits.repairs} repairs in a run"
        else:
            why = f"RECONCILER_MAX_REPAIR_SHARE allows {limits.share:g} of the {read} events read"
        raise SafetyLimitReached(f"{why}; {repairs} are done and {writes} more were to follow")

    async def record(self, result: UnitResult) -> Recorded:
        """See `ports.CaseStore.record`. Most are part of one statement, which needs no transaction around it."""
        claimed = self._fence is not None and self._fence.claim is not None
        if claimed or self._dry_run or not _is_plain(result):
            return await _in_any_case([result], partial(self._record, result, claimed=claimed))
        await self._put(result)
        return Recorded()

    @repeated
    async def _record_plain(self, results: Sequence[UnitResult]) -> Sequence[None]:
        with speaking_plainly(), self._heads_of(*(result.unit.account_id for result in results)):
            async with self._pool.acquire() as connection:
                await self._record_units(connection, results)
        return [None] * len(results)

    @repeated
    async def _record(self, result: UnitResult, *, claimed: bool, untried: bool) -> Recorded:
        with speaking_plainly(), self._heads_of(result.unit.account_id):
            async with self._pool.acquire() as connection, connection.transaction():
                if claimed and not await self._may_write(connection, result.unit):
                    return Recorded()
                if not await self._record_units(connection, [result]):
                    return Recorded()
                if result.verdicts:
                    await self._plan(connection, result)
                return Recorded() if self._dry_run else await self._record_rest(connection, result, untried=untried)

    async def record_more(self, results: Sequence[UnitResult]) -> Recorded:
        """See `ports.CaseStore.record_more`."""
        return await _in_any_case(results, partial(self._record_more, results))

    @repeated
    async def _record_more(self, results: Sequence[UnitResult], *, untried: bool) -> Recorded:
        run_id, accounts = results[0].unit.run_id, [result.unit.account_id for result in results]
        done = Recorded()
        with speaking_plainly(), self._heads_of(*accounts):
            async with self._pool.acquire() as connection, connection.transaction():
                if not await self._holds_run(connection, run_id):
                    return done
                await self._add_counts(connection, run_id, results)
                for result in results:
                    if (error := result.error) is not None:
                        account_id = result.unit.account_id
                        await connection.execute(
                            _SQL["add_unit_error"], run_id, account_id, error.kind, error.message, more_errors(result)
                        )
                    if self._dry_run:
                        await self._plan(connection, result)
                await connection.execute(_SQL["release_held"], run_id, accounts)
                if not self._dry_run:
                    states = [state_row(s, run_id) for result in results for s in result.states]
                    await connection.execute(_SQL["put_states"], states)
                    await audit_log.append_rows(
                        connection, [row for result in results for row in await self._rows(connection, result)]
                    )
                    for result in results:
                        done = done.and_(await self._record_rest(connection, result, untried=untried))
        return done

    async def _add_counts(self, connection: Connection, run_id: UUID, results: Sequence[UnitResult]) -> None:
        accounts = [result.unit.account_id for result in results]
        before = {r["account_id"]: r["counts"] for r in await connection.fetch(_SQL["unit_counts"], run_id, accounts)}
        counts = [added(before.get(result.unit.account_id, {}), result.counts) for result in results]
        refusals = [result.refusal for result in results]
        await connection.execute(_SQL["put_unit_counts"], run_id, accounts, counts, refusals)

    async def held_accounts(self, run_id: UUID, after: str) -> Sequence[AccountId]:
        """See `ports.CaseStore.held_accounts`."""
        with speaking_plainly():
            rows = await self._pool.fetch(_SQL["held_accounts"], run_id, after)
        return [AccountId(row["account_id"]) for row in rows]

    async def held(self, run_id: UUID, accounts: Sequence[AccountId]) -> Sequence[HeldCases]:
        """See `ports.CaseStore.held`."""
        with speaking_plainly():
            rows = await self._pool.fetch(_SQL["held"], run_id, accounts)
        return [
            self._held_of(run_id, AccountId(account_id), list(group))
            for account_id, group in groupby(rows, key=lambda row: row["account_id"])
        ]

    def _held_of(self, run_id: UUID, account_id: AccountId, rows: Sequence[asyncpg.Record]) -> HeldCases:
        """What has become unusable since it was held is left to the next run."""
        account, (cases, _) = rows[0]["account"], usable_cases(rows, lambda row: case_from(row, self._read_body))
        self._know_head(account_id, account)
        caseload = caseload_from(Unit(run_id, account_id, rows[0]["starts_at"]), account, cases)
        return HeldCases(caseload, {key_of(r): evidence_from(r["evidence"]) for r in rows})

    async def lost_rosters(self, run_id: UUID, *, one_in_hand: bool = False) -> Losses:
        """See `ports.CaseStore.lost_rosters`."""
        return await self._losses("lost_rosters", run_id, one_in_hand)

    async def lost_access(self, run_id: UUID, *, one_in_hand: bool = False) -> Losses:
        """See `ports.CaseStore.lost_access`."""
        return await self._losses("lost_access", run_id, one_in_hand)

    async def _losses(self, what: str, run_id: UUID, one_in_hand: bool) -> Losses:
        with speaking_plainly():
            row = await self._pool.fetchrow(_RUNS[what], run_id, one_in_hand)
        return Losses(row["compared"], row["lost"], row["to_come"]) if row else Losses()

    async def _record_units(self, connection: Connection, results: Sequence[UnitResult]) -> bool:
        """Record units of one run; whether any was still to do, and this process's."""
        run_id, write = results[0].unit.run_id, not self._dry_run
        rosters = [(result, result.roster) for result in results if write and result.roster is not None]
        done = await connection.fetch(
            _SQL["record"],
            run_id,
            [result.unit.account_id for result in results],
            [unit_row(result, await self._all_counts(connection, result)) for result in results],
            [state_row(state, run_id) for result in results for state in result.states if write],
            [held_row(result.unit.account_id, *held) for result in results for held in result.held],
            [row for result in results if write for row in await self._rows(connection, result)],
            [result.unit.account_id for result, _ in rosters],
            [row for result, roster in rosters for row in profile_rows(result, roster)],
            self._session,
            [result.unit.account_id for result in results for _ in result.looked_at if write],
            [notification for result in results for notification in result.looked_at if write],
        )
        return bool(done)

    async def _all_counts(self, connection: Connection, result: UnitResult) -> Counts:
        """A unit worked again in the same run adds to what it counted before."""
        if not result.unit.attempt:
            return result.counts
        unit = result.unit
        rows = await connection.fetch(_SQL["unit_counts"], unit.run_id, [unit.account_id])
        return added(rows[0]["counts"], result.counts) if rows else result.counts

    async def _record_rest(self, connection: Connection, result: UnitResult, *, untried: bool) -> Recorded:
        unit, now = result.unit, result.at
        for notice in (*result.notices.queue, *result.notices.update):
            await self._put_notice(connection, result, notice, now)
        for subject in result.notices.resolve:
            await connection.execute(
                _SQL["resolve_notice"], unit.account_id, subject.kind, subject.profile_id, now, unit.run_id
            )
        back = await write_back(connection, result, untried=untried)
        await audit_log.append_rows(connection, await self._chained(connection, unit.account_id, back.entries))
        if (error := back.error) is not None:
            await connection.execute(_SQL["add_refusal"], unit.run_id, unit.account_id, error.kind, error.message)
        return Recorded(back.overtaken, error)

    async def _rows(self, connection: Connection, result: UnitResult) -> list[dict[str, Any]]:
        """A result's audit entries as rows, chained to the head of the account's chain."""
        return await self._chained(connection, result.unit.account_id, result.entries)

    async def _chained(
        self, connection: Connection, account_id: AccountId, entries: Sequence[AuditEntry]
    ) -> list[dict[str, Any]]:
        if not entries:
            return []
        head = self._heads.get(account_id) or await audit_log.head_of(connection, account_id)
        rows, self._heads[account_id] = audit_log.chained(account_id, head, entries)
        return rows

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
            len(starts) + notice.more,
            min(starts, default=None),
            max(starts, default=None),
            now,
            result.unit.run_id,
        )

    async def _plan(self, connection: Connection, result: UnitResult) -> None:
        items = [v for v in result.verdicts if not isinstance(v.remedy, PASSIVE)]
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
            [digest_of(v.evidence) for v in items],
        )


async def _in_any_case(results: Sequence[UnitResult], record: Callable[..., Awaitable[Recorded]]) -> Recorded:
    """Record; and where that fails once more, with the application's rows left as they are: perhaps it was for them."""
    try:
        return await record(untried=False)
    except DatabaseUnreachable:
        if not any(result.corrections or result.park for result in results):
            raise
    return await record(untried=True)


def _is_plain(result: UnitResult) -> bool:
    """Whether all of a result is part of the one statement that records a unit."""
    more = result.corrections or result.verdicts or result.park is not None or result.unit.attempt
    return not (more or result.notices.queue or result.notices.update or result.notices.resolve)
