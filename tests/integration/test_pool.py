"""What the database's failures are called."""

import psycopg
import pytest

from reconciler.ports import DatabaseUnreachable
from reconciler.postgres.pool import open_pool, speaking_plainly


async def test_a_lock_that_is_waited_for_too_long_is_not_called_a_wrong_address(database: str) -> None:
    with psycopg.connect(database) as somebody:
        somebody.execute("LOCK TABLE reconciler.runs")
        async with open_pool(database, 2) as pool:
            with pytest.raises(DatabaseUnreachable) as told, speaking_plainly():
                await pool.fetch("SELECT FROM reconciler.runs", timeout=0.1)
    assert "somebody keeps a lock" in str(told.value)
    assert "RECONCILER_DATABASE_URL" not in str(told.value)
