"""The only place that builds concrete objects from settings."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from reconciler.config import Settings
from reconciler.cronofy.client import ClientSettings, CronofyClient, open_session
from reconciler.cronofy.limits import batch_size
from reconciler.cronofy.pacing import waiting_until
from reconciler.cronofy.transport import MOST_IN_A_BATCH
from reconciler.cronofy.wire.notifications import pushed_event
from reconciler.cronofy.wire.stored_bodies import stored_body
from reconciler.domain.casework import Scope
from reconciler.domain.policy import Policy, Substitute
from reconciler.pipeline.engine import LocalEngine
from reconciler.pipeline.guide import Guide, freely
from reconciler.pipeline.meter import TaskMeter
from reconciler.pipeline.tools import Tools
from reconciler.ports import Budget, Engine, SafetyLimits, Stop, WrongConfiguration
from reconciler.postgres.audit_reader import AuditReader
from reconciler.postgres.budget import SharedBudget
from reconciler.postgres.case_store import Fence, PostgresCases
from reconciler.postgres.due import DueFilter
from reconciler.postgres.locks import Locks
from reconciler.postgres.plans import Plans
from reconciler.postgres.pool import IDLE_IN_TRANSACTION_S, LEAST_IDLE_IN_TRANSACTION_S, Pool, open_pool
from reconciler.postgres.relations import check_relations
from reconciler.postgres.run_ledger import RunLedger
from reconciler.postgres.status_reader import StatusReader
from reconciler.postgres.tokens import StoredTokens, TokenSafe

_POOL = 4


class DatabaseClock:
    """The database's clock, asked once and carried on by this process's monotonic one."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment
        self._since = time.monotonic()

    def now(self) -> datetime:
        """The present, by the database."""
        return self._moment + timedelta(seconds=time.monotonic() - self._since)


@dataclass(frozen=True, slots=True)
class Books:
    """What reads the database."""

    pool: Pool
    ledger: RunLedger
    plans: Plans
    audit: AuditReader
    status: StatusReader
    clock: DatabaseClock


@dataclass(frozen=True, slots=True)
class Worker:
    """What a run needs."""

    books: Books
    locks: Locks
    engine: Engine
    tools: Tools


@asynccontextmanager
async def open_books(settings: Settings, scope: Scope | None = None, *, recheck: bool = False) -> AsyncIterator[Books]:
    """Connect to the database.

    Raises:
        WrongConfiguration, DatabaseUnreachable: see `postgres.pool`.
    """
    due = DueFilter(settings.horizon, scope or Scope(), recheck)
    idle_s = min(IDLE_IN_TRANSACTION_S, max(LEAST_IDLE_IN_TRANSACTION_S, settings.heartbeat.total_seconds()))
    async with open_pool(settings.dsn(), min(_POOL, settings.concurrency), idle_s) as pool:
        ledger = RunLedger(pool, due)
        clock = DatabaseClock(await ledger.now())
        yield Books(pool, ledger, Plans(pool), AuditReader(pool), StatusReader(pool, due), clock)


@asynccontextmanager
async def open_worker(
    settings: Settings,
    scope: Scope,
    *,
    dry_run: bool = False,
    recheck: bool = False,
    guide: Guide = freely,
    limits: SafetyLimits | None = None,
    shared: bool = False,
    stop: Stop,
) -> AsyncIterator[Worker]:
    """Connect to the database and get ready to speak to Cronofy, until `stop` is set.

    Raises:
        WrongConfiguration, DatabaseUnreachable: see `postgres.pool`; a setting is missing or wrong, or what is sent
            could not be recorded (`postgres.relations`).
    """
    client_id, client_secret = settings.client()
    safe = TokenSafe(tuple(key.get_secret_value() for key in settings.token_keys))
    try:
        client_settings = ClientSettings(
            client_id=client_id,
            client_secret=client_secret,
            base_url=settings.cronofy_url,
            timeout=settings.http_timeout.total_seconds(),
            concurrency=settings.concurrency,
            batch_size=batch_size(*settings.allowance, MOST_IN_A_BATCH),
        )
        session = open_session(client_settings)
    except ValueError as error:
        raise WrongConfiguration(f"RECONCILER_CRONOFY_URL: {error}") from error
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(session)
        books = await stack.enter_async_context(open_books(settings, scope, recheck=recheck))
        await check_relations(books.pool)
        locks = await Locks.open(settings.dsn())
        stack.push_async_callback(lambda: asyncio.shield(locks.close()))
        due = DueFilter(settings.horizon, scope, recheck)
        books = replace(books, ledger=RunLedger(books.pool, due, locks.session))
        budget = SharedBudget(books.pool, client_id, *settings.allowance)
        await locks.listen_for_holds(budget.hear_hold)
        spread = await stack.enter_async_context(_spread(settings, books, locks, budget, shared=shared))
        meter = TaskMeter()
        tokens = StoredTokens(books.pool, safe)
        may = limits or settings.limits
        tools = Tools(
            api=CronofyClient(
                session, client_settings, tokens, spread.budget, meter, books.clock, sleep=waiting_until(stop)
            ),
            store=PostgresCases(
                books.pool, safe, stored_body, pushed_event, due, may, dry_run=dry_run, fence=spread.fence
            ),
            clock=books.clock,
            policy=settings.policy,
            limits=may,
            meter=meter,
            dry_run=dry_run,
            guide=guide,
        )
        yield Worker(books, locks, spread.engine, tools)


@dataclass(frozen=True, slots=True)
class _Spread:
    """An engine, and what has to know that units may pass to other processes."""

    engine: Engine
    budget: Budget
    fence: Fence


@asynccontextmanager
async def _spread(
    settings: Settings, books: Books, locks: Locks, budget: SharedBudget, *, shared: bool
) -> AsyncIterator[_Spread]:
    if not shared:
        yield _Spread(LocalEngine(books.ledger, locks, settings.concurrency), budget, Fence(locks.session))
        return
    try:
        from reconciler.pgqueuer.claims import Claims, GuardedBudget  # noqa: PLC0415 - an extra
        from reconciler.pgqueuer.engine import open_engine  # noqa: PLC0415
    except ImportError as error:
        raise WrongConfiguration(
            "RECONCILER_ENGINE=pgqueuer needs the extra scale: in a copy of the project, pip install '.[scale]'"
        ) from error
    claims = Claims(books.pool, settings.heartbeat)
    async with open_engine(
        settings.dsn(), books.pool, books.ledger, locks, claims, settings.concurrency, settings.heartbeat
    ) as engine:
        yield _Spread(engine, GuardedBudget(budget, claims), Fence(locks.session, claims.fence))


def policy_json(policy: Policy) -> dict[str, object]:
    """A policy as the run's books keep it."""
    return {
        name: int(value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in asdict(policy).items()
    }


def policy_from(stored: dict[str, Any]) -> Policy:
    """The policy that a run's books keep; what they lack is as by default."""
    known = {name: stored[name] for name in Policy.__dataclass_fields__ if name in stored}
    spans = {name: timedelta(seconds=value) for name, value in known.items() if name in _SPANS}
    substitute = Substitute(known.get("substitute", Substitute.ANY))
    return Policy(**{**known, **spans, "substitute": substitute})


_SPANS = frozenset({"grace", "escalate_after", "horizon", "lookback"})
