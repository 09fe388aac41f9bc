"""Starts the reconciler under a doom: it kills itself at a chosen instruction, or lives with a clock that is wrong.

    python -m tests.chaos.doomed [--after LINES [--early]] [--clock SECONDS] [--jump SECONDS] [--doubt SECONDS]
                                 [--count] -- run …

Lines are those executed in the package `reconciler`, in any thread or task, counted from the moment a run begins, or
with `--early` from the moment the command line does; imports cost nothing. `--count` says on stderr how many.
`--doubt` shortens the wait after a write whose answer is not known.
"""

import argparse
import datetime
import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

OURS = f"{Path(__file__).parents[2] / 'reconciler'}{os.sep}"
BEGINNING = f"{OURS}pipeline{os.sep}run.py"
JUMPS_AFTER_S = 0.7
"""When a clock that jumps does so, in seconds from the start of the process."""


class Doom:
    """Counts executed lines, and ends the process at the last one it has left; null counts only."""

    def __init__(self, lines: int | None, *, early: bool) -> None:
        self.lines = 0
        self._last = lines
        self._counts = early

    def enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        """Follow a call if it is one of ours."""
        self._counts = self._counts or frame.f_code.co_filename == BEGINNING
        return self.step if frame.f_code.co_filename.startswith(OURS) else None

    def step(self, _frame: FrameType, event: str, _argument: object) -> Any:
        """Follow one of our calls line by line."""
        if event == "line" and self._counts:
            self.lines += 1
            if self.lines == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.step


def set_clock(seconds: float, jump: float) -> None:
    """Let the wall clock be so far off, and later so much further: `time.time`, and `datetime.now` for later imports.

    Nothing else in the program tells the date: everything that is decided goes by the database's clock.
    """
    began, true_time = time.monotonic(), time.time
    true_datetime: Any = datetime.datetime

    def off() -> float:
        return seconds + (jump if time.monotonic() - began > JUMPS_AFTER_S else 0.0)

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, true_datetime)

    class Shifted(true_datetime, metaclass=Kind):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return true_datetime.now(tz) + datetime.timedelta(seconds=off())

    datetime.datetime = Shifted  # type: ignore[misc]
    time.time = lambda: true_time() + off()


def main(arguments: list[str]) -> None:
    """Prepare the process, then be the program."""
    parser = argparse.ArgumentParser(prog="doomed")
    parser.add_argument("--after", type=int)
    parser.add_argument("--early", action="store_true")
    parser.add_argument("--clock", type=float, default=0.0)
    parser.add_argument("--jump", type=float, default=0.0)
    parser.add_argument("--doubt", type=float)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("words", nargs="+")
    options = parser.parse_args(arguments)
    if options.clock or options.jump:
        set_clock(options.clock, options.jump)
    cli = importlib.import_module("reconciler.cli")
    for name in ("commands.run", "commands.guided", "commands.looking", "pgqueuer.engine"):
        importlib.import_module(f"reconciler.{name}")
    if options.doubt is not None:
        for name in ("act", "unit"):
            importlib.import_module(f"reconciler.pipeline.{name}").__dict__["DOUBT_SETTLES_S"] = options.doubt
    doom = Doom(options.after, early=options.early)
    if options.after is not None or options.count:
        threading.settrace(doom.enter)
        sys.settrace(doom.enter)
    try:
        cli.main(options.words, prog_name="reconciler")
    finally:
        sys.settrace(None)
        if options.count:
            sys.stderr.write(f"{doom.lines} lines\n")


if __name__ == "__main__":
    main(sys.argv[1:])
