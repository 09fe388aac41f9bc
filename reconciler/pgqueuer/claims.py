"""Which units this process has claimed, and the two places where a claim that was lost stops its work.

A process can be frozen for longer than its heartbeat; its units are then another's, and it does not know. Before a
transaction writes for a unit it asks `Claims.fence`; before a request starts it asks `GuardedBudget`.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from reconciler.domain.casework import Unit
from reconciler.domain.ids import AccountId
from reconciler.ports import AccountUnreadable, Budget
from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.statements import statements

_SQL = statements("engine")


@dataclass(slots=True)
class Claim:
    """A queue row that we picked. `seen` is when it last stood, by the monotonic clock."""

    job_id: int
    owner: UUID
    seen: float


_CURRENT: ContextVar[Claim | None] = ContextVar("the claim that this task works under", default=None)


class Claims:
    """The claims in hand."""

    def __init__(self, pool: Pool, heartbeat: timedelta) -> None:
        self._pool = pool
        self._fresh_s = heartbeat.total_seconds() / 4
        self._held: dict[tuple[UUID, AccountId], Claim] = {}

    async def hold(self, run_id: UUID, account_id: AccountId, job_id: int, owner: UUID) -> Unit | None:
        """The unit, to be worked by this task under that claim; null if it is done, or the claim was lost already."""
        claim = Claim(job_id, owner, time.monotonic())
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["claimed_unit"], run_id, account_id, job_id, owner)
        if row is None:
            return None
        self._held[run_id, account_id] = claim
        _CURRENT.set(claim)
        return Unit(run_id, account_id, row["deadline"], row["attempt"], weighed=row["weighed"])

    def drop(self, unit: Unit) -> None:
        """The unit is worked."""
        self._held.pop((unit.run_id, unit.account_id), None)

    async def fence(self, connection: Connection, unit: Unit) -> bool:
        """Whether our claim to the unit stands; it does so until the transaction ends."""
        claim = self._held.get((unit.run_id, unit.account_id))
        if claim is None:
            return False
        return bool(await connection.fetchval(_SQL["fence"], unit.run_id, unit.account_id, claim.job_id, claim.owner))

    async def still_ours(self) -> bool:
        """Whether the claim that this task works under stands; looked up where it was not seen to for a while.

        A claim can be lost only after three eighths of a heartbeat without a sign of life: beats are half of one
        apart, and written within an eighth. A quarter is safely before that.
        """
        claim = _CURRENT.get()
        if claim is None or time.monotonic() - claim.seen < self._fresh_s:
            return True
        asked = time.monotonic()
        with speaking_plainly():
            stands = bool(await self._pool.fetchval(_SQL["claim_stands"], claim.job_id, claim.owner))
        if stands:
            claim.seen = asked
        return stands


class GuardedBudget:
    """Implements `ports.Budget`: no place in the queue of requests for work that is another process's by now.

    Who wakes up late for a place asks for a new one (`cronofy.pacing`), so a process that was frozen passes here
    before its next request.
    """

    def __init__(self, budget: Budget, claims: Claims) -> None:
        self._budget = budget
        self._claims = claims

    async def pauses(self) -> int:
        """See `ports.Budget.pauses`."""
        return await self._budget.pauses()

    async def reserve(self, cost: int) -> float:
        """See `ports.Budget.reserve`.

        Raises:
            AccountUnreadable: another process has the account in hand; what is left undone here is its to do.
        """
        if not await self._claims.still_ours():
            raise AccountUnreadable("claim_lost", "another process of the run went on with it")
        return await self._budget.reserve(cost)

    async def hold(self, seconds: float) -> None:
        """See `ports.Budget.hold`."""
        await self._budget.hold(seconds)
