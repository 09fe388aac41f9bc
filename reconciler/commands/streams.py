"""Standard output and error as the program writes to them: nothing raw, and no failure to write ends the work.

The one place that every text on its way to a terminal passes, whoever wrote it: a command, a library, Python itself.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import TextIO, cast

from reconciler.domain.visible import visible

_STANDARD = 3
"""Input, output and error: a file opened while one of them is free would take its place."""


class Stream(io.TextIOBase):
    """A standard stream that takes any text. What it cannot show, or may not, becomes an escape.

    Once it is full or closed it takes the rest in silence; `lost` is told why, once.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, raw: TextIO, lost: Callable[[str], None], *, styled: bool = False) -> None:
        self._raw = raw
        self._lost = lost
        self._styled = styled
        self._open = True

    def write(self, text: str) -> int:
        """Write it, harmless."""
        harmless = text if self._styled else visible(text, keep="\n")
        if not harmless.isascii():
            takes = self._raw.encoding or "ascii"
            harmless = harmless.encode(takes, self.errors).decode(takes)
        self._try(lambda: self._raw.write(harmless))
        return len(text)

    def write_bytes(self, content: bytes) -> None:
        """Write a file's content: as it is, unless a person looks at it."""
        if self.isatty():
            self.write(content.decode("utf-8-sig", "replace").replace("\r\n", "\n"))
        else:
            self._try(self._raw.flush)
            self._try(lambda: self._raw.buffer.write(content))
        self.flush()

    def flush(self) -> None:
        """Send on what is written."""
        self._try(self._raw.flush)

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._open and self._raw.isatty()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._raw.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def styled(self) -> "Stream":
        """The same stream for a program of ours that draws: colours and the cursor's moves pass."""
        return Stream(self._raw, self._lost, styled=True)

    def _try(self, write: Callable[[], object]) -> None:
        if not self._open:
            return
        try:
            write()
        except (OSError, ValueError) as error:
            self._open = False
            _into_nothing(self._raw)
            self._lost(getattr(error, "strerror", None) or str(error))


def guard() -> None:
    """Put guarded streams in the place of Python's; done twice it changes nothing."""
    _occupy()
    if not isinstance(sys.stderr, Stream):
        sys.stderr = Stream(sys.stderr or _closed(), _ignored)
    if not isinstance(sys.stdout, Stream):
        sys.stdout = Stream(sys.stdout or _closed(), _tell)


def drawn_on() -> TextIO:
    """Standard error for what draws on it itself: a bar, coloured logs."""
    stderr: object = sys.stderr
    return cast(TextIO, stderr.styled() if isinstance(stderr, Stream) else stderr)


def _occupy() -> None:
    """Let no file and no connection become standard output or error because that was closed when we began."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < _STANDARD:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _closed() -> TextIO:
    """Stands for a stream that was closed when we began: every write to it fails."""
    return open(os.devnull, encoding="utf-8")


def _into_nothing(raw: TextIO) -> None:
    """Let what is still in the buffer go nowhere: Python would try again at its end, and end with 120."""
    try:
        target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, raw.fileno())
        os.close(target)
        raw.flush()
    except (OSError, ValueError):
        pass


def _tell(why: str) -> None:
    sys.stderr.write(f"reconciler: not all of the result could be written to standard output ({why})\n")
    sys.stderr.flush()


def _ignored(_: str) -> None:
    """There is nobody left to tell."""
