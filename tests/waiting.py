"""How tests wait: for a fact, however long a busy machine takes for it."""

import asyncio
from collections.abc import Callable

A_BUSY_MACHINE_S = 90.0
"""Longer than a busy machine ever takes; only a test that fails waits so long."""


async def until(holds: Callable[[], object]) -> None:
    """Wait for what another task, or another process, does."""
    async with asyncio.timeout(A_BUSY_MACHINE_S):
        while not holds():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)
