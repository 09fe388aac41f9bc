"""Tells Cronofy being away from an account that is broken: the one stops the run, the other costs itself alone.

Every attempt of every account is noted. An answer of any kind below 500 is a sign of life and ends a row of failures.
A row is taken for an outage when it is long enough, comes from enough accounts, and no other data centre has shown
life. What an account cannot influence (no connection comes about) needs fewer than what it can (500s, silence).

Broken accounts are slow, so that towards the end of a run they are among themselves and look like an outage. Hence a
row that may be theirs is an outage only once it is `confirmed`: asked again, what was answered before is not any more.
"""

from collections.abc import Callable

from reconciler.cronofy.errors import CallFailed, NotSent
from reconciler.domain.ids import AccountId

IN_A_ROW = 8
IN_A_ROW_FROM_THE_START = 4
"""When no connection has ever come about: one call's attempts, within four seconds."""

SPAN_SECONDS = 2.0
"""A shorter row is a hiccup that hit many at once, unless a call has used up its attempts."""


class Breaker:
    """The row of failures that is going on, if any."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._alive: set[str] = set()
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        self._since = 0.0
        self._accounts: set[AccountId] = set()
        self._hosts: set[str] = set()
        self._unconnected = True
        self.confirmed = False

    def answered(self, host: str) -> None:
        """A sign of life."""
        self._alive.add(host)
        if self._count:
            self._clear()

    def failed(self, host: str, account_id: AccountId, failure: CallFailed) -> None:
        """An attempt without an answer, or with one that says that Cronofy itself is in trouble."""
        if not self._count:
            self._since = self._monotonic()
        self._count += 1
        self._accounts.add(account_id)
        self._hosts.add(host)
        self._unconnected &= isinstance(failure, NotSent)

    @property
    def may_be_the_accounts(self) -> bool:
        """Whether accounts could bring about such a row by themselves; without any connection they cannot."""
        return not self._unconnected

    def is_open(self, *, exhausted: bool = False) -> bool:
        """Whether the row is an outage. `exhausted`: a call of the row has used up its attempts."""
        lived = bool(self._alive)
        if self._alive - self._hosts:
            return False
        if self._unconnected:
            needed, accounts = (IN_A_ROW, 2) if lived else (IN_A_ROW_FROM_THE_START, 1)
        else:
            needed, accounts = IN_A_ROW, 4 if lived else 6
        if self._count < needed or len(self._accounts) < accounts:
            return False
        return exhausted or self._monotonic() - self._since >= SPAN_SECONDS
