"""Tokens at rest: plain as the application wrote them, or encrypted by us when keys are configured."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from reconciler.domain.ids import AccountId
from reconciler.ports import AccountUnreadable, Tokens, WrongConfiguration
from reconciler.postgres.failures import repeated, speaking_plainly
from reconciler.postgres.guarded import STATEMENT_S, NotAsWanted, guarded
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.rows import finite
from reconciler.postgres.statements import statements

_SQL = statements("tokens")
_MARK = "fernet:"


class TokenSafe:
    """Encrypts with the newest key, decrypts with any. Without keys it passes plain text through."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def seal(self, token: str) -> str:
        """A token as it is to be stored."""
        return _MARK + self._fernet.encrypt(token.encode()).decode() if self._fernet else token

    def open(self, stored: str | None) -> str | None:
        """A stored token in the clear; null for none.

        Raises:
            WrongConfiguration: it is encrypted and no configured key fits.
        """
        if not stored or not stored.startswith(_MARK):
            return stored.strip() or None if stored else None
        if self._fernet is None:
            raise WrongConfiguration("tokens are encrypted, but RECONCILER_TOKEN_KEYS is not set")
        try:
            return self._fernet.decrypt(stored.removeprefix(_MARK)).decode()
        except InvalidToken as error:
            raise WrongConfiguration("RECONCILER_TOKEN_KEYS holds no key that fits the stored tokens") from error

    def pair(self, row: Mapping[str, Any]) -> Tokens | None:
        """An account's stored pair in the clear; null when there is neither token.

        Raises:
            WrongConfiguration: as `open`.
        """
        access, refresh = self.open(row["access_token"]), self.open(row["refresh_token"])
        if not access and not refresh:
            return None
        return Tokens(access or "", refresh, finite(_moment(row["token_expires_at"])))


def _moment(stored: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored


class StoredTokens:
    """Token pairs in the application's `accounts` relation."""

    def __init__(self, pool: Pool, safe: TokenSafe) -> None:
        self._pool = pool
        self._safe = safe

    async def load(self, account_id: AccountId) -> Tokens | None:
        """The stored pair; null when there is neither token."""
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["load"], account_id)
        return self._safe.pair(dict(row)) if row else None

    @repeated
    async def save(self, account_id: AccountId, tokens: Tokens, *, replacing: Tokens) -> bool:
        """Store a refreshed pair, unless the application stored another one since `replacing` was loaded.

        Raises:
            AccountUnreadable: the application's database refuses it.
        """
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_SQL["lock"], account_id)
                if row is None or self._safe.open(row["refresh_token"]) != replacing.refresh:
                    return False
                expires_at: datetime | None = tokens.expires_at
                refresh = self._safe.seal(tokens.refresh) if tokens.refresh else None
                await _put(connection, account_id, self._safe.seal(tokens.access), refresh, expires_at)
                return True


async def _put(
    connection: Connection, account_id: AccountId, access: str, refresh: str | None, expires_at: datetime | None
) -> None:
    async def work() -> None:
        await connection.execute(_SQL["save"], account_id, access, refresh, expires_at, timeout=STATEMENT_S)
        row = await connection.fetchrow(_SQL["load"], account_id)
        if row is None or (row["access_token"], row["refresh_token"]) != (access, refresh):
            raise NotAsWanted

    if (why := await guarded(connection, work)) is not None:
        raise AccountUnreadable(
            "token_not_stored",
            f"Cronofy gave new tokens, but its row in reconciler.accounts could not be updated: {why}; let the"
            " reconciler update access_token, refresh_token, token_expires_at and updated_at",
        )
