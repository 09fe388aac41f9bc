"""Real Postgres servers for the tests: the embedded one by default, the machine's own where asked for.

`RECONCILER_TEST_POSTGRES=system` starts a server of its own from the programs that `pg_config --bindir` names.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from reconciler.postgres.embedded import embedded_postgres

SYSTEM = "system"


@contextmanager
def postgres_server() -> Iterator[str]:
    """The address of a running server's `postgres` database."""
    if os.environ.get("RECONCILER_TEST_POSTGRES") == SYSTEM:
        with system_postgres() as dsn:
            yield dsn
    else:
        with embedded_postgres() as dsn:
            _forget_durability(dsn)
            yield dsn


def _forget_durability(dsn: str) -> None:
    """Let a server that nobody restarts after a crash of the machine wait for no disk."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def system_postgres() -> Iterator[str]:
    """A server from the machine's own programs, in a temporary folder; as root it runs as `postgres`."""
    programs = Path(
        subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True).stdout.strip()
    )
    folder = Path(tempfile.mkdtemp(prefix="reconciler-pg-", dir="/tmp"))
    owner = "postgres" if os.geteuid() == 0 else None
    if owner:
        entry = pwd.getpwnam(owner)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    data = folder / "data"

    def call(program: str, *arguments: str) -> None:
        subprocess.run([str(programs / program), *arguments], check=True, capture_output=True, user=owner, cwd=folder)

    call("initdb", "-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c fsync=off -k {folder}"
    call("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        call("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
