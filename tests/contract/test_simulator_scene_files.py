"""`reconciler simulate --scene FILE` as a process: scenes it serves, and scenes it refuses."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

REPOSITORY = Path(__file__).parents[2]
TRY = REPOSITORY / "deploy" / "try" / "scene.json"
USAGE = 2


@asynccontextmanager
async def simulate(scene: Path) -> AsyncIterator[Process]:
    command = [sys.executable, "-m", "reconciler", "simulate", "--scene", str(scene)]
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def test_the_scene_of_the_local_try_is_served_as_it_stands() -> None:
    async with simulate(TRY) as process:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession() as session, session.get(f"{url}/control/state") as response:
            state: dict[str, Any] = await response.json()
    scene = json.loads(TRY.read_text(encoding="utf-8"))
    assert "customer" in scene["accounts"][0]
    assert (state["accounts"], state["events"], state["assigned"]) == (3, 4, 2)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"[]", "the scene should be a JSON object"),
        (b"{accounts", "the scene is not JSON: "),
        (b'{"accounts": [{"name": "Zo\xeb"}]}', "the scene is not JSON: "),
        (b'{"accounts": [{"colour": "red"}]}', "accounts[0].colour is unknown"),
        (b'{"accounts": [{"events": [{"calendar_id": "c"}]}]}', "accounts[0].events[0].body is missing"),
        (b'{"settings": {"client_secret": "CRN_marker"}}', "settings: client_secret looks like a real Cronofy secret"),
    ],
    ids=repr,
)
async def test_a_bad_scene_is_one_line_and_a_usage_error(tmp_path: Path, content: bytes, sentence: str) -> None:
    scene = tmp_path / "scene.json"
    scene.write_bytes(content)
    async with simulate(scene) as process:
        out, err = await process.communicate()
    assert (process.returncode, out) == (USAGE, b"")
    assert err.decode().startswith(f"reconciler: simulate: {scene}: {sentence}")
    assert err.count(b"\n") == 1
    assert b"marker" not in err
