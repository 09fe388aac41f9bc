"""POST /oauth/token and /oauth/token/revoke (cronofy-api.md section 2), in JSON or as a form.

Only refreshing is simulated; a code exchange answers `unsupported_grant_type`.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from reconciler.simulator.accounts import SECRET_PREFIX
from reconciler.simulator.answers import BAD_REQUEST, good
from reconciler.simulator.world import World

_UNSTORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def token(world: World, body: Any) -> web.Response:
    """Refresh an access token."""
    fields = body if isinstance(body, dict) else {}
    refusal = _client_refusal(world, fields)
    if refusal is not None:
        return refusal
    if fields.get("grant_type") != "refresh_token":
        return _error("unsupported_grant_type")
    if not fields.get("refresh_token"):
        return _error("invalid_request")
    renewed = world.tokens.refresh(str(fields["refresh_token"]))
    if renewed is None:
        return _error("invalid_grant")
    account, expires_in = renewed
    answer = {
        "token_type": "bearer",
        "access_token": account.access_token,
        "expires_in": expires_in,
        "refresh_token": account.refresh_token,
        "scope": account.scope,
    }
    return good(answer, headers=_UNSTORED)


def revoke(world: World, body: Any) -> web.Response:
    """End a whole grant, named by either token or by `sub`; an unknown one is no error."""
    fields = body if isinstance(body, dict) else {}
    refusal = _client_refusal(world, fields)
    if refusal is not None:
        return refusal
    account = world.tokens.holder(str(fields.get("token"))) or world.accounts.get(str(fields.get("sub")))
    if account is not None:
        account.revoke()
    return web.Response()


def _client_refusal(world: World, fields: dict[str, Any]) -> web.Response | None:
    settings = world.settings
    if str(fields.get("client_secret", "")).startswith(SECRET_PREFIX):
        world.violation("a client secret that looks real was sent to the simulator")
    given = (fields.get("client_id"), fields.get("client_secret"))
    if given == (settings.client_id, settings.client_secret):
        return None
    return _error("invalid_client", settings.invalid_client_status)


def _error(name: str, status: int = BAD_REQUEST) -> web.Response:
    return good({"error": name}, status=status, headers=_UNSTORED)
