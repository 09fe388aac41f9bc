"""The only place that builds concrete objects from settings."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.config import Settings
from reconciler.cronofy.client import ClientSettings, CronofyClient, open_session
from reconciler.cronofy.transport import MOST_IN_A_BATCH
from reconciler.cronofy.wire import stored_body
from reconciler.domain.casework import Scope
from reconciler.domain.policy import Policy, Substitute
from reconciler.pipeline.guide import Guide, freely
from reconciler.pipeline.meter import TaskMeter
from reconciler.pipeline.unit import Tools
from reconciler.ports import SafetyLimits, WrongConfiguration
from reconciler.postgres.audit_log import AuditReader
from reconciler.postgres.budget import SharedBudget
from reconciler.postgres.case_store import DueFilter, PostgresCases
from reconciler.postgres.pool import Pool, open_pool
from reconciler.postgres.run_ledger import Locks, RunLedger
from reconciler.postgres.status_reader import StatusReader
from reconciler.postgres.tokens import StoredTokens, TokenSafe

_POOL = 8


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
    audit: AuditReader
    status: StatusReader
    clock: DatabaseClock


@dataclass(frozen=True, slots=True)
class Worker:
    """What a run needs."""

    books: Books
    locks: Locks
    tools: Tools


@asynccontextmanager
async def open_books(settings: Settings, scope: Scope | None = None, *, recheck: bool = False) -> AsyncIterator[Books]:
    """Connect to the database.

    Raises:
        WrongConfiguration, DatabaseUnreachable: see `postgres.pool`.
    """
    due = DueFilter(settings.horizon, scope or Scope(), recheck)
    async with open_pool(settings.dsn(), min(_POOL, settings.concurrency)) as pool:
        ledger = RunLedger(pool, due)
        clock = DatabaseClock(await ledger.now())
        yield Books(pool, ledger, AuditReader(pool), StatusReader(pool, due), clock)


@asynccontextmanager
async def open_worker(
    settings: Settings,
    scope: Scope,
    *,
    dry_run: bool = False,
    recheck: bool = False,
    guide: Guide = freely,
    limits: SafetyLimits | None = None,
) -> AsyncIterator[Worker]:
    """Connect to the database and get ready to speak to Cronofy.

    Raises:
        WrongConfiguration, DatabaseUnreachable: see `postgres.pool`; a setting is missing or wrong.
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
            batch_size=max(1, min(MOST_IN_A_BATCH, int(settings.allowance[0] * 0.9))),
        )
        session = open_session(client_settings)
    except ValueError as error:
        raise WrongConfiguration(f"RECONCILER_CRONOFY_URL: {error}") from error
    async with session, open_books(settings, scope, recheck=recheck) as books:
        meter = TaskMeter()
        tokens = StoredTokens(books.pool, safe)
        budget = SharedBudget(books.pool, client_id, *settings.allowance)
        due = DueFilter(settings.horizon, scope, recheck)
        tools = Tools(
            api=CronofyClient(session, client_settings, tokens, budget, meter, books.clock),
            store=PostgresCases(books.pool, stored_body, due, limits or settings.limits, dry_run=dry_run),
            tokens=tokens,
            clock=books.clock,
            policy=settings.policy,
            limits=limits or settings.limits,
            meter=meter,
            dry_run=dry_run,
            guide=guide,
        )
        locks = await Locks.open(settings.dsn())
        try:
            await locks.listen_for_holds(budget.hear_hold)
            yield Worker(books, locks, tools)
        finally:
            await asyncio.shield(locks.close())


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
