"""The waiting that obeys the shared allowance. What may start, and when, is decided by the budget."""

import asyncio
import math
from collections.abc import Callable

from reconciler.cronofy.retry import Sleep
from reconciler.ports import AccountUnreadable, Budget, RequestMeter, Stop, TurnGivenUp

LATE_S = 0.05
"""A place missed by more than this is given up: late requests of one moment would crowd the second after it."""

_TRIES = 5
"""A database or a process so slow that every place is missed must not stop the work altogether."""

_PAUSES = 100
"""A request over whose waiting so many pauses came is given up: by then Cronofy answers nobody."""


LONGEST_WHEN_STOPPING = 5.0
"""Seconds that a request waits for its turn once the run is to end: the allowance's pace, but no pause after a 429."""


def waiting_until(stop: Stop) -> Sleep:
    """How a run's requests wait: as long as it takes, but not long any more once `stop` is set.

    What it returns raises `TurnGivenUp` then.
    """

    async def sleep(seconds: float) -> None:
        if seconds <= LONGEST_WHEN_STOPPING:
            await asyncio.sleep(seconds)
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        try:
            async with asyncio.timeout_at(end):
                await stop.wait()
        except TimeoutError:
            return
        left = end - loop.time()
        if left > LONGEST_WHEN_STOPPING:
            raise TurnGivenUp(f"the run is to end, and the next request would have to wait {left:.0f} s")
        await asyncio.sleep(max(0.0, left))

    return sleep


class Pacer:
    """Lets requests start, one attempt at a time, and counts them."""

    def __init__(self, budget: Budget, meter: RequestMeter, sleep: Sleep, monotonic: Callable[[], float]) -> None:
        self._budget = budget
        self._meter = meter
        self._sleep = sleep
        self._monotonic = monotonic
        self._quickest = math.inf

    async def pauses(self) -> int:
        """How many pauses any process has asked for so far."""
        return await self._budget.pauses()

    async def pace(self, kind: str, cost: int = 1, *, attempt: int = 1, give_way: bool = False) -> bool:
        """Return when a request of that cost may start: true. Nothing is held while waiting.

        `give_way`: where a pause comes over the waiting, false at once: there is something to do before the next try.
        Who was already waiting when a 429 came, to whatever process, asks for a new place: the old one may lie within
        the pause. So does who missed its place, by what is usual for the way to the database and back.

        Raises:
            AccountUnreadable: pause came after pause.
        """
        misses = interrupted = 0
        while misses < _TRIES:
            before, asked = await self._budget.pauses(), self._monotonic()
            seconds = await self._budget.reserve(cost)
            self._quickest = min(self._quickest, self._monotonic() - asked)
            if seconds > 0:
                await self._sleep(seconds)
            if before != await self._budget.pauses():
                if give_way:
                    return False
                interrupted += 1
                if interrupted == _PAUSES:
                    raise AccountUnreadable("paused", f"{_PAUSES} pauses after answers of 429 came before its request")
                continue
            if self._monotonic() - asked <= max(seconds, 0) + self._quickest + LATE_S:
                break
            misses += 1
        self._meter.count(kind)
        if attempt > 1:
            self._meter.count("retried")
        return True

    async def hold(self, seconds: float) -> None:
        """Cronofy answered 429: nobody starts a request for so long."""
        self._meter.count("refused")
        await self._budget.hold(seconds)
