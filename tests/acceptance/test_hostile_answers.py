"""Whatever accounts answer costs these accounts alone, and the process a fixed amount of memory."""

import asyncio
import json
import resource
from asyncio.subprocess import PIPE

from tests import hostile
from tests.acceptance.program import Program, query, settings_for

DUE = 200
LIMIT = 512 * 1024 * 1024
"""Bytes of address space: `ulimit -v`, far more than what is resident."""


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))


async def test_all_hostile_answers_at_once_kill_no_run(database: str) -> None:
    hostile.fill(database, list(hostile.ANSWERS), DUE)
    async with hostile.hostile_cronofy(DUE) as url:
        process = await asyncio.create_subprocess_exec(
            *hostile.peaking("run", "--json"),
            env=Program(settings_for(database, url)).environment(),
            stdout=PIPE,
            stderr=PIPE,
            preexec_fn=limited,
        )
        out, err = await process.communicate()
    assert process.returncode == 3, err.decode()[-2000:]
    peak = int(err.split()[-1])
    assert peak < hostile.MOST_MB
    summary = json.loads(out)
    errors = {error["account_id"]: error["kind"] for error in summary["errors"]}
    assert errors == {
        "fresh pages without end": "paging_loop",
        "lists within lists": "answer_too_large",
        "half emojis all over": "malformed",
        "control characters all over": "malformed",
        **dict.fromkeys(
            [a for a in hostile.ANSWERS if a.startswith(("31 kB", "numbers", "64 MB"))], "answer_too_large"
        ),
    }
    assert summary["events"]["read"] == DUE * len(hostile.READ)
    evidence = query(database, "SELECT max(octet_length(evidence::text)) AS most FROM reconciler.audit_entries")
    assert evidence[0]["most"] < 16_384
