"""What Postgres refuses, in the caller's words: the one place that knows its error codes, and what may be repeated."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import asyncpg

from reconciler.ports import DatabaseUnreachable, TransactionUndone, WrongConfiguration
from reconciler.postgres.address import SETTING, check_address

TRIES = 6
"""How often a transaction is carried out that Postgres undoes for another's sake."""
PLACE_IN_CHAIN = "audit_entries_chain_seq_key"
"""The constraint that keeps two writers from the same place of a chain."""
_PAUSE_S = 0.05

SHARED_SESSIONS = (
    f"{SETTING} leads through a pooler that gives every transaction another session, and locks would not"
    " hold there: name Postgres itself, or a pool in session mode"
)
READ_ONLY = (
    f"the database that {SETTING} leads to only reads (a standby, or read only by order): name the server that"
    " takes writes"
)

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def speaking_plainly() -> Iterator[None]:
    """Turn the driver's failures into ones that say what to change; none carries a password or a row.

    What remains of the driver's own is about a value or a constraint: the caller's to judge.

    Raises:
        DatabaseUnreachable: no connection, or it was lost; the server is out of room, memory or connections.
        TransactionUndone: undone for another transaction's sake; nothing of it stands.
        WrongConfiguration: wrong password, database or privileges, a relation or column is missing, or nothing can be
            written there.
    """
    try:
        yield
    except asyncpg.InvalidCachedStatementError as error:
        raise DatabaseUnreachable("the schema was changed meanwhile: what is left is for a new start") from error
    except (TimeoutError, asyncpg.LockNotAvailableError) as error:
        raise DatabaseUnreachable(
            "Postgres does not answer in time: it is overloaded, cut off, or somebody keeps a lock that is waited for"
        ) from error
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError) as error:
        raise WrongConfiguration(SHARED_SESSIONS) from error
    except _CONFIGURATION as error:
        raise WrongConfiguration(_wrong(error)) from error
    except asyncpg.TransactionRollbackError as error:
        raise TransactionUndone(_undone(one_line(error))) from error
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != PLACE_IN_CHAIN:
            raise
        raise TransactionUndone(_undone("another process has extended the audit trail meanwhile")) from error
    except (asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError) as error:
        raise DatabaseUnreachable(
            f"Postgres has no room or means for it ({one_line(error)}): what was recorded stands, the rest stays due; "
            "give it what it lacks, then start again"
        ) from error
    except _GONE as error:
        raise DatabaseUnreachable(f"Postgres cannot be reached: {one_line(error)}; check {SETTING}") from error


_CONFIGURATION = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedFunctionError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What stays as it is until somebody changes the address, the database or its rights."""

_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidTransactionStateError,  # a transaction that was ended from outside
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what is left of a connection that was cut off in mid-answer
    OSError,
)
"""The connection, or the transaction on it, has come to its end."""


def _undone(why: str) -> str:
    return f"Postgres undid a transaction {TRIES} times for another one's sake ({why}): what is left stays due"


def _wrong(error: BaseException) -> str:
    said = one_line(error)
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidCatalogNameError():
            return f"{SETTING}: {said}"
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.InvalidSchemaNameError():
            return (
                f"the database lacks what this version needs ({said}): run `reconciler migrate`, or give "
                "your view in place of accounts or events every column"
            )
        case asyncpg.UndefinedFunctionError():
            return f"the database is not migrated ({said}): run `reconciler migrate`"
        case asyncpg.InsufficientPrivilegeError():
            return f"the database role lacks a privilege: {said}"
        case asyncpg.ReadOnlySQLTransactionError():
            return f"{READ_ONLY} ({said})"
        case _:
            return f"reconciler.accounts and reconciler.events must be tables or updatable views ({said})"


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
                raise WrongConfiguration(f"{SETTING}: {one_line(error)}") from error
    except asyncpg.PostgresError as error:
        raise WrongConfiguration(f"{SETTING}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """The first line of what a failure says, and not too much of it."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]


def session_words(pid: int, login: str | None, application: str | None) -> str:
    """A session of the database, for somebody who has to find it. What an application calls itself is its own word."""
    named = f", application {application!a}" if application else ""
    return f"session {pid} (login {login!a}{named})"


def repeated(write: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A whole transaction, carried out again where Postgres undoes it for another's sake: of that nothing stands.

    Raises:
        TransactionUndone: it was undone each time.
    """

    @wraps(write)
    async def patiently(*args: P.args, **kwargs: P.kwargs) -> T:
        for tried in range(1, TRIES):
            try:
                return await write(*args, **kwargs)
            except TransactionUndone:
                await asyncio.sleep(_PAUSE_S * 2**tried * (0.5 + random.random()))
        return await write(*args, **kwargs)

    return patiently
