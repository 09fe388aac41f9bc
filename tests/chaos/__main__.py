"""`make chaos`: tries to break the program, and writes docs/reliability.md.

    python -m tests.chaos [--seed N] [--kills N] [--minutes M] [--trial K] [--rounds R] [scenario …]

Without scenarios all of them take turns, until so many processes were killed, and in the minutes given at most; then
the document is written, if nothing broke. With scenarios nothing is written.

What is broken is said with its seed, trial and scenario; `--seed N --trial K scenario` draws the same again. What the
machine makes of it in time is its own: a fault that hangs on a moment may take a few attempts to come back.
"""

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from tests.chaos.cancelled import try_everywhere
from tests.chaos.document import Result, document
from tests.chaos.history import try_histories
from tests.chaos.server import Server, own_server
from tests.chaos.trial import SCENARIOS, Tally, Trial

TARGET = Path("docs/reliability.md")
HISTORIES = 40
SIDE_BY_SIDE = 3
"""Trials at a time; those that restart the database take turns on a server of their own."""
SHARE = {"kills": 20, "mixed": 3}
"""How many of a cycle of trials are of a scenario; of the others one."""
_STRIDE = 11
"""Coprime to the length of the cycle: whoever takes every eleventh of a list has taken them all, well mixed."""


def cycle(wanted: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Numbers and scenarios without end, well mixed."""
    turns = [name for name in wanted or SCENARIOS for _ in range(1 if wanted else SHARE.get(name, 1))]
    assert math.gcd(_STRIDE, len(turns)) == 1
    turns = [turns[index * _STRIDE % len(turns)] for index in range(len(turns))]
    number = 0
    while True:
        yield number, turns[number % len(turns)]
        number += 1


class Suite:
    """Trials side by side, until enough was tried."""

    def __init__(self, options: argparse.Namespace, server: Server, fragile: Server) -> None:
        self._options = options
        self._server = server
        self._fragile = fragile
        self._one_at_a_time = asyncio.Lock()
        self._numbers = cycle(options.scenarios)
        self._ends = time.monotonic() + 60 * options.minutes
        self.result = Result(options.seed, options.kills, options.minutes)

    async def run(self) -> Result:
        """Carry out trials; stop at the first that broke something."""
        began = time.monotonic()
        if self._options.trial is not None:
            (scenario,) = self._options.scenarios
            await self._trial(self._options.trial, scenario)
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(SIDE_BY_SIDE):
                    group.create_task(self._worker())
        self.result.seconds = time.monotonic() - began
        return self.result

    async def _worker(self) -> None:
        while self._goes_on():
            await self._trial(*next(self._numbers))

    def _goes_on(self) -> bool:
        enough: bool = self.result.total.kills >= self._options.kills
        return not (enough or self.result.faults or time.monotonic() > self._ends)

    async def _trial(self, number: int, scenario: str) -> None:
        restarts = scenario == "restart"
        server = self._fragile if restarts else self._server
        trial = Trial(self._options.seed, number, scenario, server, self._options.rounds)
        if restarts:
            async with self._one_at_a_time:
                await trial.run()
        else:
            await trial.run()
        tally = trial.tally
        self.result.by_scenario[scenario] = self.result.by_scenario.get(scenario, Tally()) + tally
        ends = ", ".join(f"{code}: {n}" for code, n in sorted(tally.ends.items()))
        print(f"trial {number} {scenario}: {tally.kills} kills, {tally.done['seconds']} s, ends {ends}", flush=True)
        for fault in trial.faults:
            command = (
                f"python -m tests.chaos --seed {self._options.seed} --trial {number} --rounds {trial.rounds} {scenario}"
            )
            print(f"BROKEN {fault}\n  try again: {command}", flush=True)
        self.result.faults += trial.faults


def _in_this_process(result: Result, server: Server) -> None:
    """A run cancelled everywhere, and random histories; the program says its results aloud, to nobody."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        cancelled = asyncio.run(try_everywhere(server))
        if not cancelled.faults:
            try_histories(server, HISTORIES, seed=result.seed)
    for fault in cancelled.faults:
        print(f"BROKEN {fault}", flush=True)
    result.cancellations, result.histories = cancelled.points, HISTORIES
    result.faults += cancelled.faults
    print(f"{cancelled.points} cancellations, {HISTORIES} histories", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Try what is asked for; 1 if something broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--trial", type=int)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", choices=[[], *SCENARIOS], help=", ".join(SCENARIOS))
    options = parser.parse_args(arguments)
    with own_server() as server, own_server() as fragile:
        result = asyncio.run(Suite(options, server, fragile).run())
        if not options.scenarios and not result.faults:
            _in_this_process(result, server)
    print(f"{result.total.kills} kills in {result.seconds / 60:.1f} min, {len(result.faults)} faults")
    if not options.scenarios and not result.faults:
        TARGET.write_text(document(result), encoding="utf-8")
    return int(bool(result.faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
