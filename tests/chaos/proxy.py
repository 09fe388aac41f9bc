"""A relay between the program and what it talks to, with wires that can be cut, refused, held, broken off."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Ends]]

_CHUNK = 65_536


class Proxy:
    """Listens on a loopback port of its own; every connection is led on to where `connect` leads."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._wires: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._swallows = False
        self._refuses = False
        self._left: int | None = None
        self.port = 0
        self.accepted = 0
        """Connections taken so far."""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut everything and listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What can be done to it.

    def cut(self) -> None:
        """Break every connection; what was read and not passed on is lost."""
        for writer in self._wires:
            writer.transport.abort()

    def cut_after(self, size: int) -> None:
        """Break every connection once so many more bytes have passed, in the middle of a message if it falls so."""
        self._left = size

    def refuse(self) -> None:
        """Break new connections as they come, until `heal`."""
        self._refuses = True

    def hold(self) -> None:
        """Pass nothing on until `heal`; what comes meanwhile is passed on then."""
        self._flowing.clear()

    def swallow(self) -> None:
        """Be a black hole until `heal`: what comes meanwhile is lost, and its connections with it."""
        self._swallows = True

    def heal(self) -> None:
        """Be a good wire again."""
        if self._swallows:
            self.cut()
        self._refuses = self._swallows = False
        self._left = None
        self._flowing.set()

    # The wires.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._refuses:
                writer.transport.abort()
                return
            with contextlib.suppress(OSError):
                await self._join(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._wires.add(writer)
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            self._wires.discard(writer)
            return
        self._wires.add(far_writer)
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            for end in (writer, far_writer):
                self._wires.discard(end)
                end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                if self._swallows:
                    continue
                if self._left is not None:
                    data = data[: self._left]
                    self._left -= len(data)
                writer.write(data)
                await writer.drain()
                if self._left == 0:
                    self._left = None
                    await asyncio.sleep(0)
                    self.cut()
        except OSError:
            pass
        finally:
            await self._flowing.wait()
            writer.close()


async def to_port(port: int) -> Ends:
    """A connection to a loopback port."""
    return await asyncio.open_connection("127.0.0.1", port)


async def to_socket(path: str) -> Ends:
    """A connection to a unix socket."""
    return await asyncio.open_unix_connection(path)
