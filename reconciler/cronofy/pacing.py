"""The waiting that obeys the shared allowance. What may start, and when, is decided by the budget."""

from reconciler.cronofy.retry import Sleep
from reconciler.ports import Budget, RequestMeter


class Pacer:
    """Lets requests start, one attempt at a time, and counts them."""

    def __init__(self, budget: Budget, meter: RequestMeter, sleep: Sleep) -> None:
        self._budget = budget
        self._meter = meter
        self._sleep = sleep
        self._holds = 0

    async def pace(self, kind: str, cost: int = 1, *, attempt: int = 1) -> None:
        """Return when a request of that cost may start. Nothing is held while waiting.

        Who was already waiting when a 429 came asks for a new place: the old one may lie within the pause.
        """
        while True:
            holds = self._holds
            seconds = await self._budget.reserve(cost)
            if seconds <= 0:
                break
            await self._sleep(seconds)
            if holds == self._holds:
                break
        self._meter.count(kind, cost)
        if attempt > 1:
            self._meter.count("retried")

    async def hold(self, seconds: float) -> None:
        """Cronofy answered 429: nobody starts a request for so long."""
        self._holds += 1
        self._meter.count("refused")
        await self._budget.hold(seconds)
