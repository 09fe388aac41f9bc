"""A run that is cancelled at one of its suspension points: what it awaits there never comes.

In this process, so that the point can be chosen: every task of the run is driven step by step, and counted.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import coroutine
from typing import Any, TypeVar
from unittest.mock import patch

from reconciler.commands.run import run_command
from reconciler.commands.terminal import Exit
from reconciler.commands.working import RunOptions
from reconciler.config import Settings, load_settings
from reconciler.domain.casework import Scope
from reconciler.pipeline import act, unit
from reconciler.simulator import Simulator, World
from tests.acceptance.program import Town, settings_for
from tests.chaos import people
from tests.chaos.invariants import broken, unsettled
from tests.chaos.server import Server

T = TypeVar("T")

DOUBT_S = 0.6
"""Instead of the real time, so that hundreds of points can be tried."""
GENERATION_S = 0.1
HEALING_RUNS = 6

_COUNTED: ContextVar["Steps | None"] = ContextVar("counted", default=None)
"""The run that a task belongs to; the simulator in the same loop belongs to none."""


@dataclass
class Steps:
    """Counts the suspension points of a run's tasks, and cancels the run at one of them; zero: at none."""

    cancel_at: int = 0
    seen: int = 0
    main: "asyncio.Task[Any] | None" = None

    def suspended(self) -> None:
        """A task is about to wait."""
        self.seen += 1
        if self.seen == self.cancel_at and self.main is not None:
            asyncio.get_running_loop().call_soon(self.main.cancel)


@coroutine
def _counted(work: Coroutine[Any, Any, T], steps: Steps) -> Generator[Any, Any, T]:
    """Drive a coroutine, saying each time that it waits."""
    sent: Any = None
    thrown: BaseException | None = None
    while True:
        try:
            awaited = work.send(sent) if thrown is None else work.throw(thrown)
        except StopIteration as end:
            result: T = end.value
            return result
        steps.suspended()
        sent = thrown = None
        try:
            sent = yield awaited
        except BaseException as error:  # noqa: BLE001 - passed on to whom it is for
            thrown = error


async def _driven(work: Coroutine[Any, Any, T], steps: Steps) -> T:
    return await _counted(work, steps)


def _factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
    steps = _COUNTED.get()
    driven = work if steps is None else _driven(work, steps)
    return asyncio.Task(driven, loop=loop, **options)


@contextmanager
def _counting() -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(_factory)
    try:
        yield
    finally:
        loop.set_task_factory(before)


@dataclass
class Cancelled:
    """What came of trials: how many suspension points there were (or were tried), and what was broken."""

    points: int
    faults: list[str] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)


async def try_everywhere(server: Server, stride: int = 1) -> Cancelled:
    """A run cancelled at every so many of its suspension points, one after the other; ends at the first fault."""
    points, total = 1, Cancelled(0)
    for point in itertools.count(0, stride):
        if point > points or total.faults:
            break
        with server.database() as dsn:
            end = await try_at(point, dsn)
        points = max(points, end.points) if point == 0 else points
        total.points += int(point > 0)
        total.faults += end.faults
    return total


async def try_at(point: int, dsn: str) -> Cancelled:
    """A small town whose first run is cancelled at that point (zero: nowhere); healthy runs; then every promise."""
    world = World(seed=3)
    world.settings.rate_per_second, world.settings.rate_per_minute = 100_000, 1_000_000
    world.settings.generation_delay = GENERATION_S
    world.settings.rotate_refresh = True
    town, want, chance = Town(world, dsn), people.Expected(), random.Random(3)
    for kind in (people.worn_tokens, people.several_lost, people.disconnected, people.unexplained, people.over):
        kind(town, want, chance)
    await asyncio.to_thread(town.move_in)
    async with Simulator(world) as simulator:
        bold = {"RECONCILER_MAX_REPAIR_SHARE": "1", "RECONCILER_CONCURRENCY": "2"}
        settings = load_settings(settings_for(dsn, simulator.url) | bold)
        with patch.object(act, "DOUBT_SETTLES_S", DOUBT_S), patch.object(unit, "DOUBT_SETTLES_S", DOUBT_S):
            end = Cancelled(await cancel_run(settings, point))
            for _ in range(HEALING_RUNS):
                await _healthy(settings)
                world.advance(10)
                if not await asyncio.to_thread(unsettled, town, want):
                    break
            told = await asyncio.to_thread(broken, town, want, end.tally, DOUBT_S - GENERATION_S)
        end.faults += [f"cancelled at {point}: {text}" for text in told]
    return end


async def cancel_run(settings: Settings, point: int) -> int:
    """Carry out a run, cancelled at that suspension point if it has so many; how many it had."""
    steps = Steps(point)
    with _counting():
        token = _COUNTED.set(steps)
        try:
            steps.main = asyncio.create_task(run_command(settings, RunOptions(Scope(), as_json=True)))
        finally:
            _COUNTED.reset(token)
        await asyncio.wait({steps.main})
    if not steps.main.cancelled():
        steps.main.result()
    return steps.seen


async def _healthy(settings: Settings) -> None:
    """A run over everything whatever its next look."""
    everything = Scope(starting_before=datetime.now(UTC) + timedelta(days=190))
    code = await run_command(settings, RunOptions(everything, as_json=True))
    assert code in {Exit.DONE, Exit.PARTIAL}, code
