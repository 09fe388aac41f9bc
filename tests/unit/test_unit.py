"""One account's work, where it is cut short."""

import asyncio
import gc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

from reconciler.domain.casework import Unit
from reconciler.domain.ids import AccountId
from reconciler.domain.policy import Policy
from reconciler.pipeline.meter import TaskMeter
from reconciler.pipeline.tools import Tools
from reconciler.pipeline.unit import work_unit
from reconciler.ports import DatabaseUnreachable, SafetyLimits
from tests.fakes import FakeClock


class Failing:
    """A store that has nothing to do and fails to record that, when it is let."""

    def __init__(self) -> None:
        self.recording, self.fail = asyncio.Event(), asyncio.Event()

    async def load(self, *_: Any) -> None:
        pass

    async def record(self, _: Any) -> None:
        self.recording.set()
        await self.fail.wait()
        raise DatabaseUnreachable("gone")


async def test_what_a_stopped_unit_could_not_record_is_no_error_of_the_programs() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    store: Any = Failing()
    tools = Tools(Mock(), store, FakeClock(), Policy(), SafetyLimits(), TaskMeter())
    working = asyncio.create_task(work_unit(Unit(uuid4(), AccountId("acc_1"), datetime.now(UTC)), tools))
    await store.recording.wait()
    working.cancel()
    await asyncio.sleep(0)
    store.fail.set()
    with suppress(asyncio.CancelledError):
        await working
    del working
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []
