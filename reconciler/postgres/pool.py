"""Connections: one pool for short statements, single connections for locks, each set up for what we need of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from reconciler.ports import WrongConfiguration
from reconciler.postgres.address import check_encoding
from reconciler.postgres.failures import SHARED_SESSIONS, connecting, speaking_plainly
from reconciler.postgres.moments import moment_from, moment_to

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

STATEMENT_TIMEOUT_S = 60.0
IDLE_IN_TRANSACTION_S = 30.0
LEAST_IDLE_IN_TRANSACTION_S = 5.0
"""A healthy process on a busy machine idles in a transaction for a second or two, however short its heartbeat is."""
_APPLICATION_NAME = "reconciler"
_PROBES = 5
_IDLE_IN_TRANSACTION = "idle_in_transaction_session_timeout"
PINNED = {
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "lock_timeout": "0",
    "statement_timeout": f"{round(2 * STATEMENT_TIMEOUT_S)}s",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
}
"""A session's settings. Our transactions lock first and read then, which needs the second. How long a statement may
take the driver is told, so that the server ends only those whose process is gone. Listeners and holders of locks idle.
What an application's triggers may go by (search_path, DateStyle and the like) stays as it is: we do not.
"""
_PIN = """
SELECT set_config(name, value, false)
FROM (SELECT name, value FROM unnest($1::text[], $2::text[]) AS pinned (name, value)
      UNION ALL SELECT 'synchronous_commit', 'local' WHERE current_setting('synchronous_commit') = 'off') AS wanted
WHERE current_setting(name, true) IS NOT NULL
"""
"""Those that the server knows. An intent that a crash of the server could still lose is none: it waits for the disk."""
_ENCODER, _DECODER = msgspec.json.Encoder(), msgspec.json.Decoder()


async def _pin(connection: "Connection", idle_s: float) -> None:
    """Make a session what our statements count on, whatever the database or the login has for its defaults."""
    settings = {**PINNED, _IDLE_IN_TRANSACTION: f"{round(1000 * idle_s)}ms"}
    await connection.execute(_PIN, list(settings), list(settings.values()))


async def _prepare(connection: "Connection") -> None:
    """Speak jsonb as Python values (its binary form is a version byte and the text), and every time there may be."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=moment_to, decoder=moment_from, format="tuple"
    )
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + _ENCODER.encode(value),
        decoder=lambda data: _DECODER.decode(data[1:]),
        format="binary",
    )


def _options(application: str) -> dict[str, Any]:
    return {
        "timeout": 10.0,
        "command_timeout": STATEMENT_TIMEOUT_S,
        "server_settings": {"application_name": application, "TimeZone": "UTC"},
    }


async def _leave_as_is(_: "Connection") -> None:
    """Nothing to reset: no statement of ours changes a session's state."""


@asynccontextmanager
async def open_pool(dsn: str, size: int, idle_s: float = IDLE_IN_TRANSACTION_S) -> "AsyncIterator[Pool]":
    """A pool of at most `size` connections, closed on the way out; none idles within a transaction beyond `idle_s`.

    Raises:
        DatabaseUnreachable, WrongConfiguration: see `speaking_plainly`.
    """
    known_to_be_ours = False

    async def prepare(connection: "Connection") -> None:
        nonlocal known_to_be_ours
        if not known_to_be_ours:  # before anything is set: in a shared session it would be set for strangers
            if connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()"):
                await _want_sessions(dsn)
            known_to_be_ours = True
        await _prepare(connection)
        await _pin(connection, idle_s)

    with connecting(dsn):
        pool = await asyncpg.create_pool(
            dsn, min_size=1, max_size=max(2, size), init=prepare, reset=_leave_as_is, **_options(_APPLICATION_NAME)
        )
    try:
        with speaking_plainly():
            async with pool.acquire() as connection:
                check_encoding(getattr(connection.get_settings(), "server_encoding", None))
        yield pool
    finally:
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def _want_sessions(dsn: str) -> None:
    """Refuse a pooler that lets sessions be shared: two connections of ours would turn up in the same one in turn.

    Raises:
        WrongConfiguration: it does. Whoever else uses it may hide that from one look, hardly from all of them.
    """
    options = {**_options(f"{_APPLICATION_NAME} probe"), "statement_cache_size": 0}
    one: Connection = await asyncpg.connect(dsn, **options)
    try:
        other: Connection = await asyncpg.connect(dsn, **options)
        try:
            seen = [(await _session_of(one), await _session_of(other)) for _ in range(_PROBES)]
        finally:
            await other.close(timeout=5)
    finally:
        await one.close(timeout=5)
    if len(set(seen)) > 1 or any(a == b for a, b in seen):
        raise WrongConfiguration(SHARED_SESSIONS)


async def _session_of(connection: "Connection") -> int:
    async with connection.transaction():
        number: int = await connection.fetchval("SELECT pg_backend_pid()")
        return number


async def open_connection(dsn: str, purpose: str = "locks") -> "Connection":
    """One connection of its own, for locks that live as long as it does, or for listening."""
    with connecting(dsn):
        connection: Connection = await asyncpg.connect(dsn, **_options(f"{_APPLICATION_NAME} {purpose}"))
        await _pin(connection, IDLE_IN_TRANSACTION_S)
        return connection
