"""Reads what a report for account managers is made of, all of it at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from reconciler.domain.cause import SETTLED, Cause
from reconciler.domain.ids import ProfileId
from reconciler.domain.outage import Aftermath
from reconciler.domain.remedy import NoticeKind, ProviderChange
from reconciler.domain.report import Header, NotRead, Period, Report, RunFacts, fold
from reconciler.domain.report_lines import Asked, AtRisk, Lines, Linked, Owner, Repaired, Unread, Waiting, owner
from reconciler.domain.report_words import Delivery, RepairStatus
from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.rows import key_of
from reconciler.postgres.statements import statements

_SQL = statements("reports")


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What a report is asked about: a run, or a period of which one end may be open (`until` is exclusive).

    Raises:
        ValueError: neither a run nor a period, or both.
    """

    run_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    manager: tuple[str, ...] = ()
    customer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        of_period = self.since is not None or self.until is not None
        if (self.run_id is not None) == of_period:
            raise ValueError("a report is about either one run (--run) or a period (--since, --until)")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("the period ends before it begins: --since must be before --until")


async def build(pool: Pool, query: ReportQuery) -> Report:
    """The report that a query asks for, by the database's clock.

    Raises:
        LookupError: there is no such run; the message is one line.
        DatabaseUnreachable, WrongConfiguration: see `speaking_plainly`.
    """
    with speaking_plainly():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            now: datetime = await connection.fetchval(_SQL["now"])
            whose = (list(query.manager) or None, list(query.customer) or None)
            if query.run_id is not None:
                subject, lines = await _of_run(connection, query.run_id, whose)
            else:
                subject, lines = await _of_period(connection, Period(query.since, query.until or now), whose)
            seal = await connection.fetchval(_SQL["seal"], query.run_id)
            return fold(Header(subject, now, query.manager, query.customer, seal), lines)


_Whose = tuple[list[str] | None, list[str] | None]


async def _of_run(connection: Connection, run_id: UUID, whose: _Whose) -> tuple[RunFacts | Period, Lines]:
    run = await connection.fetchrow(_SQL["run"], run_id)
    if run is None:
        raise LookupError(f"there is no run {run_id}")
    scoped_to = run_id if run["scoped"] else None
    elsewhere = await connection.fetchval(_SQL["at_risk_elsewhere"], run_id, *whose)
    return _run(run, elsewhere), Lines(
        at_risk=_at_risk(await connection.fetch(_SQL["at_risk_of_run"], run_id, *whose, sorted(SETTLED))),
        waiting=_waiting(await connection.fetch(_SQL["waiting"], scoped_to, *whose)),
        repaired=_repaired(await connection.fetch(_SQL["repaired"], run_id, None, None, *whose)),
        unread=_unread(await connection.fetch(_SQL["unread"], run_id, None, None, *whose)),
        linked=_linked(await connection.fetch(_SQL["linked_of_run"], run_id, *whose)),
    )


async def _of_period(connection: Connection, period: Period, whose: _Whose) -> tuple[RunFacts | Period, Lines]:
    between = (period.since, period.until)
    return period, Lines(
        at_risk=_at_risk(await connection.fetch(_SQL["at_risk_now"], *whose)),
        waiting=_waiting(await connection.fetch(_SQL["waiting"], None, *whose)),
        repaired=_repaired(await connection.fetch(_SQL["repaired"], None, *between, *whose)),
        unread=_unread(await connection.fetch(_SQL["unread"], None, *between, *whose)),
        linked=_linked(await connection.fetch(_SQL["linked_in_period"], *between, *whose)),
    )


def _run(row: asyncpg.Record, elsewhere: int) -> RunFacts:
    summary = row["summary"] or {}
    accounts, events = summary.get("accounts", {}), summary.get("events", {})
    return RunFacts(
        run_id=row["run_id"],
        status=row["status"],
        dry_run=row["dry_run"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        reason=row["reason"],
        accounts_due=accounts.get("due"),
        accounts_left=accounts.get("left"),
        accounts_unseen=row["todo"],
        accounts_read=row["accounts_read"],
        events_read=events.get("read"),
        not_read=tuple(NotRead(*part) for part in row["not_read"] or ()),
        abandoned=row["abandoned"],
        overtaken=row["overtaken"],
        elsewhere=elsewhere,
        outage=Aftermath.of(row["outage"] or {}),
    )


def _owner(row: asyncpg.Record) -> Owner:
    return owner(row["account_id"], row["name"], row["email"], row["customer"], row["account_manager"])


def _at_risk(rows: Sequence[asyncpg.Record]) -> list[AtRisk]:
    return [
        AtRisk(
            owner=_owner(row),
            key=key_of(row),
            starts_at=row["starts_at"],
            cause=Cause(row["cause"]) if row["cause"] else None,
            remedy=row["remedy"],
            corrected=row["corrected"],
            planned=row["planned"],
            unlisted=row["unlisted"],
            refused=row["refused"],
            located=bool(row["located"]),
        )
        for row in rows
    ]


def _waiting(rows: Sequence[asyncpg.Record]) -> list[Waiting]:
    return [
        Waiting(
            owner=_owner(row),
            kind=NoticeKind(row["kind"]),
            provider_name=row["provider_name"],
            events=row["events"],
            first_event_at=row["first_event_at"],
            since=row["created_at"],
            delivery=Delivery(row["status"]),
        )
        for row in rows
    ]


def _repaired(rows: Sequence[asyncpg.Record]) -> list[Repaired]:
    return [
        Repaired(
            owner=_owner(row),
            key=key_of(row),
            starts_at=row["starts_at"],
            repaired_at=row["at"],
            old=_asked(row["old_profile"], row["old_provider"]),
            new=_asked(row["new_profile"], row["new_provider"]),
            change=_change(row["provider_change"]),
            status=_status(row),
        )
        for row in rows
    ]


def _change(word: str | None) -> ProviderChange:
    """How the provider changed, as the trail says it; whatever else stands there says nothing."""
    return ProviderChange(word) if word in set(ProviderChange) else ProviderChange.UNKNOWN


def _asked(profile_id: str | None, provider_name: str | None) -> Asked:
    return Asked(ProfileId(profile_id) if profile_id else None, provider_name)


def _status(row: asyncpg.Record) -> RepairStatus:
    if row["undo"]:
        return RepairStatus.UNDO
    if row["undone"]:
        return RepairStatus.UNDONE
    if row["confirmed"]:
        return RepairStatus.CONFIRMED
    if row["repeated"]:
        return RepairStatus.REPEATED
    return RepairStatus.CLOSED if row["closed"] else RepairStatus.AWAITING


def _unread(rows: Sequence[asyncpg.Record]) -> list[Unread]:
    return [Unread(_owner(row), row["error_kind"], row["events_due"], row["deadline"]) for row in rows]


def _linked(rows: Sequence[asyncpg.Record]) -> list[Linked]:
    return [Linked(row["account_manager"], row["customer"], row["events"], row["over"]) for row in rows]
