"""The request allowance that all processes share, kept in one row per Cronofy application."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import Pool
from reconciler.postgres.status_reader import client_key
from reconciler.postgres.together import Together

_RESERVE = """
SELECT reconciler.reserve_requests($1, w.cost, $3, $4, $5, $6)
FROM unnest($2::int[]) WITH ORDINALITY AS w (cost, place)
ORDER BY w.place
"""
_HOLD = "SELECT reconciler.hold_requests($1, $2)"


@dataclass(frozen=True, slots=True)
class Gait:
    """One window's pace: a request every `interval` seconds, and `burst` of them at once after idleness.

    In any window fewer than `burst + window / interval` requests start.
    """

    interval: float
    burst: float


def second_gait(allowance: float) -> Gait:
    """The pace within a second: no burst, and some left for requests that reach Cronofy closer than they started."""
    return Gait(interval=1 / (0.92 * _whole(allowance)), burst=1)


def minute_gait(allowance: float) -> Gait:
    """The pace within a minute: nearly all of it steadily, a hundredth at once, a hundredth left."""
    whole = _whole(allowance)
    burst = max(1.0, 0.01 * whole)
    return Gait(interval=60 / (0.99 * whole - (burst - 1)), burst=burst)


def _whole(allowance: float) -> float:
    """Half a request cannot start: of 2.5 a second there are two."""
    return math.floor(allowance) if allowance >= 1 else allowance


class SharedBudget:
    """Reserves requests in Postgres; the caller waits, holding nothing."""

    def __init__(self, pool: Pool, client_id: str, per_second: float, per_minute: float) -> None:
        self._pool = pool
        self._key = client_key(client_id)
        self._second, self._minute = second_gait(per_second), minute_gait(per_minute)
        self._holds = 0
        self._reserve = Together(self._ask)

    @property
    def holds_heard(self) -> int:
        """How many pauses any process has asked for since this one began."""
        return self._holds

    def hear_hold(self, client_key: str) -> None:
        """Another process, or this one, has asked for a pause."""
        self._holds += int(client_key == self._key)

    async def reserve(self, cost: int) -> float:
        """Seconds to wait before starting `cost` requests."""
        return await self._reserve(cost)

    async def _ask(self, costs: Sequence[int]) -> Sequence[float]:
        second, minute = self._second, self._minute
        with speaking_plainly():
            rows = await self._pool.fetch(
                _RESERVE, self._key, costs, second.interval, second.burst, minute.interval, minute.burst
            )
        return [row[0] for row in rows]

    async def hold(self, seconds: float) -> None:
        """Stop everybody for so long."""
        self._holds += 1
        with speaking_plainly():
            await self._pool.execute(_HOLD, self._key, seconds)
