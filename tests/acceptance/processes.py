"""Processes of the program, forked from one that has imported it, or started anew."""

import asyncio
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]
_READ_ONCE = ("PYTHON", "LC_", "LANG")
"""What the interpreter reads only when it starts."""


class Process(Protocol):
    """What the tests need of a process; as `asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def send_signal(self, signal: int) -> None: ...

    def kill(self) -> None: ...

    async def communicate(self) -> tuple[bytes, bytes]: ...


async def start(words: Sequence[str | bytes], environment: Mapping[str, str], *, cold: bool = False) -> Process:
    """Start `python -m reconciler`; `cold`: as a new interpreter, which imports everything itself."""
    if cold or _of_interpreter(environment) != _of_interpreter(os.environ):
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "reconciler", *words,
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    return await Forked.start(words, environment)


def _of_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_ONCE)}


class Forked:
    """A process that the fork server has started."""

    def __init__(self, pid: int, connection: socket.socket, out: int, err: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._outputs = asyncio.gather(_read(out), _read(err))
        self._ended = asyncio.create_task(self._wait(connection))

    @classmethod
    async def start(cls, words: Sequence[str | bytes], environment: Mapping[str, str]) -> "Forked":
        """Ask the server for a new process."""
        path = await asyncio.to_thread(_server)
        asked = {
            "words": [os.fsencode(word).decode("latin-1") for word in words],
            "environment": dict(environment),
            "cwd": str(Path.cwd()),
        }
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, str(path))
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        socket.send_fds(connection, [json.dumps(asked).encode()], [nothing, out_end, err_end])
        for descriptor in (nothing, out_end, err_end):
            os.close(descriptor)
        return cls(int(await loop.sock_recv(connection, 32)), connection, out, err)

    async def _wait(self, connection: socket.socket) -> None:
        with connection:
            self.returncode = int(await asyncio.get_running_loop().sock_recv(connection, 32))

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.returncode is None:
            with suppress(ProcessLookupError):  # it has ended, and the news is on its way
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end; what it said on stdout and stderr."""
        out, err = await self._outputs
        await self._ended
        return out, err


async def _read(descriptor: int) -> bytes:
    """All that comes out of a pipe."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


@cache
def _server() -> Path:
    """The socket of this test process's fork server, which is started when it is first needed."""
    folder = Path(tempfile.mkdtemp(prefix="reconciler-forks-", dir="/tmp"))
    path = folder / "socket"
    server = subprocess.Popen([sys.executable, "-m", "tests.acceptance.fork_server", str(path)], cwd=ROOT)
    atexit.register(_stop, server, folder)
    while not _listens(path):
        assert server.poll() is None, "the fork server has ended"
        time.sleep(0.01)
    return path


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _stop(server: "subprocess.Popen[bytes]", folder: Path) -> None:
    server.kill()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)
