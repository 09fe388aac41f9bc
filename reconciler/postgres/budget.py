"""The request allowance that all processes share, kept in one row per Cronofy application."""

from dataclasses import dataclass

from reconciler.postgres.pool import Pool, speaking_plainly
from reconciler.postgres.status_reader import client_key

_RESERVE = "SELECT reconciler.reserve_requests($1, $2, $3, $4, $5, $6)"
_HOLD = "SELECT reconciler.hold_requests($1, $2)"


@dataclass(frozen=True, slots=True)
class Gait:
    """One window's pace: a request every `interval` seconds, and `burst` of them at once after idleness.

    In any window at most `burst - 1 + ceil(window / interval)` requests start.
    """

    interval: float
    burst: float


_STEADY = 0.95
_BURST = 0.03


def gait(allowance: float, window_s: float) -> Gait:
    """The pace for an allowance of requests per window.

    The steady rate and the burst together leave a margin for requests that reach Cronofy a moment later than they
    were started, and so closer to the next.
    """
    burst = max(1.0, allowance * _BURST)
    return Gait(interval=window_s / max(allowance * _STEADY - (burst - 1), allowance * 0.5), burst=burst)


class SharedBudget:
    """Reserves requests in Postgres; the caller waits, holding nothing."""

    def __init__(self, pool: Pool, client_id: str, per_second: float, per_minute: float) -> None:
        self._pool = pool
        self._key = client_key(client_id)
        self._second, self._minute = gait(per_second, 1.0), gait(per_minute, 60.0)

    async def reserve(self, cost: int) -> float:
        """Seconds to wait before starting `cost` requests."""
        with speaking_plainly():
            wait: float = await self._pool.fetchval(
                _RESERVE,
                self._key,
                cost,
                self._second.interval,
                self._second.burst,
                self._minute.interval,
                self._minute.burst,
            )
        return wait

    async def hold(self, seconds: float) -> None:
        """Stop everybody for so long."""
        with speaking_plainly():
            await self._pool.execute(_HOLD, self._key, seconds)
