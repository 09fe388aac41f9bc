"""The simulator as a server: loopback only, one base URL for every data centre, control routes on the same port."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from reconciler.simulator import api, control
from reconciler.simulator.courier import deliver
from reconciler.simulator.gate import Gate, Handler
from reconciler.simulator.loopback import is_loopback
from reconciler.simulator.scenes import SceneError, load_text
from reconciler.simulator.settings import Settings
from reconciler.simulator.world import World

# How long a request under way may take to end when the server closes, in seconds.
FAREWELL = 0.5


def require_loopback(host: str) -> None:
    """The simulator holds no secrets and checks none, so nobody else may reach it."""
    if not is_loopback(host):
        raise ValueError(f"the simulator binds to loopback only, not to {host!r}: use 127.0.0.1")


class Simulator:
    """Serves a world while its context lasts; port 0 takes a free one."""

    def __init__(self, world: World, host: str = "127.0.0.1", port: int = 0) -> None:
        require_loopback(host)
        self.world = world
        self._host = host
        self._port = port
        self._gate = Gate(world)
        self._runner: web.AppRunner | None = None
        self._courier: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end; known once it serves."""
        return self._gate.base_url

    async def __aenter__(self) -> Self:
        """Start serving."""
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=FAREWELL)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self._gate.base_url = f"http://{shown}:{runner.addresses[0][1]}"
        self._courier = asyncio.create_task(deliver(self.world), name="courier")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let hanging requests go, and stop."""
        self._gate.closing.set()
        if self._courier is not None:
            self._courier.cancel()
            await asyncio.wait([self._courier])
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _application(self) -> web.Application:
        gate = self._gate

        @web.middleware
        async def passing(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await gate.passing(request, handler)

        app = web.Application(middlewares=[passing])
        api.add_routes(app)
        control.add_routes(app, self.world)
        return app


async def _load_file(world: World, path: Path | str) -> None:
    text = await asyncio.to_thread(Path(path).read_bytes)
    try:
        load_text(world, text)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from None


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    scene_path: Path | str | None = None,
    settings: Settings | None = None,
    seed: int = 1,
) -> None:
    """Serve until cancelled, with the scene of a file if one is named; the one line on stdout is the URL."""
    require_loopback(host)
    world = World(seed=seed, settings=settings)
    if scene_path is not None:
        await _load_file(world, scene_path)
    async with Simulator(world, host, port) as simulator:
        print(simulator.url, flush=True)
        await asyncio.Event().wait()
