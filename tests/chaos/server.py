"""A Postgres server that can be crashed and started again."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import psycopg

from reconciler.postgres.migrate import migrate
from tests.conftest import with_database
from tests.postgres_servers import postgres_server

_PATIENCE_S = 60.0


class Server:
    """A running server, by the address of its database `postgres` on a unix socket, and its migrated template."""

    def __init__(self, dsn: str, template: str) -> None:
        self.dsn = dsn
        self._template = template
        self._started: subprocess.Popen[bytes] | None = None
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            assert row is not None
            self._data = Path(row[0])

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a fresh migrated database, dropped at the end; no connection is kept, for it may be cut."""
        name = f"chaos_{uuid4().hex[:12]}"
        self._say(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"')
        try:
            yield with_database(self.dsn, name)
        finally:
            self._say(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _say(self, statement: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    @property
    def socket(self) -> str:
        """The path of its socket."""
        (folder,) = parse_qs(urlsplit(self.dsn).query)["host"]
        return f"{folder}/.s.PGSQL.5432"

    def restart(self) -> None:
        """End it as a crash would (immediate mode), and start it again as it was started before."""
        pid = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        command = shlex.split((self._data / "postmaster.opts").read_text())
        os.kill(pid, signal.SIGQUIT)
        if self._started is not None:
            self._started.wait(_PATIENCE_S)
        else:
            _wait(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _state(pid), "the server did not end")
        owner = self._data.stat()
        self._started = subprocess.Popen(
            command, user=owner.st_uid, group=owner.st_gid, cwd=self._data,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _wait(self._answers, "the server did not start again")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End what a restart started; what runs since the beginning its own context ends."""
        if self._started is not None:
            self._started.send_signal(signal.SIGINT)
            self._started.wait(_PATIENCE_S)


@contextmanager
def own_server() -> Iterator[Server]:
    """A server of our own with a migrated template."""
    name = "template_reconciler"
    with postgres_server() as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        migrate(with_database(dsn, name))
        server = Server(dsn, name)
        try:
            yield server
        finally:
            server.stop()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def _wait(condition: Callable[[], bool], why: str) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, why
        time.sleep(0.02)
