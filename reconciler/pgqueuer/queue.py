"""PgQueuer's queue in a schema of our own, with the owner asked wherever PgQueuer does not ask."""

import json
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import JOB_STATUS, Channel, JobId, QueueManagerId
from pgqueuer.models import Job, TracebackRecord
from pgqueuer.ports.driver import NotifyCallback
from pgqueuer.queries import Queries

from reconciler.domain.casework import Unit
from reconciler.domain.ids import AccountId
from reconciler.postgres.pool import Connection
from reconciler.postgres.statements import statements

_SQL = statements("engine")

CHANNEL = Channel("reconciler_queue")
SETTINGS = DBSettings(  # every name, so that no variable of the environment moves one of them
    prefix="",
    db_schema="reconciler_queue",
    channel=CHANNEL,
    function="fn_pgqueuer_changed",
    trigger="tg_pgqueuer_changed",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    statistics_table="pgqueuer_statistics",
    schedules_table="pgqueuer_schedules",
    durability=Durability.durable,
    widen_id=True,
)
AT_ONCE = 1000
"""Units enqueued by one statement."""
logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)  # what it fails at, we hear and say ourselves, once

_INT4 = 2**31 - 1


def entrypoint(run_id: UUID) -> str:
    """A run's name in the queue: each is an entrypoint of its own, so that it is claimed, counted and pruned alone."""
    return f"run:{run_id}"


_LOOK = json.dumps(
    {
        "type": "table_changed_event",
        "channel": CHANNEL,
        "sent_at": "2026-01-01T00:00:00Z",
        "operation": "update",
        "table": SETTINGS.queue_table,
    }
)


class Hearsay(AsyncpgDriver):
    """Anybody in the database may notify: what is heard is a reason to look at the queue, once, and never a fact.

    Only what this session says to itself, to try whether it still hears, is passed on as it is. A connection that is
    lost needs no notice: PgQueuer looks by itself every eighth of a heartbeat, which fails then.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[arg-type]  # it asks for a connection of any record type
        self._session: int | None = None
        self._pass_on: NotifyCallback | None = None
        self._told = False

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Pass on to this callback from now on, and no other."""
        self._pass_on = callback
        if self._session is None:
            async with self._lock:
                self._session = await self._connection.fetchval("SELECT pg_backend_pid()")
                await self._connection.add_listener(channel, self._hear)

    def _hear(self, _connection: object, pid: object, _channel: object, payload: object) -> None:
        if self._pass_on is None:
            return
        if pid == self._session:
            self._pass_on(str(payload))
        elif not self._told:
            self._told = True
            self._pass_on(_LOOK)

    def looks(self) -> None:
        """Whatever is heard from here on is news again."""
        self._told = False


class OwnedQueries(Queries):
    """PgQueuer's statements on one connection; heartbeats, completions and returns touch only what is still ours."""

    def __init__(self, connection: Connection) -> None:
        self._hearsay = Hearsay(connection)
        super().__init__(
            self._hearsay,
            qbe=QueryBuilderEnvironment(SETTINGS),
            qbq=QueryQueueBuilder(SETTINGS),
            qbs=QuerySchedulerBuilder(SETTINGS),
        )
        self.owner: QueueManagerId | None = None

    async def dequeue(self, *args: Any, **kwargs: Any) -> list[Job]:
        """Claim what there is."""
        self._hearsay.looks()
        return await super().dequeue(*args, **kwargs)

    async def log_jobs(self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Take what is finished off the queue."""
        await self.driver.execute(
            _SQL["complete"],
            [job.id for job, _, _ in job_status],
            [job.queue_manager_id for job, _, _ in job_status],
            [status for _, status, _ in job_status],
        )

    async def retry_job(self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None) -> None:
        """Give a claim back."""
        del traceback_record
        await self.driver.execute(_SQL["give_back"], job.id, job.queue_manager_id, delay)

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Say that what we have in hand is being worked."""
        await self.driver.execute(_SQL["beat"], list(set(job_ids)), self.owner)

    async def enqueue_units(self, units: Sequence[Unit]) -> int:
        """Queue units that are not in the queue yet, soonest deadline first; how many."""
        if not units:
            return 0
        ids = await self.enqueue(
            [entrypoint(u.run_id) for u in units],
            [json.dumps({"run_id": str(u.run_id), "account_id": u.account_id}).encode() for u in units],
            [max(-_INT4, -int(u.deadline.timestamp())) for u in units],
            dedupe_key=[f"{u.run_id}:{u.account_id}" for u in units],
            on_conflict="skip",
        )
        return sum(job_id is not None for job_id in ids)


def unit_of(job: Job) -> tuple[UUID, AccountId]:
    """The run and the account that a queue row stands for."""
    ids = json.loads(job.payload or b"{}")
    return UUID(ids["run_id"]), AccountId(ids["account_id"])
