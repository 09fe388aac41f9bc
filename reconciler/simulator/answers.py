"""The answers that are not the plain good one (cronofy-api.md sections 6.4 and 9).

Only the token endpoints say 400; a 422 carries its errors; all other errors have no documented body, so `error_body`
chooses between nothing, JSON and a page of HTML. A 401 and a 429 never have one.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from reconciler.simulator.faults import HTML_PAGE
from reconciler.simulator.settings import Settings

OK, ACCEPTED, MULTI_STATUS = 200, 202, 207
BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 400, 401, 403, 404
MISDIRECTED = 421
UNPROCESSABLE, LOCKED, TOO_MANY, SERVER_ERROR, BAD_GATEWAY = 422, 423, 429, 500, 502


def good(body: dict[str, Any], status: int = OK, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.json_response(body, status=status, headers=headers)


def accepted() -> web.Response:
    """202 with nothing in it: an upsert returns no event and no link (section 6)."""
    return web.Response(status=ACCEPTED)


def invalid(errors: Any) -> web.Response:
    """422."""
    return web.json_response({"errors": errors}, status=UNPROCESSABLE)


def unauthorized() -> web.Response:
    """401, the same whether a token ran out or was revoked (section 13)."""
    return web.Response(status=UNAUTHORIZED, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def refused(settings: Settings, status: int) -> web.Response:
    """403, 404, 423 or 5xx, in the chosen dress."""
    match settings.error_body:
        case "empty":
            return web.Response(status=status)
        case "json":
            return web.json_response({"error": f"status_{status}"}, status=status)
        case "html":
            return web.Response(status=status, text=HTML_PAGE, content_type="text/html")
