"""How requests wait for their turn while a run is to end."""

import asyncio

import pytest

from reconciler.cronofy.pacing import LONGEST_WHEN_STOPPING, waiting_until
from reconciler.ports import TurnGivenUp

LONG = 1000 * LONGEST_WHEN_STOPPING


async def test_a_long_wait_ends_when_the_run_is_to_end() -> None:
    stop = asyncio.Event()
    waiting = asyncio.ensure_future(waiting_until(stop)(LONG))
    await asyncio.sleep(0)
    assert not waiting.done()
    stop.set()
    with pytest.raises(TurnGivenUp, match="would have to wait 5000 s"):
        await waiting


async def test_no_long_wait_is_begun_when_the_run_is_to_end() -> None:
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(TurnGivenUp):
        await waiting_until(stop)(LONG)


async def test_a_turn_that_is_near_is_waited_for() -> None:
    stop = asyncio.Event()
    stop.set()
    await waiting_until(stop)(0.01)


async def test_a_wait_that_is_over_before_the_end_is_an_ordinary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.cronofy.pacing.LONGEST_WHEN_STOPPING", 0.0)
    await waiting_until(asyncio.Event())(0.01)
