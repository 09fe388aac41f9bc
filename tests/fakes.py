"""In-memory stand-ins for the ports: they keep the promises, and show what was asked of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from reconciler.domain.ids import AccountId
from reconciler.ports import Tokens


class FakeClock:
    """A clock that stands still until told."""

    def __init__(self, now: datetime = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment

    def advance(self, **by: float) -> None:
        self.moment += timedelta(**by)


class FakeTokenStore:
    """Tokens in a dictionary. `saved` lists what was stored by a refresh, `loads` counts the looks."""

    def __init__(self, stored: dict[AccountId, Tokens] | None = None) -> None:
        self.stored = dict(stored or {})
        self.saved: list[Tokens] = []
        self.loads = 0

    async def load(self, account_id: AccountId) -> Tokens | None:
        await asyncio.sleep(0)
        self.loads += 1
        return self.stored.get(account_id)

    async def save(self, account_id: AccountId, tokens: Tokens, *, replacing: Tokens) -> bool:
        await asyncio.sleep(0)
        there = self.stored.get(account_id)
        if there is None or (there.access, there.refresh) != (replacing.access, replacing.refresh):
            return False
        self.stored[account_id] = tokens
        self.saved.append(tokens)
        return True


class FakeBudget:
    """An allowance that never runs out. `waits` are handed out first, then everything may start at once."""

    def __init__(self, waits: Sequence[float] = ()) -> None:
        self.waits = list(waits)
        self.reserved: list[int] = []
        self.holds: list[float] = []
        self.holds_of_others = 0

    async def pauses(self) -> int:
        return len(self.holds) + self.holds_of_others

    @property
    def spent(self) -> int:
        return sum(self.reserved)

    async def reserve(self, cost: int) -> float:
        self.reserved.append(cost)
        return self.waits.pop(0) if self.waits else 0.0

    async def hold(self, seconds: float) -> None:
        self.holds.append(seconds)


class FakeMeter:
    """Counts by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, kind: str, cost: int = 1) -> None:
        self.counts[kind] += cost


class FakeSleep:
    """Sleeps no time at all, and remembers how long it was asked to."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
