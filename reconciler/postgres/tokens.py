"""Tokens at rest: plain as the application wrote them, or sealed by us when keys are configured.

A sealed token is bound to its account and column: moved to another row, it does not open. Tokens that earlier versions
encrypted (`fernet:`) still open, wherever they stand, and are sealed anew when they are next written.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from reconciler.domain.ids import AccountId
from reconciler.ports import AccountUnreadable, Tokens, WrongConfiguration
from reconciler.postgres.failures import repeated, speaking_plainly
from reconciler.postgres.guarded import STATEMENT_S, NotAsWanted, guarded
from reconciler.postgres.moments import moment_in
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.statements import statements

_SQL = statements("tokens")
_SEALED, _FERNET, _PLAIN = "sealed:1:", "fernet:", "plain:"
_MARKS = (_SEALED, _FERNET, _PLAIN)
_KEY_BYTES, _NONCE_BYTES = 32, 12
_PAGE = 500

Column = Literal["access_token", "refresh_token"]


class TokenUnreadable(AccountUnreadable):
    """A stored token is sealed and cannot be opened: by no configured key, or not for this account and column."""

    def __init__(self, column: Column, *, with_keys: bool) -> None:
        why = "it is sealed, or only begins so, and RECONCILER_TOKEN_KEYS is not set"
        if with_keys:
            why = "it was sealed with a key that RECONCILER_TOKEN_KEYS lacks, or for another row, or is damaged"
        super().__init__("token_unreadable", f"reconciler.accounts: {column} cannot be opened: {why}; store it again")


class TokenSafe:
    """Seals with the newest key, opens with any. Without keys it stores plain text.

    The keys are Fernet keys. `has_opened`: whether any stored token could be opened so far, plain ones included.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        self._ciphers = [AESGCM(_derived(key)) for key in keys]
        self.has_opened = False

    @property
    def has_keys(self) -> bool:
        """Whether tokens are sealed."""
        return bool(self._ciphers)

    def seal(self, account_id: AccountId, column: Column, token: str) -> str:
        """A token as it is to be stored. One that begins like a mark of ours is marked as plain where it is."""
        if not self.has_keys:
            return _PLAIN + token if token.startswith(_MARKS) else token
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, token.encode(), _place(account_id, column))
        return _SEALED + urlsafe_b64encode(nonce + sealed).decode()

    def open(self, account_id: AccountId, column: Column, stored: str | None) -> str | None:
        """A stored token in the clear; null for none.

        Raises:
            TokenUnreadable: it is sealed, and nothing opens it here.
        """
        token = self._opened(account_id, column, stored.strip() if stored else "")
        self.has_opened = self.has_opened or token is not None
        return token

    def _opened(self, account_id: AccountId, column: Column, stored: str) -> str | None:
        if stored.startswith(_SEALED):
            return self._unsealed(account_id, column, stored.removeprefix(_SEALED))
        if stored.startswith(_FERNET):
            return self._decrypted(column, stored.removeprefix(_FERNET))
        return stored.removeprefix(_PLAIN) or None

    def _decrypted(self, column: Column, text: str) -> str:
        if self._fernet is None:
            raise TokenUnreadable(column, with_keys=False)
        try:
            return self._fernet.decrypt(text).decode()
        except (InvalidToken, ValueError):
            raise TokenUnreadable(column, with_keys=True) from None

    def _unsealed(self, account_id: AccountId, column: Column, text: str) -> str:
        try:
            sealed = urlsafe_b64decode(text)
        except ValueError:
            sealed = b""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(account_id, column)).decode()
            except (InvalidTag, ValueError):  # ValueError: too short to be sealed
                continue
        raise TokenUnreadable(column, with_keys=self.has_keys)

    def pair(self, account_id: AccountId, row: Mapping[str, Any]) -> Tokens | None:
        """An account's stored pair in the clear; null when there is neither token.

        Raises:
            TokenUnreadable: as `open`.
        """
        access = self.open(account_id, "access_token", row["access_token"])
        refresh = self.open(account_id, "refresh_token", row["refresh_token"])
        if not access and not refresh:
            return None
        expires_at = row["token_expires_at"]
        return Tokens(access or "", refresh, moment_in(expires_at) if isinstance(expires_at, str) else expires_at)


def _derived(key: str) -> bytes:
    """The key that seals: of its own, so that what one scheme gives away is of no use in the other.

    Raises:
        ValueError: it is not a Fernet key.
    """
    raw = urlsafe_b64decode(key)
    if len(raw) != _KEY_BYTES:
        raise ValueError("a key has 32 bytes in url-safe base64")
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"reconciler: tokens at rest, AES-256-GCM").derive(raw)


def _place(account_id: AccountId, column: Column) -> bytes:
    """What a sealed token is bound to. A column holds no NUL, nor does an account's id."""
    return b"reconciler.accounts\0" + column.encode() + b"\0" + account_id.encode()


async def want_one_that_opens(pool: Pool, safe: TokenSafe) -> None:
    """After a token that could not be opened: is it that account's fault, or that of the keys?

    Raises:
        WrongConfiguration: no account's stored token can be opened.
    """
    if safe.has_opened:
        return
    with speaking_plainly():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            async for row in connection.cursor(_SQL["all"], prefetch=_PAGE):
                if _opens(safe, dict(row)):
                    return
    raise WrongConfiguration(
        "RECONCILER_TOKEN_KEYS holds no key that opens any stored token"
        if safe.has_keys
        else "the stored tokens are sealed, and RECONCILER_TOKEN_KEYS is not set"
    )


def _opens(safe: TokenSafe, row: Mapping[str, Any]) -> bool:
    try:
        return safe.pair(AccountId(row["account_id"] or ""), row) is not None
    except TokenUnreadable:
        return False


class StoredTokens:
    """Token pairs in the application's `accounts` relation."""

    def __init__(self, pool: Pool, safe: TokenSafe) -> None:
        self._pool = pool
        self._safe = safe

    async def load(self, account_id: AccountId) -> Tokens | None:
        """The stored pair; null when there is neither token.

        Raises:
            TokenUnreadable: it cannot be opened.
        """
        with speaking_plainly():
            row = await self._pool.fetchrow(_SQL["load"], account_id)
        return self._safe.pair(account_id, dict(row)) if row else None

    @repeated
    async def save(self, account_id: AccountId, tokens: Tokens, *, replacing: Tokens) -> bool:
        """Store a refreshed pair, unless the application stored another one since `replacing` was loaded.

        Raises:
            AccountUnreadable: the application's database refuses it.
        """
        with speaking_plainly():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_SQL["lock"], account_id)
                if row is None or not self._holds(account_id, row["refresh_token"], replacing.refresh):
                    return False
                expires_at: datetime | None = tokens.expires_at
                access = self._safe.seal(account_id, "access_token", tokens.access)
                refresh = self._safe.seal(account_id, "refresh_token", tokens.refresh) if tokens.refresh else None
                await _put(connection, account_id, access, refresh, expires_at)
                return True

    def _holds(self, account_id: AccountId, stored: str | None, refresh: str | None) -> bool:
        """Whether a stored refresh token is this one; one that cannot be opened is another."""
        try:
            return self._safe.open(account_id, "refresh_token", stored) == refresh
        except TokenUnreadable:
            return False


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
