"""How all commands speak: results on stdout, one line on stderr where something has to change, an exit code."""

import asyncio
import json
import sys
from datetime import datetime
from enum import IntEnum
from typing import Any

from reconciler.commands.streams import Stream
from reconciler.domain.visible import visible
from reconciler.ports import RunStopped, WrongConfiguration


class Exit(IntEnum):
    """The exit codes of the command line."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    PARTIAL = 3
    REFUSED = 4
    STOPPED = 5
    UNREACHABLE = 69
    ALREADY = 75
    CONFIGURATION = 78


def say(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print a result as the one JSON document, in ASCII: whatever it holds, every stdout can show it unchanged."""
    say(json.dumps(value, default=_plain, indent=2 if sys.stdout.isatty() else None))


def say_file(content: bytes) -> None:
    """Print a file's content."""
    if isinstance(sys.stdout, Stream):
        sys.stdout.write_bytes(content)
    else:
        sys.stdout.buffer.write(content)


def note(line: str) -> None:
    """One line on stderr about the work under way."""
    sys.stderr.write(f"{visible(line)}\n")


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def complain(message: str) -> None:
    """One line on stderr that says what to change."""
    note(f"reconciler: {' '.join(message.split())}")


def exit_code_of(error: RunStopped) -> Exit:
    """Wrong configuration is not unreachability."""
    return Exit.CONFIGURATION if isinstance(error, WrongConfiguration) else Exit.UNREACHABLE


def guarded(work: Any) -> Exit:
    """Run a command's coroutine; failures that a user can cause become one line and their exit code."""
    try:
        return Exit(asyncio.run(work))
    except RunStopped as error:
        complain(str(error))
        return exit_code_of(error)
    except TimeoutError:
        complain("Postgres does not answer in time; check RECONCILER_DATABASE_URL")
        return Exit.UNREACHABLE
