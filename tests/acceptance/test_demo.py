"""`reconciler demo`, as the README has a newcomer type it."""

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from reconciler.simulator.scenarios import company
from tests.acceptance.program import Program


async def test_the_demo_finds_every_planted_cause(tmp_path: Path) -> None:
    running = await Program({}).start("demo", "--output", str(tmp_path / "out"))
    planted = await asyncio.to_thread(company, datetime.now(UTC))
    done = await running.end(90)
    assert done.code == 0, done
    assert "Traceback" not in done.err
    shown = {cause: int(n) for n, cause in re.findall(r"^ {4,}(\d+)  ([a-z0-9_]+) {2,}", done.out, re.MULTILINE)}
    assert shown == Counter(planted.expected.values())
    second = done.out.split("3. The next run", 1)[1]
    assert re.search(rf"^ +{len(planted.expected_second_run)}  event missing$", second, re.MULTILINE)
    repaired = re.search(r"'repaired': (\d+)", done.out)
    confirmed = re.search(r"(\d+)  confirmed$", second, re.MULTILINE)
    assert repaired is not None
    assert confirmed is not None
    assert repaired[1] == confirmed[1]
    assert "entries verified" in second
    assert "faults" not in second
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["report.csv", "report.html"]
