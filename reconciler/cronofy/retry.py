"""The one retry policy: which failures are worth another attempt, how many attempts, how long between them.

Reading may always be repeated. An upsert is idempotent by its `event_id`, but may already have started a conference:
after a lost answer the pipeline reads back first, so only what was certainly not carried out is repeated here. A
refresh of tokens may be repeated after a lost answer, but the refresh token may have been replaced by then: see
grants.py. The server's word on how long to wait comes first.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay

from reconciler.cronofy import limits
from reconciler.cronofy.errors import AnswerLost, CallFailed, NotSent, Throttled

ATTEMPTS = 4
TIMEOUTS = 2
"""Attempts that may end in waiting in vain, or in a wait asked for that makes no sense: a hanging or hostile account
costs no more than this many timeouts."""
TOTAL_SECONDS = 300.0
"""No further attempt starts so long after the first failed."""

Sleep = Callable[[float], Awaitable[None]]
Chance = Callable[[], float]
Worth = Callable[[CallFailed], bool]
T = TypeVar("T")


def always(failure: CallFailed) -> bool:
    """For reads and refreshes: everything that may pass."""
    return isinstance(failure, NotSent | Throttled | AnswerLost)


def unless_in_doubt(failure: CallFailed) -> bool:
    """For writes: only what was certainly not carried out."""
    return isinstance(failure, NotSent | Throttled)


async def repeat(
    once: Callable[[int], Awaitable[T]], *, worth: Worth, patience: float, sleep: Sleep, chance: Chance
) -> T:
    """Attempt `once`, which is told the number of the attempt, until it answers or another attempt is not worth it.

    `patience`: how many seconds are waited where the server asks for a wait that makes no sense.

    Raises:
        CallFailed: the last attempt's.
    """
    try:
        return await once(1)
    except CallFailed as failure:
        return await _again(once, failure, worth=worth, patience=patience, sleep=sleep, chance=chance)


async def _again(
    once: Callable[[int], Awaitable[T]],
    first: CallFailed,
    *,
    worth: Worth,
    patience: float,
    sleep: Sleep,
    chance: Chance,
) -> T:
    """The attempts after a first that failed. Only these need the policy, which costs as much as decoding a page."""
    attempts = timeouts = 0

    async def attempt() -> T:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise first
        return await once(attempts)

    def again(error: BaseException) -> bool:
        nonlocal timeouts
        if not isinstance(error, CallFailed):
            return False
        hangs = isinstance(error, AnswerLost) and error.timed_out
        timeouts += hangs or (error.wait is not None and not limits.makes_sense(error.wait))
        return timeouts < TIMEOUTS and worth(error)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, CallFailed) else None
        return limits.backoff(state.attempt_number, chance()) if asked is None else limits.heeded(asked, patience)

    retrying = AsyncRetrying(
        retry=retry_if_exception(again),
        wait=wait,
        stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(TOTAL_SECONDS),
        sleep=sleep,
        reraise=True,
    )
    try:
        return await retrying(attempt)
    except CallFailed as failure:
        failure.attempts = attempts
        raise
