"""Runs, their units, counters and incidents in Postgres."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Counts, Unit, UnitError, added
from reconciler.domain.ids import AccountId
from reconciler.domain.run import ProviderShare, RunClosed, RunRow, Totals, summary
from reconciler.ports import DatabaseUnreachable, KeyTaken, LocksLost, Reopened, StillWriting
from reconciler.postgres import audit_log
from reconciler.postgres.due import DueFilter
from reconciler.postgres.failures import repeated, speaking_plainly
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.statements import statements

_SQL = statements("runs")


class RunLedger:
    """Implements `ports.RunLedger` on a pool.

    `session` is the database session that holds this process's locks: nothing is written for a run once that is gone.
    Without one nothing is asked, which is for those who only read.
    """

    def __init__(self, pool: Pool, due: DueFilter, session: int | None = None) -> None:
        self._pool = pool
        self._due = due
        self._session = session

    @asynccontextmanager
    async def _writing(self, run_id: UUID) -> AsyncIterator[Connection]:
        """A transaction that writes for a run. Whoever closes the run's books waits for its end.

        Raises:
            LocksLost: the run may be another's by now.
        """
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                await self._be_ours(connection, run_id)
                yield connection

    async def _be_ours(self, connection: Connection, run_id: UUID) -> None:
        if self._session is not None and not await connection.fetchval(_SQL["still_ours"], run_id, self._session):
            raise LocksLost

    async def now(self) -> datetime:
        """The database's clock."""
        with speaking_plainly():
            moment: datetime = await self._pool.fetchval("SELECT clock_timestamp()")
            return moment

    async def of_key(self, run_key: str) -> tuple[RunRow, str] | None:
        """The run of a key and its status, if there is one."""
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["of_key"], run_key)
        return (_run(row), row["status"]) if row else None

    async def abandoned(self) -> list[RunRow]:
        """Runs that are marked as under way; whether their process lives, their lock tells."""
        with speaking_plainly():
            return [_run(row) for row in await self._pool.fetch(_SQL["under_way"])]

    @repeated
    async def start(self, run: RunRow, entry: AuditEntry) -> None:
        """See `ports.RunLedger.start`."""
        async with self._writing(run.run_id) as connection:
            begun = await connection.fetchval(
                _SQL["start"], run.run_id, run.run_key, run.trigger, run.reason, dict(run.scope), run.dry_run,
                run.started_at, dict(run.policy),
            )  # fmt: skip
            if begun is None:
                raise KeyTaken
            await audit_log.append(connection, [entry])

    @repeated
    async def resume(self, run_id: UUID) -> None:
        """Take over a run whose process is gone."""
        async with self._writing(run_id) as connection:
            await connection.execute(_SQL["resume"], run_id)

    async def ended(self, run_id: UUID) -> RunClosed | None:
        """How a run ended, if its books are closed."""
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["ended"], run_id)
        return RunClosed(row["status"], row["summary"] or {}, await self.held_back(run_id)) if row else None

    @repeated
    async def refuse(self, run_id: UUID, why: str) -> None:
        """Note which limit holds back writes; the first reason stands."""
        async with self._writing(run_id) as connection:
            await connection.execute(_SQL["refuse"], run_id, why)

    async def refusal(self, run_id: UUID) -> str | None:
        """Which limit holds back the writes of all, whichever process met it."""
        with speaking_plainly():
            why: str | None = await self._pool.fetchval(_SQL["refusal"], run_id)
            return why

    async def held_back(self, run_id: UUID) -> str | None:
        """Every limit that held back a write, those of single accounts included; null where none did."""
        with speaking_plainly():
            return await _held_back(self._pool, run_id)

    @repeated
    async def plan_units(self, run_id: UUID, now: datetime) -> None:
        """Write down the run's work, one unit per account; once, whoever asks."""
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                await self.plan_within(connection, run_id, now)

    async def plan_within(self, connection: Connection, run_id: UUID, now: datetime) -> None:
        """Write down the run's work in the caller's transaction."""
        await self._be_ours(connection, run_id)
        await connection.execute(_SQL["one_plans"], run_id)
        if not await connection.fetchval(_SQL["is_planned"], run_id):
            await connection.execute(_SQL["plan_units"], *self._due.arguments(now), run_id)
            await connection.execute(_SQL["planned"], run_id)

    async def units(self, run_id: UUID, after: Unit | None, limit: int) -> Sequence[Unit]:
        """The next units to do, soonest deadline first."""
        with speaking_plainly():
            rows = await self._pool.fetch(_SQL["units"], run_id, *_start(after), limit)
        return [_unit(run_id, row) for row in rows]

    @repeated
    async def skip(self, unit: Unit, why: UnitError | None = None) -> None:
        """See `ports.RunLedger.skip`."""
        async with self._writing(unit.run_id) as connection:
            kind, message = (why.kind, why.message) if why else (None, None)
            await connection.execute(_SQL["skip_unit"], unit.run_id, unit.account_id, kind, message)

    @repeated
    async def spent(self, unit: Unit, counts: Counts) -> None:
        """Add what a unit cost whose work was cut off."""
        async with self._writing(unit.run_id) as connection:
            before = await connection.fetchval(_SQL["begun_unit"], unit.run_id, unit.account_id)
            if before is not None:
                await connection.execute(_SQL["put_spent"], unit.run_id, unit.account_id, added(before, counts))

    @repeated
    async def reopen(self, run_id: UUID, which: Reopened) -> int:
        """See `ports.RunLedger.reopen`."""
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                return await self.reopen_within(connection, run_id, which)

    async def reopen_within(self, connection: Connection, run_id: UUID, which: Reopened) -> int:
        """The same in the caller's transaction."""
        await self._be_ours(connection, run_id)
        return len(await connection.fetch(_SQL[f"reopen_{which}"], run_id))

    async def todo_within(self, connection: Connection, run_id: UUID, after: Unit | None, limit: int) -> list[Unit]:
        """The next units to do, in the caller's transaction."""
        rows = await connection.fetch(_SQL["units"], run_id, *_start(after), limit)
        return [_unit(run_id, row) for row in rows]

    async def totals(self, run_id: UUID) -> Totals:
        """The run's units by state."""
        with speaking_plainly():
            return await _totals(self._pool, run_id)

    async def counts(self, run_id: UUID) -> Counts:
        """The run's counters, by group."""
        with speaking_plainly():
            return await _counts(self._pool, run_id)

    async def errors(self, run_id: UUID) -> list[dict[str, str]]:
        """Why accounts could not be read or written, at most 100 of them."""
        with speaking_plainly():
            return await _errors(self._pool, run_id)

    @repeated
    async def finish(
        self, run: RunRow, at: datetime, incidents: Mapping[str, int], status: Callable[[Totals, str | None], str]
    ) -> RunClosed | None:
        """See `ports.RunLedger.finish`. One transaction: no entry of the run can come between its seal and its end."""
        try:
            with speaking_plainly():
                async with self._pool.acquire() as connection, connection.transaction():
                    return await self._finish(connection, run, at, incidents, status)
        except DatabaseUnreachable as error:
            if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise StillWriting from error
            raise

    async def _finish(
        self,
        connection: Connection,
        run: RunRow,
        at: datetime,
        incidents: Mapping[str, int],
        status: Callable[[Totals, str | None], str],
    ) -> RunClosed | None:
        run_id = run.run_id
        await connection.execute(_SQL["wait_for_writers"])
        await connection.execute(_SQL["no_more_writes"], run_id)
        await self._be_ours(connection, run_id)
        if await connection.fetchrow(_SQL["ended"], run_id):
            return None
        totals, refusal = await _totals(connection, run_id), await _held_back(connection, run_id)
        counts, errors = await _counts(connection, run_id), await _errors(connection, run_id)
        end = status(totals, refusal)
        sealed = await audit_log.seal(connection, run_id)
        entry = AuditEntry(tag=AuditTag.RUN_FINISHED, at=at, run_id=run_id, outcome=end, evidence=sealed)
        seal = await audit_log.append_seal(connection, entry)
        books = summary(run, end, at, totals, counts, incidents, errors, seal)
        await connection.execute(_SQL["finish"], run_id, end, at, books)
        return RunClosed(end, books, refusal)

    async def shares(
        self, run_id: UUID, now: datetime, since: datetime, also: Collection[str]
    ) -> dict[str, ProviderShare]:
        """How the providers that this run observed, and those of `also`, do over events written after `since`."""
        with speaking_plainly():
            async with self._pool.acquire() as connection:
                seen = {row[0] for row in await connection.fetch(_SQL["observed_providers"], run_id)}
                providers = sorted({*seen, *also})
                rows = await connection.fetch(_SQL["providers_in_trouble"], run_id, now, since, providers)
        return {row["provider_name"]: _share(row) for row in rows}

    async def open_incidents(self) -> dict[str, datetime]:
        """The providers with an open incident, and when it was opened."""
        with speaking_plainly():
            return {r["provider_name"]: r["opened_at"] for r in await self._pool.fetch(_SQL["open_incidents"])}

    @repeated
    async def open_incident(
        self, provider: str, at: datetime, evidence: Mapping[str, object], run_id: UUID, entry: AuditEntry
    ) -> bool:
        """Open an incident; false if there is an open one."""
        async with self._writing(run_id) as connection:
            opened = await connection.fetchval(_SQL["open_incident"], provider, at, dict(evidence), run_id)
            if opened is not None:
                await audit_log.append(connection, [entry])
            return opened is not None

    @repeated
    async def close_incident(
        self, provider: str, at: datetime, evidence: Mapping[str, object], run_id: UUID, entry: AuditEntry
    ) -> bool:
        """Close a provider's open incident; false if there is none."""
        async with self._writing(run_id) as connection:
            closed = await connection.fetchval(_SQL["close_incident"], provider, at, {"closed": dict(evidence)})
            if closed is not None:
                await audit_log.append(connection, [entry])
            return closed is not None

    async def spent_notices(self, now: datetime, after: str) -> Sequence[AccountId]:
        """The next accounts with notices whose every event has started, in order of their ids."""
        with speaking_plainly():
            rows = await self._pool.fetch(_SQL["spent_notices"], now, after)
        return [AccountId(row["account_id"]) for row in rows]

    @repeated
    async def resolve_spent_notices(self, run_id: UUID, now: datetime, accounts: Sequence[AccountId]) -> None:
        """Resolve these accounts' notices whose every event has started."""
        async with self._writing(run_id) as connection:
            rows = await connection.fetch(_SQL["resolve_spent_notices"], now, accounts)
            entries = [
                AuditEntry(
                    tag=AuditTag.NOTICE_RESOLVED,
                    at=now,
                    run_id=run_id,
                    account_id=AccountId(row["account_id"]),
                    after={
                        "kind": row["kind"],
                        "profile_id": row["profile_id"],
                        "reason": "its events have started or were deleted",
                    },
                )
                for row in rows
            ]
            await audit_log.append(connection, entries)


async def _totals(db: Pool | Connection, run_id: UUID) -> Totals:
    row = await db.fetchrow(_SQL["totals"], run_id)
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return Totals(
        units=row["units"],
        events=int(row["events"]),
        done=row["done"],
        failed=row["failed"],
        parked=row["parked"],
        remaining=row["remaining"],
        todo=row["todo"],
        read=int(row["read"]),
        errors=row["errors"],
    )


async def _counts(db: Pool | Connection, run_id: UUID) -> Counts:
    counts: Counts = {}
    for row in await db.fetch(_SQL["counts"], run_id):
        counts.setdefault(row["grp"], {})[row["name"]] = row["number"]
    return counts


async def _errors(db: Pool | Connection, run_id: UUID) -> list[dict[str, str]]:
    return [dict(row) for row in await db.fetch(_SQL["errors"], run_id)]


async def _held_back(db: Pool | Connection, run_id: UUID) -> str | None:
    why: str | None = await db.fetchval(_SQL["held_back"], run_id)
    return why


def _share(row: asyncpg.Record) -> ProviderShare:
    return ProviderShare(
        overdue=row["overdue"],
        total=row["total"],
        accounts=row["accounts"],
        waiting=row["waiting"],
        customers=row["customers"],
        told=row["told"],
        told_accounts=row["told_accounts"],
    )


def _start(after: Unit | None) -> tuple[datetime, str]:
    return (after.deadline, after.account_id) if after else (datetime.fromisoformat("0001-01-02T00:00:00Z"), "")


def _unit(run_id: UUID, row: asyncpg.Record) -> Unit:
    return Unit(run_id, AccountId(row["account_id"]), row["deadline"], row["attempt"], weighed=row["weighed"])


def _run(row: asyncpg.Record) -> RunRow:
    return RunRow(
        run_id=row["run_id"],
        run_key=row["run_key"],
        trigger=row["trigger"],
        reason=row["reason"],
        scope=row["scope"],
        dry_run=row["dry_run"],
        started_at=row["started_at"],
        policy=row["policy"],
    )
