"""Progress on a terminal: accounts done of due, requests, findings by cause, time left."""

from collections import Counter
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reconciler.domain.casework import UnitResult

_MOST_CAUSES = 4


class Bar:
    """A bar on a terminal while its context lasts."""

    def __init__(self, terminal: TextIO, *, shown: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[requests]} requests  {task.fields[causes]}", markup=False),
            TimeRemainingColumn(),
            console=Console(file=terminal),
            disable=not shown,
            transient=True,
        )
        self._task = self._progress.add_task("accounts", total=None, requests=0, causes="")
        self._causes: Counter[str] = Counter()
        self._requests = 0

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._progress.stop()

    def due(self, accounts: int) -> None:
        """How many accounts the run has to work."""
        self._progress.update(self._task, total=accounts)

    def done(self, result: UnitResult) -> None:
        """One account more, unless it is to be worked again."""
        self._causes.update(result.counts.get("causes", {}))
        self._requests += result.counts.get("requests", {}).get("total", 0)
        most = "  ".join(f"{cause} {n}" for cause, n in self._causes.most_common(_MOST_CAUSES))
        self._progress.update(self._task, advance=int(not result.waits), requests=self._requests, causes=most)
