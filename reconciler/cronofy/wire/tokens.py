"""Refreshing tokens: the request and its answers."""

from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed


class _Granted(Struct):
    access_token: str
    refresh_token: object = None
    expires_in: object = None


class _TokenError(Struct):
    error: str


_ENCODER = msgspec.json.Encoder()
_GRANTED = msgspec.json.Decoder(_Granted)
_TOKEN_ERROR = msgspec.json.Decoder(_TokenError)


@dataclass(frozen=True, slots=True)
class Granted:
    """What a refresh gave. `refresh` is null where the old one stays; `expires_in` is in seconds."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_in: float | None


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
    """Read a new pair of tokens. Whatever else is odd, the access token is not thrown away: the old one may be dead.

    Raises:
        Malformed: there is no access token in it.
    """
    try:
        granted = _GRANTED.decode(body)
    except UNDECODABLE:
        raise Malformed("the answer of the token endpoint holds no access token") from None
    if not granted.access_token:
        raise Malformed("the access token in the answer of the token endpoint is empty")
    refresh, seconds = granted.refresh_token, granted.expires_in
    return Granted(
        granted.access_token,
        refresh if isinstance(refresh, str) and refresh else None,
        seconds if isinstance(seconds, int | float) else None,
    )


_TOKEN_ERRORS = frozenset({
    "invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "unauthorized_client",
    "unsupported_grant_type",
})  # fmt: skip
"""RFC 6749, section 5.2. Anything else might be an echo of what was sent."""


def read_token_error(body: bytes) -> str | None:
    """The OAuth error code, such as `invalid_grant`; null where there is none."""
    try:
        error = _TOKEN_ERROR.decode(body).error
    except UNDECODABLE:
        return None
    return error if error in _TOKEN_ERRORS else None
