"""docs/reliability.md: what was tried, how often, and what held."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from tests.chaos.invariants import TOO_LATE
from tests.chaos.trial import DOUBT_S, HEARTBEAT_S, REAL_DOUBT_SHARE, SCENARIOS, Tally
from tests.machine import machine


@dataclass
class Result:
    """What the suite did."""

    seed: int
    kills: int
    """How many were asked for."""
    minutes: float
    """How long it was to take at most."""
    by_scenario: dict[str, Tally] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cancellations: int = 0
    """Suspension points at which a run was cancelled."""
    histories: int = 0

    @property
    def total(self) -> Tally:
        """All scenarios together."""
        return reduce(add, self.by_scenario.values(), Tally())

    @property
    def command(self) -> str:
        """What does the same again."""
        return f"python -m tests.chaos --seed {self.seed} --kills {self.kills} --minutes {self.minutes:g}"


SAID = {
    "kills": "each process dies at an instruction drawn by chance, is killed from outside, or is told to stop",
    "mixed": "a round of any of these, one after the other",
    "freeze": "processes stand still for longer than their heartbeat, others go on, then they go on too",
    "cut-postgres": "the wire to Postgres is cut, broken off in mid-message, refused, held, or swallows everything",
    "cut-api": "the wire to Cronofy is cut, broken off in mid-message, refused, or swallows everything",
    "restart": "the database crashes (immediate mode) and comes back",
    "clocks": "wall clocks are up to 15 minutes off and jump by up to a day; the simulator's clock jumps",
    "duplicates": "the same command 2 to 8 times at once, under one key, different ones, or none",
    "allowance": "2 to 8 processes under 30 requests a second and 1,200 a minute, enforced; some die",
}

HELD = """\
- **No event is lost.** Every event has the one cause it was planted with, is settled if that cause settles, and has a
  link by the program's books exactly where it must. What asks for nothing, or was cancelled, was never touched.
- **Nothing is harmed.** No upsert on an event with a link, on a deleted, past or unknown one, none without a field,
  none with a foreign token. Each upsert was the stored body with another `conferencing.profile_id`, and the calendar's
  times where the person had moved the event. Nothing else in the application's two relations changed.
- **Nothing is doubled.** One upsert that took effect for each repair, at most one conference for each event, one notice
  for each account, kind and profile, ever.
- **One story.** Every `repair:intended` is followed by what came of it before the next one; one `repair:applied` and
  one `event:confirmed` for each repair. The counters of all runs add up to exactly that, and each run's books to its
  units.
- **No run is left `running`**; what its trail says last is what its books say; at most one end as `completed`. No
  evidence is held back and nothing is queued any more.
- **Nothing is left to do.** One run more writes nothing, to Cronofy or to the trail of any account.
- `reconciler audit verify` and `reconciler audit replay` succeed.
- **Never over the allowance**, in any sliding second or minute, by the simulator's own count.
- **Never stuck, never unspoken.** Every process ended by itself, with a documented exit code, with one JSON document
  where there is one to expect, and without a traceback.
- **No rotated refresh token is lost** but where something was done to a process within seconds of the refresh (below).
"""

LIMITS = f"""\
- A seed draws what is done and when; what the machine makes of it in time is its own. A fault that hangs on a moment
  may take a few attempts to come back.
- Instructions are lines of the package `reconciler`; within a line, or in a library, only kills from outside strike.
- After an unanswered write the next look waits 5 s. In {REAL_DOUBT_SHARE:.0%} of the trials the program runs just as
  it is; in the others this wait is {DOUBT_S:g} s, so that more is tried in the same time. The heartbeat is
  {HEARTBEAT_S:g} s.
- What is on a wire to Cronofy that goes dead is lost. A network that delivers an upsert after those seconds, when the
  next run has read the event and written it, makes a second write that nobody can prevent.
- A refresh that replaces the refresh token is lost with the process that dies between Cronofy's answer and its storing.
  The account is then parked, its owner gets one notice, and all is well once the application stores new tokens: that
  is tried too, and counted here.
- The clock of Postgres was not moved: it is the one that everything is decided by. The program reads the wall clock
  only to turn durations on the command line into moments.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def document(result: Result) -> str:
    """The whole document."""
    total, command = result.total, f"`{result.command}`"
    n = {name: f"{times:,}" for name, times in total.done.items()}
    by_name = {name: result.by_scenario[name] for name in SCENARIOS if name in result.by_scenario}
    tried = [
        (
            f"`{name}`", SAID[name], tally.done["trials"], tally.done["processes"], tally.kills,
            f"`python -m tests.chaos --seed {result.seed} {name}`",
        )
        for name, tally in by_name.items()
    ]  # fmt: skip
    deeds = [(name, n[name]) for name in sorted(n) if name in _DEEDS or name.startswith("wire to ")]
    at_once, ends = sorted(total.at_once), sorted(total.ends)
    return "\n".join(
        (
            "# Reliability\n",
            f"Tried {machine()}\n",
            f"`make chaos` tries all of it anew: {result.seconds / 60:.0f} minutes, seed {result.seed}. A trial is a",
            "fresh town of people with events of every kind, rounds of runs to which something is done, with either",
            "engine, and then healthy runs until nothing is left to do. Then everything below is checked, by SQL and",
            "by the simulator's own records.\n",
            "## What was tried\n",
            f"**{total.kills:,} kills**, {n.get('killed at an instruction', 0)} at an instruction and",
            f"{n.get('killed from outside', 0)} from outside, in {n['trials']} trials with {n['processes']} processes:",
            f"{command}\n",
            _table(("scenario", "what is done", "trials", "processes", "kills", "more of it"), tried),
            f"\nWhat was done, in all scenarios together ({command}):\n",
            _table(("what", "times"), deeds),
            f"\nProcesses started at once, and how often ({command}):\n",
            _table([str(number) for number in at_once], [[total.at_once[number] for number in at_once]]),
            f"\nHow processes ended, by exit code ({command}):\n",
            _table(ends, [[total.ends[code] for code in ends]]),
            f"\n**{result.cancellations} cancellations**: a run over a small town was cancelled at every one of its",
            "suspension points, wherever any of its tasks waits, and healthy runs finished it.\n",
            f"**{result.histories} histories** of up to 25 steps, drawn from the seed: people connect, remove, lose",
            "and relink profiles, move and delete events; the application writes, rewrites and cancels them; Zoom goes",
            "down and comes back; runs are undisturbed, cancelled or killed. In the end every event has the cause that",
            "its calendar shows, the application's last word stands in its row and at Cronofy, and of people only what",
            "is needed is asked.\n",
            "\n## What held\n",
            f"All of it, in every trial ({command}): {n['accounts']} accounts with {n['events']} events,",
            f"{n['repaired']} of which had to be written again; {n['upserts']} upserts reached Cronofy, after",
            f"{n['intents']} intents;",
            f"{n.get('doubts', 0)} events were in doubt at some time; {n['requests']} requests.\n",
            HELD,
            "## What it does not show\n",
            LIMITS,
            f"Of {n['refreshes']} refreshes {n.get('rotations lost', 0)} were lost that way.",
            f"{n.get(TOO_LATE, 0)} writes came so long after their intent that the next look was over ({command}).\n",
        )
    )


_DEEDS = frozenset(
    {
        "clocks off", "duplicates", "frozen", "jumps of the simulator's clock", "killed at an instruction",
        "killed from outside", "restarts of the database", "told to stop", "healthy runs", "rounds",
    }
)  # fmt: skip
