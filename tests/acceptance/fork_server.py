"""Starts the program by a fork of a process that has imported it already: 10 ms instead of half a second.

    python -m tests.acceptance.fork_server SOCKET

Each connection to the Unix socket starts one process: a JSON message with arguments, environment and working folder,
with the descriptors of its stdin, stdout and stderr. The answer is its pid at once, its exit code at its end.
The process runs `python -m reconciler` as if newly started, except for what the interpreter reads once from its
environment (`PYTHON*`, `LC_*`): a test that changes these gets a new interpreter (`processes.start`).
"""

import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import reconciler

MOST_BYTES = 1 << 20


def preload() -> None:
    """Import all that a command may need, and nothing that only a development machine has."""
    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    gc.collect()
    gc.freeze()


def serve(path: Path) -> None:
    """Accept connections for ever. Returns only in a forked process that is to run the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _attend(connection)
                return
            connection.close()


def _attend(connection: socket.socket) -> None:
    """Fork the program, and tell its pid and its end. Returns in the program's process; the other one ends here."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, descriptors, _, _ = socket.recv_fds(connection, MOST_BYTES, 3)
    if not message:  # somebody looked whether this server listens
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(json.loads(message), descriptors)
        return
    for descriptor in descriptors:
        os.close(descriptor)
    connection.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):  # whoever asked is gone
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(asked: dict[str, object], descriptors: list[int]) -> None:
    """Take on the arguments, the environment, the folder and the streams of a new process."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(asked["cwd"]))
    environment = asked["environment"]
    words = asked["words"]
    assert isinstance(environment, dict)
    assert isinstance(words, list)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["reconciler", *(os.fsdecode(word.encode("latin-1")) for word in words)]


if __name__ == "__main__":
    preload()
    serve(Path(sys.argv[1]))
    runpy.run_module("reconciler", run_name="__main__", alter_sys=True)
