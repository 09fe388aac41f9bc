"""What the database refuses, in the words of whoever has to change something."""

import pytest

from reconciler.ports import DatabaseUnreachable
from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import open_pool


async def test_a_schema_that_changed_under_a_statement_is_for_a_new_start(database: str) -> None:
    async with open_pool(database, 2) as pool, pool.acquire() as connection:
        await pool.execute("CREATE TABLE thing (one int)")
        await connection.fetch("SELECT * FROM thing")
        await pool.execute("ALTER TABLE thing ADD COLUMN other int")
        with pytest.raises(DatabaseUnreachable, match="schema was changed"), speaking_plainly():
            async with connection.transaction():
                await connection.fetch("SELECT * FROM thing")


async def test_a_lock_that_is_not_given_in_time_is_said_so(database: str) -> None:
    async with open_pool(database, 2) as pool, pool.acquire() as one, pool.acquire() as other, one.transaction():
        await one.execute("LOCK TABLE reconciler.events IN ACCESS EXCLUSIVE MODE")
        await other.execute("SET lock_timeout = '50ms'")
        with pytest.raises(DatabaseUnreachable, match="keeps a lock"), speaking_plainly():
            await other.fetch("SELECT 1 FROM reconciler.events")
