"""Planning a run on a large database, for the selection figures."""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Scope
from reconciler.domain.run import RunRow
from reconciler.postgres.due import DueFilter
from reconciler.postgres.pool import open_pool
from reconciler.postgres.run_ledger import RunLedger


async def select(dsn: str) -> tuple[float, int]:
    """Seconds until all units are planned and the first are at hand, and how many there are."""
    async with open_pool(dsn, 2) as pool:
        ledger = RunLedger(pool, DueFilter(timedelta(days=200), Scope()))
        now = datetime.now(UTC)
        row = RunRow(uuid4(), None, "on_demand", None, {}, dry_run=False, started_at=now, policy={})
        await ledger.start(row, AuditEntry(AuditTag.RUN_STARTED, now, row.run_id))
        began = time.monotonic()
        await ledger.plan_units(row.run_id, now)
        assert await ledger.units(row.run_id, None, 200)
        seconds = time.monotonic() - began
        return seconds, (await ledger.totals(row.run_id)).units
