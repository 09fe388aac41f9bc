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

from reconciler.ports import DatabaseUnreachable, WrongConfiguration
from reconciler.postgres.address import SETTING, check_address, check_encoding
from reconciler.postgres.statements import sql_folder

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('reconciler:migrate', 0))"
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


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration did: the names applied now, and how many had been applied before."""

    applied: list[str]
    before: int


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc] # yoyo has no types
    """yoyo's backend on a connection string as libpq reads it, socket folders included."""

    def connect(self, dburi: DatabaseURI) -> psycopg.Connection:
        connection = _connect(dburi.args["dsn"])
        connection.execute("SET lock_timeout = '10s'")
        connection.execute("SET client_min_messages = warning")
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
            check_encoding(lock.info.parameter_status("server_encoding"))
            _take(lock, wait_s)
            return _apply(dsn, lock)
    except psycopg.OperationalError as error:
        text = " ".join(str(error).split())[:300]
        if _REFUSED.search(text) and not _FOR_NOW.search(text):
            raise WrongConfiguration(f"{SETTING}: {text}") from error
        raise DatabaseUnreachable(f"Postgres cannot be reached: {text}; check {SETTING}") from error
    except psycopg.ProgrammingError as error:
        raise WrongConfiguration(
            f"migration failed, nothing of it was kept: {' '.join(str(error).split())[:300]}"
        ) from error


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
            raise DatabaseUnreachable("another `reconciler migrate` has been running too long; try again later")
        time.sleep(0.2)


def _apply(dsn: str, lock: psycopg.Connection) -> Migrated:
    lock.execute("SET client_min_messages = warning")
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
