"""Refreshing tokens: the request and its answers."""

from dataclasses import dataclass, field

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed
from reconciler.cronofy.wire.mending import STAND_IN, decode


class _Granted(Struct):
    access_token: Raw = Raw()
    refresh_token: Raw = Raw()
    expires_in: Raw = Raw()
    account_id: Raw = Raw()
    sub: Raw = Raw()


class _TokenError(Struct):
    error: str


_ENCODER = msgspec.json.Encoder()
_GRANTED = msgspec.json.Decoder(_Granted)
_TOKEN_ERROR = msgspec.json.Decoder(_TokenError)
_TEXT = msgspec.json.Decoder(str)
_NUMBER = msgspec.json.Decoder(float)


LONGEST_TOKEN = 4096
"""Characters of an access token. Common servers take 8 kB of headers in all."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a refresh gave. `access` is null where it holds none that can be used, `refresh` where the old one stays.

    `expires_in` is in seconds. `named`: of whom the answer says that these are the tokens; mostly it does not.
    """

    access: str | None = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_in: float | None
    named: tuple[str, ...] = ()


def refresh_body(client_id: str, client_secret: str, refresh_token: str) -> bytes:
    """The request that turns a refresh token into a new pair."""
    return _ENCODER.encode(
        {
            "client_id": client_id,
            "client_secret": client_secret,
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
        }
    )


def read_granted(body: bytes) -> Granted:
    """Read a new pair of tokens. Whatever else is odd, neither of them is thrown away: the old ones may be dead.

    Raises:
        Malformed: there is no token in it that can be used.
    """
    try:
        granted = decode(_GRANTED, body)
    except UNDECODABLE:
        raise Malformed("the answer of the token endpoint has another shape than documented") from None
    access, refresh = _token(granted.access_token), _token(granted.refresh_token)
    if access is not None and not sendable(access):
        access = None
    if access is None and refresh is None:
        raise Malformed("the answer of the token endpoint holds no access token that a request can carry")
    named = (_token(granted.account_id), _token(granted.sub))
    return Granted(access, refresh, _seconds(granted.expires_in), tuple(name for name in named if name))


def sendable(access: str) -> bool:
    """Whether an access token can stand in a header, and be nothing but one word of it."""
    return 0 < len(access) <= LONGEST_TOKEN and access.isascii() and access.isprintable() and " " not in access


def _token(raw: Raw) -> str | None:
    """A token as it can be stored and sent; null where there is none, or where a character of it is lost."""
    try:
        token = decode(_TEXT, raw)
    except UNDECODABLE:
        return None
    return token if token and STAND_IN not in token else None


def _seconds(raw: Raw) -> float | None:
    """A number; null for anything else, and for one that no program can hold (`1e400`)."""
    try:
        return decode(_NUMBER, raw)
    except UNDECODABLE:
        return None


_TOKEN_ERRORS = frozenset({
    "invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "unauthorized_client",
    "unsupported_grant_type",
})  # fmt: skip
"""RFC 6749, section 5.2. Anything else might be an echo of what was sent."""


def read_token_error(body: bytes) -> str | None:
    """The OAuth error code, such as `invalid_grant`; null where there is none."""
    try:
        error = decode(_TOKEN_ERROR, body).error
    except UNDECODABLE:
        return None
    return error if error in _TOKEN_ERRORS else None
