"""Brings the database's schema up to date with the plain SQL files of `sql/migrations`.

Any number may be started at once: one applies, the others wait and find nothing left to do. The wait polls a lock that
dies with its holder (waiting inside Postgres could deadlock with an index being built concurrently).
"""

import re
import time
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI

from reconciler.ports import DatabaseUnreachable, RunStopped, WrongConfiguration
from reconciler.postgres.address import SETTING, check_address, check_encoding
from reconciler.postgres.failures import READ_ONLY, SHARED_SESSIONS, session_words
from reconciler.postgres.statements import sql_folder

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('reconciler:migrate', 0))"
_HOLDER = """
SELECT l.pid, a.usename AS login, a.application_name AS application
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('reconciler:migrate', 0)
"""
_PIN = """
SELECT set_config(name, value, false)
FROM (VALUES ('default_transaction_read_only', 'off'), ('default_transaction_isolation', 'read committed'),
             ('statement_timeout', '0'), ('lock_timeout', '10s'), ('transaction_timeout', '0'),
             ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
             ('standard_conforming_strings', 'on'), ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'),
             ('client_min_messages', 'warning')) AS pinned (name, value)
WHERE current_setting(name, true) IS NOT NULL
"""
"""What the migrations count on, whatever the database or the login has for its defaults."""
_PROBES = 5
_OLDEST_SERVER = 140000
_UNKNOWN_PARAMETER = re.compile('invalid URI query parameter: ("[a-zA-Z_]+")')
_REFUSED = re.compile('FATAL|does not exist|definition of service|invalid .*value|"[a-z_]+" value')
"""What the server refuses for good, and what libpq does not even try."""
_FOR_NOW = re.compile("starting up|shutting down|recovery|too many|connection slots|terminating|not yet accepting")


def _connect(dsn: str) -> psycopg.Connection:
    """A connection that speaks text whatever the database's encoding, and the login's."""
    return psycopg.connect(
        dsn, autocommit=True, connect_timeout=10, application_name="reconciler migrate", client_encoding="UTF8"
    )


def _session_of(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def _want_sessions(dsn: str, one: psycopg.Connection) -> None:
    """Refuse a pooler that lets sessions be shared, as `pool.open_pool` does, before anything is set in one.

    Raises:
        WrongConfiguration: it does.
    """
    if one.info.backend_pid == _session_of(one):
        return
    with _connect(dsn) as other:
        seen = [(_session_of(one), _session_of(other)) for _ in range(_PROBES)]
    if len(set(seen)) > 1 or any(a == b for a, b in seen):
        raise WrongConfiguration(SHARED_SESSIONS)


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did: the names applied now, and how many had been applied before."""

    applied: list[str]
    before: int


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc] # yoyo has no types
    """yoyo's backend on a connection string as libpq reads it, socket folders included."""

    def connect(self, dburi: DatabaseURI) -> psycopg.Connection:
        connection = _connect(dburi.args["dsn"])
        connection.execute(_PIN)
        connection.execute("SET search_path TO reconciler, public")
        return connection


def migrate(dsn: str, wait_s: float = 120.0) -> Migrated:
    """Apply what is missing.

    Raises:
        DatabaseUnreachable: no connection, or another migration still runs after `wait_s` seconds.
        WrongConfiguration: the server is too old, the login may not, or a statement fails.
    """
    _check(dsn)
    try:
        with _connect(dsn) as lock:
            if lock.info.server_version < _OLDEST_SERVER:
                raise WrongConfiguration("PostgreSQL 14 or newer is needed")
            _want_sessions(dsn, lock)
            lock.execute(_PIN)
            check_encoding(lock.info.parameter_status("server_encoding"))
            _take(lock, wait_s)
            return _apply(dsn, lock)
    except psycopg.Error as error:
        raise _plainly(error) from error


def _plainly(error: psycopg.Error) -> RunStopped:
    """What the server or libpq refused, in words that say what to change."""
    text = " ".join(str(error).split())[:300]
    match error:
        case psycopg.errors.ReadOnlySqlTransaction():
            return WrongConfiguration(f"{READ_ONLY} ({text})")
        case psycopg.errors.DiskFull() | psycopg.errors.OutOfMemory() | psycopg.errors.ConfigurationLimitExceeded():
            return DatabaseUnreachable(
                f"Postgres has no room or means for it ({text}): give it what it lacks, then start again"
            )
        case psycopg.OperationalError() if _REFUSED.search(text) and not _FOR_NOW.search(text):
            return WrongConfiguration(f"{SETTING}: {text}")
        case psycopg.OperationalError() | psycopg.errors.InvalidTransactionState():
            return DatabaseUnreachable(f"Postgres cannot be reached: {text}; check {SETTING}")
        case _:
            return WrongConfiguration(f"migration failed, nothing of it was kept: {text}")


def _check(dsn: str) -> None:
    """Refuse what is no address; libpq's own words would repeat it, password included."""
    check_address(dsn)
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        unknown = _UNKNOWN_PARAMETER.search(str(error))
        why = f": unknown parameter {unknown[1]}" if unknown else " is no Postgres address"
        raise WrongConfiguration(f"{SETTING}{why}") from None


def _take(lock: psycopg.Connection, wait_s: float) -> None:
    give_up = time.monotonic() + wait_s
    while True:
        row = lock.execute(_LOCK).fetchone()
        if row and row[0]:
            return
        if time.monotonic() > give_up:
            raise DatabaseUnreachable(
                f"another `reconciler migrate` has been running too long{_who_holds(lock)}; try again later, or end it"
            )
        time.sleep(0.2)


def _who_holds(connection: psycopg.Connection) -> str:
    row = connection.execute(_HOLDER).fetchone()
    return f": its lock is held by {session_words(*row)}" if row else ""


def _apply(dsn: str, lock: psycopg.Connection) -> Migrated:
    lock.execute("CREATE SCHEMA IF NOT EXISTS reconciler")
    address = DatabaseURI("postgresql+psycopg", None, None, None, None, "", {"dsn": dsn})
    backend = _Backend(address, "_yoyo_migration")
    try:
        backend.init_database()
        backend.break_lock()  # a killed migration leaves its row; the lock held above is the one that counts
        with backend.lock():
            migrations = read_migrations(str(sql_folder() / "migrations"))
            todo = backend.to_apply(migrations)
            names = [m.id for m in todo]
            before = len(migrations) - len(names)
            backend.apply_migrations(todo)
    finally:
        backend.connection.close()
    return Migrated(names, before)
