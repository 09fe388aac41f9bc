"""The request allowance that all processes share, kept in one row per Cronofy application."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import Pool
from reconciler.postgres.status_reader import client_key
from reconciler.postgres.together import Together

_RESERVE = "SELECT * FROM reconciler.reserve_slots($1, $2, $3, $4, $5)"
_HOLD = "SELECT reconciler.hold_requests($1, $2)"
_PAUSES = "SELECT holds FROM reconciler.request_budget WHERE client_key = $1"

_SECOND_S, _MINUTE_S = 1.087, 60.5
"""The windows as they are kept: a little longer, since a request reaches Cronofy a little later than it may start, and
not always by as much. On a machine that is busy beyond its cores 1.05 let 31 of 30 requests arrive within a second."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How requests may start: one every `interval` seconds, and no more than `most` in any `minute` seconds."""

    interval: float
    most: int
    minute: float = _MINUTE_S


def pace_of(per_second: float, per_minute: float) -> Pace:
    """The pace that keeps both limits in every sliding window, and uses what is left of the minute without delay."""
    if per_minute < 1:
        return Pace(_MINUTE_S / per_minute, 1)
    return Pace(_SECOND_S / _whole(per_second), math.floor(per_minute))


def _whole(allowance: float) -> float:
    """Half a request cannot start: of 2.5 a second there are two."""
    return math.floor(allowance) if allowance >= 1 else allowance


class SharedBudget:
    """Reserves requests in Postgres; the caller waits, holding nothing."""

    def __init__(self, pool: Pool, client_id: str, per_second: float, per_minute: float) -> None:
        self._pool = pool
        self._key = client_key(client_id)
        self._pace = pace_of(per_second, per_minute)
        self._own = self._on_record = self._heard = 0
        self._looked = -1
        self._reserve = Together(self._ask)
        self._look = Together(self._ask_for_pauses)

    def hear_hold(self, client_key: str) -> None:
        """Somebody says that a pause was asked for. Anybody in the database can: it is a reason to look, once."""
        self._heard += int(client_key == self._key)

    async def pauses(self) -> int:
        """See `ports.Budget`. Looked up only where something was heard since, together for all who ask."""
        if self._heard != self._looked:
            await self._look(None)
        return self._own + self._on_record

    async def _ask_for_pauses(self, asked: Sequence[None]) -> Sequence[None]:
        heard = self._heard
        with speaking_plainly():
            self._on_record = await self._pool.fetchval(_PAUSES, self._key) or 0
        self._looked = heard
        return asked

    async def reserve(self, cost: int) -> float:
        """Seconds to wait before starting `cost` requests."""
        return await self._reserve(cost)

    async def _ask(self, costs: Sequence[int]) -> Sequence[float]:
        pace = self._pace
        with speaking_plainly():
            rows = await self._pool.fetch(_RESERVE, self._key, costs, pace.interval, pace.most, pace.minute)
        return [row[0] for row in rows]

    async def hold(self, seconds: float) -> None:
        """Stop everybody for so long."""
        self._own += 1  # known before it is on record, and once more after: who waits here lets no moment pass
        with speaking_plainly():
            await self._pool.execute(_HOLD, self._key, seconds)
