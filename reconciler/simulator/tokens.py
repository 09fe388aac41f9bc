"""Bearer and refresh tokens (cronofy-api.md section 2): which one opens what, and for how long.

Opaque strings of 32 characters. An access token lives by the virtual clock; a refresh does not end the one before it
(undocumented). Rotation and the early refresh that returns the same token are switches of `Settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.simulator.accounts import Account, refuse_real_secret
from reconciler.simulator.settings import Settings

STICKY_FOR = timedelta(minutes=10)


@dataclass(frozen=True)
class _Access:
    account: Account
    expires_at: datetime


class Tokens:
    """All tokens of one world."""

    def __init__(self, settings: Settings, now: Callable[[], datetime], make: Callable[[int], str]) -> None:
        self._settings = settings
        self._now = now
        self._make = make
        self._access: dict[str, _Access] = {}
        self._refresh: dict[str, Account] = {}

    def expiry(self) -> datetime:
        """When a token issued now runs out."""
        return self._now() + timedelta(seconds=self._settings.token_lifetime)

    def grant(self, account: Account, access: str | None = None, refresh: str | None = None) -> None:
        """Issue a new pair, replacing the account's refresh token."""
        refuse_real_secret(access)
        refuse_real_secret(refresh)
        self._refresh.pop(account.refresh_token, None)
        account.access_token = access or self._make(32)
        account.refresh_token = refresh or self._make(32)
        account.token_expires_at = self.expiry()
        self._access[account.access_token] = _Access(account, account.token_expires_at)
        self._refresh[account.refresh_token] = account

    def expire(self, account: Account) -> None:
        """End every access token of an account."""
        account.token_expires_at = self._now()
        for token in [t for t, held in self._access.items() if held.account is account]:
            del self._access[token]

    def bearer(self, token: str) -> Account | None:
        """The account an access token speaks for, while it lives and the grant stands."""
        held = self._access.get(token)
        if held is None or held.account.revoked or held.expires_at <= self._now():
            return None
        return held.account

    def holder(self, token: str) -> Account | None:
        """Whose access or refresh token this is, or once was, alive or not."""
        held = self._access.get(token)
        return held.account if held else self._refresh.get(token)

    def refresh(self, refresh_token: str) -> tuple[Account, int] | None:
        """Renew by a refresh token: the account and the seconds its access token has left, or None: `invalid_grant`."""
        account = self._refresh.get(refresh_token)
        if account is None or account.revoked:
            return None
        left = account.token_expires_at - self._now()
        if self._settings.sticky_refresh and left >= STICKY_FOR:
            return account, int(left.total_seconds())
        kept = None if self._settings.rotate_refresh else account.refresh_token
        self.grant(account, refresh=kept)
        return account, int(self._settings.token_lifetime)
