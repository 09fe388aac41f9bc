"""Connections: one pool for short statements, single connections for locks, and failures in the caller's words."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from reconciler.ports import DatabaseUnreachable, WrongConfiguration
from reconciler.postgres.address import SETTING, check_address, check_encoding

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = asyncpg.Connection
    Pool = asyncpg.Pool

STATEMENT_TIMEOUT_S = 60.0
IDLE_IN_TRANSACTION_S = 30.0
_APPLICATION_NAME = "reconciler"
_PROBES = 5
_SHARED_SESSIONS = (
    "RECONCILER_DATABASE_URL leads through a pooler that gives every transaction another session, and locks would not"
    " hold there: name Postgres itself, or a pool in session mode"
)
_ENCODER, _DECODER = msgspec.json.Encoder(), msgspec.json.Decoder()


@contextmanager
def speaking_plainly() -> Iterator[None]:
    """Turn the driver's failures into ones that say what to change; none carries a password or a row.

    Raises:
        DatabaseUnreachable: no connection, or it was lost.
        WrongConfiguration: wrong password, database, privileges, or a relation or column is missing.
    """
    try:
        yield
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise WrongConfiguration(f"RECONCILER_DATABASE_URL: {_one_line(error)}") from error
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError) as error:
        raise WrongConfiguration(
            f"the database lacks what this version needs ({_one_line(error)}): run `reconciler migrate`, or give "
            "your view in place of accounts or events every column"
        ) from error
    except (TimeoutError, asyncpg.LockNotAvailableError) as error:
        raise DatabaseUnreachable(
            "Postgres does not answer in time: it is overloaded, cut off, or somebody keeps a lock that is waited for"
        ) from error
    except asyncpg.InvalidCachedStatementError as error:
        raise DatabaseUnreachable("the schema was changed meanwhile: what is left is for a new start") from error
    except (asyncpg.FeatureNotSupportedError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
        raise WrongConfiguration(
            f"reconciler.accounts and reconciler.events must be tables or updatable views ({_one_line(error)})"
        ) from error
    except asyncpg.UndefinedFunctionError as error:
        raise WrongConfiguration(
            f"the database is not migrated ({_one_line(error)}): run `reconciler migrate`"
        ) from error
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError) as error:
        raise WrongConfiguration(_SHARED_SESSIONS) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise WrongConfiguration(f"the database role lacks a privilege: {_one_line(error)}") from error
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError,
        asyncpg.CrashShutdownError,
        asyncpg.IdleInTransactionSessionTimeoutError,
        asyncpg.TooManyConnectionsError,
        asyncpg.QueryCanceledError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # what is left of a connection that was cut off in mid-answer
        OSError,
    ) as error:
        raise DatabaseUnreachable(
            f"Postgres cannot be reached: {_one_line(error)}; check RECONCILER_DATABASE_URL"
        ) from error


@contextmanager
def connecting(dsn: str) -> Iterator[None]:
    """As `speaking_plainly`, while a connection is made: whatever else the server or the driver refuses is the address.

    Raises:
        DatabaseUnreachable, WrongConfiguration.
    """
    check_address(dsn)
    try:
        with speaking_plainly():
            try:
                yield
            except TimeoutError as error:
                raise DatabaseUnreachable(f"Postgres does not answer within 10 s; check {SETTING}") from error
            except FileNotFoundError as error:
                if "sslrootcert=" in dsn or "sslcert=" in dsn:
                    raise WrongConfiguration(f"{SETTING}: a file that it names for TLS is not there") from error
                raise
            except ValueError as error:
                raise WrongConfiguration(f"{SETTING}: {_one_line(error)}") from error
    except asyncpg.PostgresError as error:
        raise WrongConfiguration(f"{SETTING}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]


async def _limit_idling(connection: "Connection", seconds: float) -> None:
    """A process that freezes within a transaction must not hold its rows for ever."""
    await connection.execute(f"SET idle_in_transaction_session_timeout = '{round(1000 * seconds)}ms'")


async def _prepare(connection: "Connection") -> None:
    """Speak jsonb as Python values; the binary form is a version byte and the text."""
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

    async def prepare(connection: "Connection") -> None:
        await _prepare(connection)
        await _limit_idling(connection, idle_s)

    with connecting(dsn):
        pool = await asyncpg.create_pool(
            dsn, min_size=1, max_size=max(2, size), init=prepare, reset=_leave_as_is, **_options(_APPLICATION_NAME)
        )
    try:
        with speaking_plainly():
            async with pool.acquire() as connection:
                check_encoding(getattr(connection.get_settings(), "server_encoding", None))
                pooled = connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()")
            if pooled:
                await _want_sessions(dsn)
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
        raise WrongConfiguration(_SHARED_SESSIONS)


async def _session_of(connection: "Connection") -> int:
    async with connection.transaction():
        number: int = await connection.fetchval("SELECT pg_backend_pid()")
        return number


async def open_connection(dsn: str, purpose: str = "locks") -> "Connection":
    """One connection of its own, for locks that live as long as it does, or for listening."""
    with connecting(dsn):
        connection: Connection = await asyncpg.connect(dsn, **_options(f"{_APPLICATION_NAME} {purpose}"))
        await _limit_idling(connection, IDLE_IN_TRANSACTION_S)
        return connection
