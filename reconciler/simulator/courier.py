"""Sends webhooks: real HTTP, signed as Cronofy signs (cronofy-api.md section 10.6), one after the other.

A delivery counts once, whatever its answer: it is not repeated. Nothing that a receiver does reaches the API.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac

import aiohttp

from reconciler.simulator.webhooks import Webhook
from reconciler.simulator.world import World

PATIENCE_S = 7.0
"""How long a receiver may take (section 10.3)."""
_LOOK_S = 0.02
_HEADER = "Cronofy-HMAC-SHA256"


def sign(secret: str, content: bytes) -> str:
    """What the header holds."""
    return base64.b64encode(hmac.digest(secret.encode(), content, hashlib.sha256)).decode()


async def deliver(world: World) -> None:
    """Send what is due, until cancelled.

    The clock is looked at only when somebody waits to be told: otherwise conferencing settles when a client asks.
    """
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
        connector=aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        while True:
            if world.webhooks.awaited:
                world.settle()
            while (hook := world.webhooks.next(world.now())) is not None:
                await _send(session, world, hook)
            await asyncio.sleep(_LOOK_S)


async def _send(session: aiohttp.ClientSession, world: World, hook: Webhook) -> None:
    """To the very address: a redirect could lead away from this machine."""
    content = hook.content()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        _HEADER: sign(world.settings.client_secret, content),
    }
    hook.sent_at = world.now()
    try:
        async with session.post(hook.uri, data=content, headers=headers, allow_redirects=False) as answer:
            hook.outcome, hook.status = "answered", answer.status
    except TimeoutError:
        hook.outcome, hook.error = "failed", f"no answer within {PATIENCE_S:g} seconds"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        hook.outcome, hook.error = "failed", f"no connection, or it broke: {error}"
