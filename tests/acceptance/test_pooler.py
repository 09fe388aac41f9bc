"""Postgres behind a connection pooler: sessions of one's own will do, sessions shared by the transaction will not."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.acceptance.program import HOURS_AGO, Program, Town, query

WRONG_CONFIGURATION = 78


@pytest.fixture(autouse=True)
def pgbouncer() -> None:
    """It is there, on CI always."""
    if shutil.which("pgbouncer") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("pgbouncer is not installed")


@contextmanager
def pooler(dsn: str, mode: str) -> Iterator[str]:
    """PgBouncer before a server, on a socket of its own; the address of the same database through it."""
    server = urlsplit(dsn)
    folder = Path(tempfile.mkdtemp(prefix="reconciler-pooler-", dir="/tmp"))
    folder.chmod(0o755)
    sockets = parse_qs(server.query)["host"][0]
    (folder / "ini").write_text(
        f"[databases]\n* = host={sockets} user={server.username}\n"
        f"[pgbouncer]\nlisten_addr=\nunix_socket_dir={folder}\nauth_type=any\npool_mode={mode}\n"
    )
    owner = Path(sockets).stat().st_uid if os.geteuid() == 0 else None  # it refuses to run as root
    if owner is not None:
        os.chown(folder, owner, -1)
    process = subprocess.Popen(["pgbouncer", str(folder / "ini")], user=owner, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        for line in process.stderr:
            if "process up" in line:
                break
        yield f"postgresql://{server.username}@{server.path}?host={folder}&port=6432"
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder)


async def test_a_run_through_a_pool_of_sessions_does_its_job(program: Program, town: Town) -> None:
    who = town.resident()
    who.event(who.connect(), age=HOURS_AGO, link=True)
    town.move_in()
    with pooler(town.dsn, "session") as dsn:
        done = await program("run", "--json", env={"RECONCILER_DATABASE_URL": dsn})
    assert (done.code, done.complaints) == (0, []), done
    assert list(town.causes().values()) == ["assigned"]


@pytest.mark.parametrize("command", ["run", "plan", "status", "migrate"])
async def test_a_pool_that_shares_sessions_is_refused(program: Program, town: Town, command: str) -> None:
    """Advisory locks would be held by nobody, or by two: nothing may be begun under them."""
    who = town.resident()
    who.event(who.connect(), age=HOURS_AGO, link=True)
    town.move_in()
    with pooler(town.dsn, "transaction") as dsn:
        done = await program(command, env={"RECONCILER_DATABASE_URL": dsn})
        for _ in range(3):  # whoever else uses it finds no session of ours
            assert query(dsn, "SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE '%%timeout'") == []
    assert (done.code, len(done.complaints)) == (WRONG_CONFIGURATION, 1), done
    assert "pool in session mode" in done.complaints[0]
    assert town.query("SELECT * FROM reconciler.runs") == []
