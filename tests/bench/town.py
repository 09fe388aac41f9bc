"""A simulated Cronofy and a database filled alike, for one measurement."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from reconciler.postgres.loader import load_rows
from reconciler.postgres.migrate import migrate
from tests.bench.simulated import Shape
from tests.conftest import with_database

_MOMENTS = ("token_expires_at", "starts_at", "ends_at", "written_at")


@dataclass(frozen=True)
class Town:
    """Where everything is, and what was planted."""

    dsn: str
    url: str
    rows: dict[str, list[dict[str, Any]]]

    def environment(self, **settings: str) -> dict[str, str]:
        """The settings of the real program."""
        own = {
            "DATABASE_URL": self.dsn,
            "CRONOFY_URL": self.url,
            "CRONOFY_CLIENT_ID": "sim-client",
            "CRONOFY_CLIENT_SECRET": "sim-secret",
            "RATE_PER_SECOND": "1000000",
            "RATE_PER_MINUTE": "1000000",
            "RATE_SHARE": "1",
            "LOG_LEVEL": "error",
            **settings,
        }
        return {**os.environ, **{f"RECONCILER_{name}": value for name, value in own.items()}}

    def control(self, path: str) -> Any:
        """The simulator's own records."""
        with urllib.request.urlopen(f"{self.url}/control/{path}") as answer:  # noqa: S310 - loopback
            return json.load(answer)


@dataclass(frozen=True)
class Measured:
    """What programs took, all together."""

    seconds: float
    cpu_seconds: float
    outputs: list[str]


@contextmanager
def town(server: str, shape: Shape, name: str) -> Iterator[Town]:
    """A database and a simulator of that shape."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    dsn = with_database(server, name)
    migrate(dsn)
    with TemporaryDirectory() as folder:
        shape_file, rows_file = Path(folder, "shape.json"), Path(folder, "rows.json")
        shape_file.write_text(json.dumps(asdict(shape)))
        command = [sys.executable, "-m", "tests.bench.simulated", str(shape_file), str(rows_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
            assert simulator.stdout is not None
            url = simulator.stdout.readline().strip()
            rows = json.loads(rows_file.read_text())
            for row in (*rows["accounts"], *rows["events"], *rows["settled"]):
                row.update({k: datetime.fromisoformat(row[k]) for k in _MOMENTS if k in row})
            asyncio.run(load_rows(dsn, rows["accounts"], rows["events"]))
            _settle(dsn, rows["settled"])
            try:
                yield Town(dsn, url, rows)
            finally:
                simulator.kill()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _settle(dsn: str, settled: Sequence[dict[str, Any]]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.cursor().copy(
            "COPY reconciler.event_states (calendar_id, event_id, account_id, conferencing, cause, settled_at, "
            "seen_written_at) FROM STDIN"
        ) as copy:
            for s in settled:
                copy.write_row(
                    (s["calendar_id"], s["event_id"], s["account_id"], "assigned", "assigned", "now", s["written_at"])
                )
        connection.execute("VACUUM ANALYZE reconciler.accounts, reconciler.events, reconciler.event_states")


def measure(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> Measured:
    """Run programs at once and wait for all."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    running = [subprocess.Popen(c, env=environment, stdout=subprocess.PIPE, text=True) for c in commands]
    outputs = [process.communicate()[0] for process in running]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(time.monotonic() - began, cpu, outputs)


def reconciler(*words: str) -> list[str]:
    """The real program's command line."""
    return [sys.executable, "-m", "reconciler", *words]


def postgres_cpu(dsn: str) -> float:
    """CPU seconds of all of the server's processes so far, those that have ended included."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        postmaster = int(_stat(row[0])[1])
    ticks = sum(int(field) for field in _stat(postmaster)[11:15])
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = _stat(int(folder.name))
        except OSError:
            continue
        if int(fields[1]) == postmaster:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """A process by fields, from its state on: parent at 1, CPU ticks of its own and of its dead children at 11–14."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
