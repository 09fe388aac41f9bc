"""One request as the handlers see it, and where it is kept on aiohttp's request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from reconciler.simulator.accounts import Account
from reconciler.simulator.world import World


@dataclass
class Call:
    """A request, parsed once.

    `account` is the bearer's, if its token is good. `base_url` is the simulator's own, for absolute links. `drop` asks
    for a write that is acknowledged and forgotten.
    """

    world: World
    account: Account | None
    token: str | None
    query: list[tuple[str, str]]
    body: Any
    base_url: str
    drop: bool = False


CALL = web.RequestKey("call", Call)
