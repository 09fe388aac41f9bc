"""What reports read from a real Postgres: of a run, of a period, and never more than they may."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey
from reconciler.domain.remedy import NoticeKind, ProviderChange
from reconciler.domain.report import NotRead, Report, RunFacts
from reconciler.domain.report_lines import AtRisk, Linked, Repaired, Unread, Waiting
from reconciler.domain.report_words import LOCATION_TEXT, RUN_STATUS_TEXT, Delivery, RepairStatus
from reconciler.ports import WrongConfiguration
from reconciler.postgres import audit_log
from reconciler.postgres.locks import Locks
from reconciler.postgres.pool import Connection, Pool, open_pool
from reconciler.postgres.report_reader import ReportQuery, build
from reconciler.reporting import FORMATS, render

NOW = datetime.now(UTC)
SECRETS = {
    "join_url": "https://zoom.example/j/secret-join",
    "relink_url": "https://app.cronofy.example/relink/secret-relink",
    "token": "secret-token",
    "title": "Secret merger talk",
}


class Books:
    """Writes rows as the application and as runs do."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def account(self, name: str, manager: str | None = "Marta", customer: str | None = "Nordlicht") -> str:
        account_id = f"acc_{name}"
        await self.pool.execute(
            "INSERT INTO reconciler.accounts (account_id, name, customer, account_manager, access_token, refresh_token)"
            " VALUES ($1, $2, $3, $4, $5, $5)",
            account_id, name, customer, manager, SECRETS["token"],
        )  # fmt: skip
        return account_id

    async def event(self, event_id: str, account_id: str = "acc_anna", days: float = 2, **columns: Any) -> EventKey:
        values = {"profile_id": "pro_1", "cancelled_at": None, **columns}
        await self.pool.execute(
            "INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, profile_id, body,"
            " cancelled_at) VALUES ('cal_1', $1, $2, $3, $4, $5, $6)",
            event_id, account_id, NOW + timedelta(days=days), values["profile_id"],
            {"event_id": event_id, "summary": SECRETS["title"]}, values["cancelled_at"],
        )  # fmt: skip
        return EventKey(CalendarId("cal_1"), EventId(event_id))

    async def state(
        self, key: EventKey, run_id: UUID | None = None, account_id: str = "acc_anna", **columns: Any
    ) -> None:
        row: dict[str, Any] = {
            "conferencing": "pending",
            "cause": "unexplained",
            "remedy": "wait",
            "read_at": NOW,
            "join_url": SECRETS["join_url"],
            **columns,
        }
        names = ", ".join(row)
        marks = ", ".join(f"${number}" for number in range(5, 5 + len(row)))
        await self.pool.execute(
            f"INSERT INTO reconciler.event_states (calendar_id, event_id, account_id, run_id, {names})"  # noqa: S608
            f" VALUES ($1, $2, $3, $4, {marks})",
            key.calendar_id, key.event_id, account_id, run_id, *row.values(),
        )  # fmt: skip

    async def run(self, hours_ago: float = 1, **columns: Any) -> UUID:
        run_id = uuid4()
        row = {"status": "completed", "dry_run": False, "scope": {}, "summary": None, **columns}
        await self.pool.execute(
            "INSERT INTO reconciler.runs (run_id, started_at, finished_at, status, dry_run, scope, summary)"
            " VALUES ($1, $2, $2, $3, $4, $5, $6)",
            run_id, NOW - timedelta(hours=hours_ago), row["status"], row["dry_run"], row["scope"], row["summary"],
        )  # fmt: skip
        return run_id

    async def unit(self, run_id: UUID, account_id: str, error: str | None = None, state: str = "done") -> None:
        await self.pool.execute(
            "INSERT INTO reconciler.run_units (run_id, account_id, deadline, events_due, state, error_kind,"
            " error_message, parked, events_read) VALUES ($1, $2, $3, 4, $4, $5, $5, $6, $7)",
            run_id, account_id, NOW + timedelta(days=1), "failed" if error else "done" if state == "parked" else state,
            error, state == "parked", 4 if state == "done" and not error else 0,
        )  # fmt: skip

    async def entry(
        self, tag: AuditTag, key: EventKey, run_id: UUID, at: datetime = NOW, account_id: str = "acc_anna", **parts: Any
    ) -> None:
        entry = AuditEntry(tag=tag, at=at, run_id=run_id, account_id=AccountId(account_id), key=key, **parts)
        async with self.pool.acquire() as connection, connection.transaction():
            await audit_log.append(connection, [entry])

    async def applied(
        self, key: EventKey, run_id: UUID, at: datetime = NOW, old: str = "pro_1", account_id: str = "acc_anna"
    ) -> None:
        after = {"remedy": "reupsert", "profile_id": "pro_2", "provider_name": "zoom", "provider_change": "changed"}
        await self.entry(AuditTag.REPAIR_APPLIED, key, run_id, at, account_id, before={"profile_id": old}, after=after)

    async def notice(
        self, kind: str, account_id: str = "acc_anna", days: tuple[float, ...] = (2,), **columns: Any
    ) -> None:
        row = {"status": "queued", "provider_name": "zoom", "customer": "Old customer", **columns}
        starts = [NOW + timedelta(days=day) for day in days]
        events = [
            {"calendar_id": "cal_1", "event_id": f"e{day}", "starts_at": s.isoformat()}
            for day, s in zip(days, starts, strict=True)
        ]
        await self.pool.execute(
            "INSERT INTO reconciler.notices (kind, account_id, provider_name, relink_url, customer, status, events,"
            " events_affected, first_event_at, last_event_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            kind, account_id, row["provider_name"], SECRETS["relink_url"], row["customer"], row["status"], events,
            len(days), min(starts, default=None), max(starts, default=None),
        )  # fmt: skip

    async def profile(self, profile_id: str, provider: str, account_id: str = "acc_anna") -> None:
        await self.pool.execute(
            "INSERT INTO reconciler.known_profiles (account_id, profile_id, kind, provider_name, connected, listed,"
            " seen_at) VALUES ($1, $2, 'conferencing', $3, true, false, now())",
            account_id, profile_id, provider,
        )  # fmt: skip

    async def plan(self, run_id: UUID, *items: tuple[EventKey, str, str]) -> None:
        plan_id = uuid4()
        await self.pool.execute(
            "INSERT INTO reconciler.plans (plan_id, run_id, expires_at) VALUES ($1, $2, now())", plan_id, run_id
        )
        for key, cause, remedy in items:
            await self.pool.execute(
                "INSERT INTO reconciler.plan_items (plan_id, calendar_id, event_id, account_id, starts_at, cause,"
                " remedy, evidence_digest) VALUES ($1, $2, $3, 'acc_anna', now(), $4, $5, '')",
                plan_id, key.calendar_id, key.event_id, cause, remedy,
            )  # fmt: skip


@pytest.fixture
async def books(database: str) -> AsyncIterator[Books]:
    async with open_pool(database, 4) as pool:
        books = Books(pool)
        await books.account("anna")
        yield books


def at_risk(report: Report) -> list[AtRisk]:
    return [line for m in report.managers for c in m.customers for line in c.lines.at_risk]


def waiting(report: Report) -> list[Waiting]:
    return [line for m in report.managers for c in m.customers for line in c.lines.waiting]


def repaired(report: Report) -> list[Repaired]:
    return [line for m in report.managers for c in m.customers for line in c.lines.repaired]


def unread(report: Report) -> list[Unread]:
    return [line for m in report.managers for c in m.customers for line in c.lines.unread]


def linked(report: Report) -> list[Linked]:
    return [line for m in report.managers for c in m.customers for line in c.lines.linked]


def names(lines: list[AtRisk]) -> list[str]:
    return [line.key.event_id for line in lines]


def since(**ago: float) -> ReportQuery:
    return ReportQuery(since=NOW - timedelta(**ago))


async def test_an_unknown_run_is_said_in_one_line(books: Books) -> None:
    run_id = uuid4()
    with pytest.raises(LookupError, match=f"^there is no run {run_id}$"):
        await build(books.pool, ReportQuery(run_id=run_id))


@pytest.mark.parametrize("query", [{}, {"run_id": uuid4(), "since": NOW}, {"run_id": uuid4(), "until": NOW}])
def test_a_report_is_about_a_run_or_a_period(query: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either one run"):
        ReportQuery(**query)


async def test_a_database_without_our_tables_is_said_plainly(empty_database: str) -> None:
    async with open_pool(empty_database, 2) as pool:
        with pytest.raises(WrongConfiguration, match="reconciler migrate"):
            await build(pool, since(days=1))


async def test_the_words_for_a_run_s_status_are_those_of_the_table(books: Books) -> None:
    definition = await books.pool.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'runs_status_check'"
    )
    assert [word for word in RUN_STATUS_TEXT if f"'{word}'" not in definition] == []
    assert definition.count("::text") == len(RUN_STATUS_TEXT)


class TestAtRisk:
    async def test_a_run_shows_the_future_events_it_left_without_a_link(self, books: Books) -> None:
        run = await books.run()
        for number, (cause, remedy) in enumerate(
            [("settling", "wait"), ("profile_disconnected", "notify relink_calendar")]
        ):
            await books.state(await books.event(f"open{number}", days=9 - number), run, cause=cause, remedy=remedy)
        await books.state(await books.event("linked"), run, conferencing="assigned", cause="assigned", settled_at=NOW)
        await books.state(await books.event("past", days=-1), run)
        await books.state(await books.event("cancelled", cancelled_at=NOW), run)
        await books.state(await books.event("not-asking", profile_id="none"), run)
        await books.state(await books.event("asks-nothing", profile_id=None), run)
        report = await build(books.pool, ReportQuery(run_id=run))
        assert names(at_risk(report)) == ["open1", "open0"]
        assert [line.cause for line in at_risk(report)] == [Cause.PROFILE_DISCONNECTED, Cause.SETTLING]
        assert at_risk(report)[0].next_step.text == "Connect the calendar again."

    async def test_a_place_that_the_meeting_names_is_said_where_it_was_when_last_judged(self, books: Books) -> None:
        run = await books.run()
        for name, places in (("named", [False, True]), ("taken away", [True, False]), ("never", [])):
            key = await books.event(name)
            await books.state(key, run, conferencing="absent", cause="conferencing_absent", remedy="report")
            for place in places:
                body = {"state": "usable", **({"location": True} if place else {})}
                await books.entry(AuditTag.EVENT_JUDGED, key, run, evidence={"body": body})
        located = {line.key.event_id: line.located for line in at_risk(await build(books.pool, since(days=1)))}
        assert located == {"named": True, "taken away": False, "never": False}
        of_run = at_risk(await build(books.pool, ReportQuery(run_id=run)))
        assert {line.key.event_id: line.located for line in of_run} == located
        assert [LOCATION_TEXT in line.explanation for line in of_run].count(True) == 1

    async def test_a_run_keeps_what_its_entries_name_after_a_later_run(self, books: Books) -> None:
        first, second = await books.run(2), await books.run(1)
        decided, unchanged = await books.event("decided"), await books.event("unchanged")
        await books.entry(AuditTag.EVENT_JUDGED, decided, first)
        await books.state(decided, second)
        await books.state(unchanged, second)
        report = await build(books.pool, ReportQuery(run_id=first))
        assert names(at_risk(report)) == ["decided"]
        assert isinstance(report.header.subject, RunFacts)
        assert (report.header.subject.overtaken, report.header.subject.elsewhere) == (True, 1)
        assert len(report.header.notes) == 2
        assert names(at_risk(await build(books.pool, ReportQuery(run_id=second)))) == ["decided", "unchanged"]

    async def test_a_trial_run_shows_its_plan(self, books: Books) -> None:
        run = await books.run(dry_run=True)
        new, known = await books.event("new", days=1), await books.event("known", days=2)
        settled = await books.event("settled", days=3)
        await books.state(known, cause="settling", read_at=NOW - timedelta(days=1))
        await books.plan(
            run,
            (new, "profile_removed", "reupsert pro_2"),
            (known, "unexplained", "escalate"),
            (settled, "event_deleted", "settle"),
        )
        report = await build(books.pool, ReportQuery(run_id=run))
        assert names(at_risk(report)) == ["new", "known"]
        assert [line.cause for line in at_risk(report)] == [Cause.PROFILE_REMOVED, Cause.UNEXPLAINED]
        assert "has not been made" in at_risk(report)[0].next_step.text

    async def test_what_a_limit_held_back_is_shown_until_a_later_look(self, books: Books) -> None:
        run = await books.run(status="refused")
        held, done = await books.event("held", days=1), await books.event("done", days=2)
        await books.plan(run, (held, "profile_removed", "reupsert pro_2"), (done, "profile_removed", "reupsert pro_2"))
        await books.state(done, conferencing="assigned", cause="assigned", settled_at=NOW)
        report = await build(books.pool, ReportQuery(run_id=run))
        assert names(at_risk(report)) == ["held"]
        assert "safety limit" in report.header.notes[0]

    async def test_a_period_shows_everything_at_risk_now(self, books: Books) -> None:
        old = await books.run(200)
        await books.state(await books.event("old", days=5), old)
        await books.state(await books.event("unjudged", days=6), cause=None, remedy=None)
        await books.state(
            await books.event("repaired", days=7), cause="profile_removed", remedy="reupsert p", repaired_at=NOW
        )
        await books.event("never-read")
        report = await build(books.pool, since(hours=1))
        assert names(at_risk(report)) == ["old", "unjudged", "repaired"]
        assert [line.cause for line in at_risk(report)][1] is None
        assert at_risk(report)[2].corrected

    async def test_an_event_whose_account_is_gone_is_nobody_s(self, books: Books) -> None:
        await books.state(await books.event("orphan", "acc_gone"), account_id="acc_gone")
        report = await build(books.pool, since(hours=1))
        assert [m.title for m in report.managers] == ["No account manager"]
        assert at_risk(report)[0].owner.person == "acc_gone"


class TestRepaired:
    async def test_old_and_new_are_named_with_their_providers(self, books: Books) -> None:
        run = await books.run()
        await books.profile("pro_1", "go_to")
        await books.applied(await books.event("e1"), run)
        (line,) = repaired(await build(books.pool, ReportQuery(run_id=run)))
        assert (line.old.provider_name, line.new.profile_id, line.new.provider_name) == ("go_to", "pro_2", "zoom")
        assert (line.change, line.repaired_at) == (ProviderChange.CHANGED, NOW)

    async def test_what_became_of_each(self, books: Books) -> None:
        run = await books.run()
        for number, name in enumerate(
            ("confirmed", "by-state", "repeated", "awaiting", "begun", "gone", "cancelled"), 1
        ):
            key = EventKey(CalendarId("cal_1"), EventId(name))
            if name != "gone":
                days = -1 if name == "begun" else number
                key = await books.event(name, days=days, cancelled_at=NOW if name == "cancelled" else None)
            await books.applied(key, run)
            if name == "confirmed":
                await books.entry(AuditTag.EVENT_CONFIRMED, key, run)
            elif name == "by-state":
                await books.state(key, confirmed_at=NOW + timedelta(seconds=1), settled_at=NOW, conferencing="assigned")
            elif name == "repeated":
                await books.applied(key, await books.run(), NOW + timedelta(seconds=1))
            elif name == "awaiting":
                await books.state(key, repaired_at=NOW)
        lines = repaired(await build(books.pool, ReportQuery(run_id=run)))
        assert {line.key.event_id: line.status for line in lines} == {
            "confirmed": RepairStatus.CONFIRMED,
            "by-state": RepairStatus.CONFIRMED,
            "repeated": RepairStatus.REPEATED,
            "awaiting": RepairStatus.AWAITING,
            "begun": RepairStatus.CLOSED,
            "gone": RepairStatus.CLOSED,
            "cancelled": RepairStatus.CLOSED,
        }
        assert lines[-1].starts_at is None

    async def test_a_doubt_resolved_later_takes_what_was_asked_from_its_intent(self, books: Books) -> None:
        run, key = await books.run(), await books.event("e1")
        await books.profile("pro_2", "ms_teams")
        after = {"remedy": "reupsert", "profile_id": "pro_2", "provider_name": None, "provider_change": "same"}
        await books.entry(AuditTag.REPAIR_INTENDED, key, run, before={"profile_id": "8x8"}, after=after)
        later = await books.run(0.5)
        await books.entry(
            AuditTag.REPAIR_APPLIED, key, later, before={"intended_at": NOW.isoformat()}, after={"profile_id": "pro_2"}
        )
        await books.entry(AuditTag.EVENT_CONFIRMED, key, later)
        (line,) = repaired(await build(books.pool, ReportQuery(run_id=later)))
        assert (line.old.profile_id, line.new.provider_name) == ("8x8", "ms_teams")
        assert (line.change, line.status) == (ProviderChange.SAME, RepairStatus.CONFIRMED)

    async def test_what_was_taken_back_is_no_repair(self, books: Books) -> None:
        run, undo, key = await books.run(2), await books.run(1), await books.event("e1")
        await books.applied(key, run)
        back = {"remedy": "reupsert", "profile_id": "pro_1", "provider_name": None, "undoes": str(run)}
        await books.entry(AuditTag.REPAIR_APPLIED, key, undo, before={"profile_id": "pro_2"}, after=back)
        await books.entry(AuditTag.EVENT_CONFIRMED, key, undo)
        (first,) = repaired(await build(books.pool, ReportQuery(run_id=run)))
        assert first.status is RepairStatus.UNDONE
        report = await build(books.pool, ReportQuery(run_id=undo))
        (second,) = repaired(report)
        assert (second.status, second.change) == (RepairStatus.UNDO, ProviderChange.UNKNOWN)
        assert report.tally.repaired == 0

    async def test_a_period_takes_those_within_it(self, books: Books) -> None:
        run = await books.run()
        moments = {
            name: NOW - timedelta(hours=hours) for name, hours in {"late": 1, "within": 2, "at": 3, "early": 4}.items()
        }
        for name, at in reversed(moments.items()):
            await books.applied(await books.event(name), run, at)
        query = ReportQuery(since=moments["at"], until=moments["late"])
        assert {line.key.event_id for line in repaired(await build(books.pool, query))} == {"at", "within"}
        everything = await build(books.pool, ReportQuery(until=NOW))
        assert len(repaired(everything)) == 4


class TestWaiting:
    async def test_open_notices_count_the_events_still_ahead(self, books: Books) -> None:
        await books.notice("relink_conferencing", days=(-1, 3, 2), status="delivered")
        await books.notice("connect_conferencing", status="resolved")
        await books.notice("relink_calendar", days=(-2, -1))
        await books.notice("reauthorize_account", days=(-1,), provider_name=None)
        lines = waiting(await build(books.pool, since(hours=1)))
        assert [(line.kind, line.events, line.delivery) for line in lines] == [
            (NoticeKind.RELINK_CONFERENCING, 2, Delivery.DELIVERED),
            (NoticeKind.REAUTHORIZE_ACCOUNT, 0, Delivery.QUEUED),
        ]
        assert lines[0].first_event_at == NOW + timedelta(days=2)
        assert lines[0].owner.customer == "Nordlicht"

    async def test_a_scoped_run_shows_those_of_its_accounts_alone(self, books: Books) -> None:
        await books.account("bert")
        for account_id in ("acc_anna", "acc_bert", "acc_gone"):
            await books.notice("relink_conferencing", account_id)
        scoped, whole = await books.run(scope={"accounts": ["acc_bert"]}), await books.run()
        await books.unit(scoped, "acc_bert")
        of_scope = waiting(await build(books.pool, ReportQuery(run_id=scoped)))
        assert [line.owner.person for line in of_scope] == ["bert"]
        everyone = waiting(await build(books.pool, ReportQuery(run_id=whole)))
        assert {line.owner.person: line.owner.customer for line in everyone} == {
            "anna": "Nordlicht",
            "bert": "Nordlicht",
            "acc_gone": "Old customer",
        }


class TestUnread:
    async def test_a_run_names_the_accounts_it_could_not_read(self, books: Books) -> None:
        run = await books.run(status="partial")
        await books.unit(run, "acc_anna", "timeout")
        await books.unit(run, "acc_fine")
        (line,) = unread(await build(books.pool, ReportQuery(run_id=run)))
        assert (line.owner.person, line.kind, line.events) == ("anna", "timeout", 4)
        assert line.first_event_at == NOW + timedelta(days=1)

    async def test_a_period_takes_each_account_s_last_look(self, books: Books) -> None:
        await books.account("bert")
        before, first, second, third = [await books.run(hours) for hours in (30, 3, 2, 1)]
        trial = await books.run(0.5, dry_run=True)
        await books.unit(before, "acc_old", "timeout")
        await books.unit(first, "acc_anna", "timeout")
        await books.unit(second, "acc_anna")
        await books.unit(first, "acc_bert")
        await books.unit(second, "acc_bert", "server_error")
        await books.unit(third, "acc_bert", state="todo")
        await books.unit(trial, "acc_anna", "timeout")
        lines = unread(await build(books.pool, since(days=1)))
        assert [(line.owner.person, line.kind) for line in lines] == [("bert", "server_error")]


class TestLinked:
    async def test_a_run_counts_each_event_with_a_link_once(self, books: Books) -> None:
        run, later = await books.run(2), await books.run(1)
        mine, shared, other = [await books.event(name) for name in ("mine", "shared", "other")]
        for key, run_id in ((mine, run), (shared, later), (other, later)):
            await books.state(key, run_id, conferencing="assigned", cause="assigned", settled_at=NOW)
        for key in (mine, shared):
            await books.entry(AuditTag.EVENT_JUDGED, key, run)
            await books.entry(AuditTag.EVENT_CONFIRMED, key, run)
        assert linked(await build(books.pool, ReportQuery(run_id=run))) == [Linked("Marta", "Nordlicht", 2)]

    async def test_a_period_counts_those_found_in_it(self, books: Books) -> None:
        for name, hours in {"within": 1, "before": 30}.items():
            settled_at = NOW - timedelta(hours=hours)
            await books.state(await books.event(name), conferencing="assigned", cause="assigned", settled_at=settled_at)
        assert (await build(books.pool, since(days=1))).tally.linked == 1
        assert (await build(books.pool, ReportQuery(until=NOW))).tally.linked == 2


async def _one_of_each(books: Books, run: UUID, account_id: str, name: str) -> None:
    open_, done = await books.event(f"{name}-open", account_id), await books.event(f"{name}-done", account_id)
    await books.state(open_, run, account_id)
    await books.state(done, run, account_id, conferencing="assigned", cause="assigned", settled_at=NOW)
    await books.applied(done, run, account_id=account_id)
    await books.notice("relink_conferencing", account_id)
    await books.unit(run, account_id, "timeout")


@pytest.mark.parametrize("of_run", [True, False], ids=["run", "period"])
async def test_filters_hold_for_every_part(books: Books, *, of_run: bool) -> None:
    run = await books.run()
    people = {
        "carl": ("Marta", "Nordlicht"),
        "dora": ("Marta", "Halcyon"),
        "emil": ("Priya", "Halcyon"),
        "fay": (None, None),
    }
    for name, (manager, customer) in people.items():
        await _one_of_each(books, run, await books.account(name, manager, customer), name)
    about: dict[str, Any] = {"run_id": run} if of_run else {"since": NOW - timedelta(days=1)}

    async def who(**filters: Any) -> set[str]:
        report = await build(books.pool, ReportQuery(**about, **filters))
        parts = [at_risk(report), waiting(report), repaired(report), unread(report)]
        shown = [{line.owner.person for line in part} for part in parts]  # type: ignore[attr-defined] # of four kinds
        assert shown.count(shown[0]) == len(parts)
        assert report.tally.linked == len(shown[0])
        return shown[0]

    assert await who() == set(people)
    assert await who(manager=("Marta",)) == {"carl", "dora"}
    assert await who(customer=("Halcyon",)) == {"dora", "emil"}
    assert await who(manager=("Marta", "Priya"), customer=("Halcyon",)) == {"dora", "emil"}
    assert await who(manager=("Nobody",)) == set()


async def test_no_format_shows_what_is_secret(books: Books) -> None:
    run = await books.run()
    await _one_of_each(books, run, "acc_anna", "anna")
    for query in (ReportQuery(run_id=run), since(days=1)):
        report = await build(books.pool, query)
        assert report.tally.at_risk == report.tally.waiting == report.tally.repaired == 1
        for form in FORMATS:
            text = render(report, form).decode()
            assert [kind for kind, secret in SECRETS.items() if secret in text] == []


async def test_a_run_s_own_numbers_come_from_its_summary(books: Books) -> None:
    summary = {"accounts": {"due": 9, "left": 2}, "events": {"read": 40}}
    run = await books.run(status="stopped", summary=summary)
    report = await build(books.pool, ReportQuery(run_id=run, manager=("Marta",), customer=("X",)))
    facts = report.header.subject
    assert isinstance(facts, RunFacts)
    assert (facts.status, facts.accounts_due, facts.accounts_left, facts.events_read) == ("stopped", 9, 2, 40)
    assert (report.header.managers, report.header.customers) == (("Marta",), ("X",))


async def test_what_a_run_did_not_read_is_no_part_of_what_it_read(books: Books) -> None:
    run = await books.run(status="partial", summary={"accounts": {"due": 6, "left": 1}, "events": {"read": 8}})
    for number, state in enumerate(["done", "done", "parked", "skipped"]):
        await books.unit(run, f"acc_{number}", state=state)
    await books.unit(run, "acc_4", "timeout")
    await books.unit(run, "acc_5", "timeout")
    facts = (await build(books.pool, ReportQuery(run_id=run))).header.subject
    assert isinstance(facts, RunFacts)
    assert facts.accounts_read == 2
    assert facts.not_read == (NotRead("failed", 8, 2), NotRead("left", 4, 1), NotRead("parked", 4, 1))


async def test_everything_that_a_run_touched_is_counted_in_one_place(books: Books) -> None:
    run = await books.run()
    linked_, deleted = await books.event("linked"), await books.event("deleted")
    await books.state(linked_, run, conferencing="assigned", cause="assigned", settled_at=NOW)
    await books.state(deleted, run, conferencing="gone", cause="event_deleted", settled_at=NOW)
    await books.state(await books.event("begun", days=-1), run)
    await books.state(await books.event("cancelled", cancelled_at=NOW), run)
    await books.state(await books.event("none", profile_id="none"), run)
    await books.state(await books.event("risky"), run, misses=1)
    report = await build(books.pool, ReportQuery(run_id=run))
    assert (report.tally.at_risk, report.tally.linked, report.tally.over) == (1, 1, 4)
    ((line,),) = [c.lines.at_risk for m in report.managers for c in m.customers]
    assert line.lacking
    assert (await build(books.pool, since(days=1))).tally.over == 1


async def test_a_run_is_under_way_while_a_process_holds_its_lock(books: Books, database: str) -> None:
    run = await books.run(status="running")
    locks = await Locks.open(database)
    assert await locks.take(f"run:{run}")
    (note,) = (await build(books.pool, ReportQuery(run_id=run))).header.notes
    assert "still under way" in note
    await locks.release(f"run:{run}")
    await locks.close()
    (note,) = (await build(books.pool, ReportQuery(run_id=run))).header.notes
    assert "its process is gone" in note
    closed = await books.run(status="completed")
    assert (await build(books.pool, ReportQuery(run_id=closed))).header.notes == ()


async def test_a_run_that_was_closed_for_its_dead_process_ended_early(books: Books) -> None:
    summary = {"accounts": {"due": 4, "left": 3}, "events": {"read": 4}}
    dead = await books.run(status="partial", summary=summary)
    troubled = await books.run(status="partial", summary=summary)
    for number, state in enumerate(["done", "todo", "todo", "skipped"]):
        await books.unit(dead, f"acc_{number}", state=state)
        await books.unit(troubled, f"acc_{number}", state=state.replace("todo", "skipped"))
    html = render(await build(books.pool, ReportQuery(run_id=dead)), "html").decode()
    assert (
        "Ended early: 2 of 4 accounts were not looked at. It read 4 meetings in 1 account. "
        "Due, but not read: 12 meetings in 3 accounts that were not reached." in html
    )
    html = render(await build(books.pool, ReportQuery(run_id=troubled)), "html").decode()
    assert "Ended early" not in html


async def test_the_number_of_statements_does_not_grow_with_the_accounts(books: Books) -> None:
    run = await books.run()
    for number in range(30):
        account_id = await books.account(f"p{number}", f"Manager {number % 5}", f"Customer {number % 7}")
        await _one_of_each(books, run, account_id, str(number))
    counting = _Counting(books.pool)
    report = await build(counting, ReportQuery(run_id=run))  # type: ignore[arg-type] # as much of a pool as is used
    assert report.tally.at_risk == 30
    assert counting.statements <= 9


class _Counting:
    """A pool that counts the statements of its connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.statements = 0

    def acquire(self) -> "_Counting":
        return self

    async def __aenter__(self) -> Connection:
        self._connection: Any = await self._pool.acquire()
        self._connection.add_query_logger(self._count)
        connection: Connection = self._connection
        return connection

    async def __aexit__(self, *_: object) -> None:
        self._connection.remove_query_logger(self._count)
        await self._pool.release(self._connection)

    def _count(self, record: asyncpg.connection.LoggedQuery) -> None:
        self.statements += not record.query.startswith(("BEGIN", "COMMIT"))
