"""Writes to the application's own rows under a savepoint: what its database refuses is an answer, and costs no more.

No message of the database is passed on: a trigger's own words may hold a row.
"""

import re
from collections.abc import Awaitable, Callable

import asyncpg

from reconciler.postgres.pool import Connection
from reconciler.postgres.statements import statements

_SQL = statements("cases")

LOCK_WAIT_S, STATEMENT_S = 5, 10.0
"""How long a write waits for a row that somebody else has locked, and how long one statement may take."""

NO_EFFECT = "the update changed nothing, or something else: a trigger, a rule or a policy"

_BEYOND_THE_SAVEPOINT = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
)
_FUNCTION = re.compile(r"function ([^\s(]+)\(")


class NotAsWanted(Exception):
    """An update of the application's row went through, and the row does not say what was written."""


async def guarded(connection: Connection, work: Callable[[], Awaitable[None]]) -> str | None:
    """Do in the caller's transaction, which stands, what the application's database may refuse; why it did, or null.

    Raises:
        What may have ended the transaction, or the connection.
    """
    try:
        async with connection.transaction():
            await connection.execute(_SQL["patience"], f"{LOCK_WAIT_S}s")
            await work()
            await connection.execute(_SQL["check_now"], timeout=STATEMENT_S)
    except _BEYOND_THE_SAVEPOINT:
        raise
    except asyncpg.LockNotAvailableError:
        return f"somebody else has kept its row locked for {LOCK_WAIT_S} s"
    except asyncpg.PostgresError as error:
        return _reason(error)
    except NotAsWanted:
        return NO_EFFECT
    except TimeoutError:
        return f"it took longer than {STATEMENT_S:.0f} s"
    return None


def _reason(error: asyncpg.PostgresError) -> str:
    """Why the database refused, by names that its owner chose and by codes."""
    code = error.sqlstate or "no code"
    if constraint := getattr(error, "constraint_name", None):
        return f"the constraint {constraint} is violated ({code})"
    if function := _FUNCTION.search(getattr(error, "context", None) or ""):
        return f"the function {function[1]} refuses it ({code})"
    return f"Postgres answers {type(error).__name__.removesuffix('Error')} ({code})"
