"""`make bench`: measures against the simulator and a real Postgres, and writes docs/performance.md.

`python -m tests.bench requests cpu` measures only these and prints them, writing nothing.
"""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from reconciler.domain.windows import Days, cheapest_windows, pages
from reconciler.postgres.migrate import migrate
from tests import hostile
from tests.bench.simulated import Shape
from tests.bench.town import Town, measure, postgres_cpu, reconciler, town
from tests.conftest import with_database
from tests.machine import machine
from tests.postgres_servers import postgres_server

TARGET = Path("docs/performance.md")
PEAK_MB = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024"
"""A program's own peak, as an expression; ru_maxrss would begin with what the measuring process held."""

Section = Callable[[str], str]


def requests(server: str) -> str:
    """Requests of a run against the optimum that knows everything."""
    lines = [
        "| accounts | managed events each | due each | page size | requests | optimum | ratio |",
        "| --- " * 7 + "|",
    ]
    for number, (events, due, size) in enumerate(
        (((5, 900), (1, 6), 100), ((5, 900), (1, 6), 50), ((5, 60), (1, 3), 100))
    ):
        shape = Shape(accounts=150, events=events, due=due, pending=1, page_size=size, seed=number + 1)
        with town(server, shape, f"requests_{number}") as there:
            summary = json.loads(measure([reconciler("run", "--json")], there.environment()).outputs[0])
            asked, best = summary["requests"]["total"], optimum(there, size)
        lines.append(
            f"| 150 | {events[0]}–{events[1]} | {due[0]}–{due[1]} | {size} | {asked} | {best} | {asked / best:.3f} |"
        )
    return _table(
        lines,
        "The optimum: for each account the cheapest windows, computed with the true page size, and one userinfo where "
        "something is pending.",
    )


def _table(lines: Sequence[str], remark: str) -> str:
    return "\n".join(lines) + f"\n\n{remark}\n"


def optimum(there: Town, page_size: int) -> int:
    """The fewest requests that could have answered everything."""
    settled = {(s["calendar_id"], s["event_id"]) for s in there.rows["settled"]}
    total = 0
    for account in there.rows["accounts"]:
        mine = [e for e in there.rows["events"] if e["account_id"] == account["account_id"]]
        due = [e for e in mine if (e["calendar_id"], e["event_id"]) not in settled]
        days = [e["starts_at"].astimezone(UTC).date() for e in mine]
        density = {day: days.count(day) for day in set(days)}
        spans = [Days(d, d) for d in (e["starts_at"].astimezone(UTC).date() for e in due)]
        for w in cheapest_windows(spans, density, page_size):
            total += pages(sum(n for day, n in density.items() if w.first <= day <= w.last), page_size)
        total += 1  # every account of the population has something pending: one userinfo
    return total


@dataclass(frozen=True)
class Spending:
    """A trial of the allowance: what is configured, and what the server grants, per second and per minute."""

    processes: int
    accounts: int = 900
    configured: tuple[int, int] = (50, 500)
    granted: tuple[int, int] = (50, 500)

    def use(self, requests: int, seconds: float) -> str:
        """The part used of the tighter window, of the minute after the first; nothing where less is granted."""
        second, minute = self.configured
        if self.granted != self.configured:
            return "–"
        if 60 * second < minute:
            return f"{requests / (seconds * second):.0%}"
        return f"{(requests - minute) / ((seconds - 60) * minute / 60):.0%}"


_TRIALS = (
    Spending(1),
    Spending(2),
    Spending(4),
    Spending(2, configured=(20, 2000), granted=(20, 2000)),
    Spending(2, accounts=400, granted=(20, 200)),
)


def allowance(server: str) -> str:
    """Use of the allowance and the peaks of both windows, with several processes."""
    lines = [
        "| runs at once | accounts | configured | granted | requests | seconds | use | worst second | worst minute "
        "| 429s |",
        "| --- " * 10 + "|",
    ]
    for number, trial in enumerate(_TRIALS):
        second, minute = trial.granted
        shape = Shape(trial.accounts, (3, 6), (1, 2), 0, rate_per_second=second, rate_per_minute=minute)
        runs = range(trial.processes)
        with town(server, shape, f"allowance_{number}") as there:
            scopes = [[f"--customer=customer {c}" for c in range(8) if c % trial.processes == run] for run in runs]
            commands = [reconciler("run", "--json", *(scope if len(runs) > 1 else [])) for scope in scopes]
            per_second, per_minute = (str(number) for number in trial.configured)
            done = measure(commands, there.environment(RATE_PER_SECOND=per_second, RATE_PER_MINUTE=per_minute))
            ends = [json.loads(output) for output in done.outputs]
            state = there.control("state")
        if any(end["status"] != "completed" for end in ends):
            raise RuntimeError(f"a run did not complete: {[end['status'] for end in ends]}")
        total, longest = sum(e["requests"]["total"] for e in ends), max(e["duration_seconds"] for e in ends)
        lines.append(
            f"| {trial.processes} | {trial.accounts} | {per_second}/s, {per_minute}/min | {second}/s, {minute}/min "
            f"| {total} | {longest:.0f} | {trial.use(total - state['refused'], longest)} "
            f"| {state['peak_second']} | {state['peak_minute']} | {state['refused']} |"
        )
    return _table(
        lines,
        "Runs at once have disjoint scopes. Use: of what the tighter window grants; of the minute, after the first. "
        "The simulator's windows slide, and it counts refused requests.",
    )


def cpu(server: str) -> str:
    """CPU per request, side by side with loops that only repeat the same reads."""
    shape = Shape(accounts=600, events=(5, 900), due=(1, 6), pending=1)
    rows = []
    with town(server, shape, "cpu") as there, TemporaryDirectory() as folder:
        start = measure([reconciler("run", "--json", "--account", "nobody")], there.environment()).cpu_seconds
        before = postgres_cpu(there.dsn)
        done = measure([reconciler("run", "--json")], there.environment())
        in_postgres = postgres_cpu(there.dsn) - before
        asked = json.loads(done.outputs[0])["requests"]["total"]
        reads, idle = Path(folder, "reads.json"), Path(folder, "none.json")
        reads.write_text(json.dumps(_reads(there)))
        idle.write_text("[]")
        for name in ("aiohttp", "pycronofy"):
            loop = [sys.executable, "-m", "tests.bench.loops", name, there.url]
            empty = measure([[*loop, str(idle)]], dict(os.environ)).cpu_seconds
            spent = measure([[*loop, str(reads)]], dict(os.environ)).cpu_seconds - empty
            rows.append((f"{name}, reading only", asked, 1000 * spent / asked, 0.0))
        rows.append(("reconciler run", asked, 1000 * (done.cpu_seconds - start) / asked, 1000 * in_postgres / asked))
        judged = json.loads(done.outputs[0])["events"]["read"]
    lines = [
        "| program | requests | its CPU per request, ms | Postgres' CPU per request, ms | together |",
        "| --- " * 5 + "|",
    ]
    lines += [f"| {name} | {n} | {mine:.2f} | {theirs:.2f} | {mine + theirs:.2f} |" for name, n, mine, theirs in rows]
    return _table(
        lines,
        f"{shape.accounts} accounts with 5 to 900 managed events, 1 to 6 of them due, one of these pending; {judged} "
        "events are judged and recorded with their audit entries. The loops repeat the run's reads, account "
        "by account. Start-up is taken off (an empty loop; a run of nothing).",
    )


def _reads(there: Town) -> list[dict[str, Any]]:
    """The reads that were asked of the simulator, each with its account's token."""
    tokens = {account["account_id"]: account["access_token"] for account in there.rows["accounts"]}
    asked = there.control("requests")["requests"]
    # pages of one listing follow each other, whoever asked between them
    asked.sort(key=lambda r: r["account_id"])
    return [{"token": tokens[r["account_id"]], "path": r["path"], "query": r["query"]} for r in asked]


def selection(server: str) -> str:
    """Time to the first work, and memory, by the number of future events (2% unsettled)."""
    lines = ["| events | accounts | planned in, s | units | worker's peak memory, MB |", "| --- " * 5 + "|"]
    for events in (1_000, 10_000, 100_000, 1_000_000):
        accounts = max(20, events // 50)
        name = f"selection_{events}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        dsn = with_database(server, name)
        migrate(dsn)
        _fill(dsn, events, accounts)
        script = (
            "import asyncio,sys\nfrom tests.bench.selecting import select\n"
            f"print(*asyncio.run(select(sys.argv[1])), {PEAK_MB})"
        )
        seconds, units, memory = measure([[sys.executable, "-c", script, dsn]], dict(os.environ)).outputs[0].split()
        lines.append(f"| {events:,} | {accounts:,} | {float(seconds):.2f} | {int(units):,} | {memory} |")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
    return (
        "\n".join(lines) + "\n\nPlanned in: from the question to all units written and the first page of them read.\n"
    )


def _fill(dsn: str, events: int, accounts: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO reconciler.accounts (account_id, access_token) "
            "SELECT 'acc_' || i, 't' FROM generate_series(1, %s) i",
            (accounts,),
        )
        connection.execute(
            "INSERT INTO reconciler.events "
            "(calendar_id, event_id, account_id, starts_at, profile_id, body, written_at) "
            "SELECT 'cal_' || i %% %s, 'e' || i, 'acc_' || i %% %s + 1, "
            "now() + (0.1 + random() * 180) * interval '1 day', 'pro_1', '{}', now() - interval '3 days' "
            "FROM generate_series(1, %s) i",
            (accounts, accounts, events),
        )
        connection.execute(
            "INSERT INTO reconciler.event_states (calendar_id, event_id, account_id, conferencing, cause, settled_at, "
            "seen_written_at) SELECT calendar_id, event_id, account_id, 'assigned', 'assigned', now(), written_at "
            "FROM reconciler.events WHERE random() < 0.98"
        )
        connection.execute("VACUUM ANALYZE")


def start_up(_: str) -> str:
    """What it takes to say something at all."""
    lines = ["| command | seconds | CPU seconds |", "| --- " * 3 + "|"]
    for words in (("--help",), ("run", "--help")):
        best = min((measure([reconciler(*words)], dict(os.environ)) for _ in range(5)), key=lambda m: m.cpu_seconds)
        lines.append(f"| `reconciler {' '.join(words)}` | {best.seconds:.2f} | {best.cpu_seconds:.2f} |")
    return _table(lines, "Best of five.")


def trail(server: str) -> str:
    """Proving a trail of a million entries."""
    from tests.bench.long_trail import fill

    name = "trail"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    dsn = with_database(server, name)
    migrate(dsn)
    fill(dsn, chains=20_000, each=50)
    environment = {**os.environ, "RECONCILER_DATABASE_URL": dsn}
    code = f"from reconciler.cli import main\ntry: main(['audit','verify'])\nexcept SystemExit: pass\nprint({PEAK_MB})"
    done = measure([[sys.executable, "-c", code]], environment)
    said, memory = done.outputs[0].strip().splitlines()[0], done.outputs[0].split()[-1]
    return f"`reconciler audit verify` said “{said}” in {done.seconds:.0f} s with a peak of {memory} MB.\n"


def hostile_answers(server: str) -> str:
    """What a worker takes for each hostile answer of `tests/hostile.py`, beside an account that answers well."""
    lines = ["| what one account answers | seconds | worker's peak memory, MB | its error |", "| --- " * 4 + "|"]
    for number, account in enumerate(hostile.ANSWERS):
        accounts = list(dict.fromkeys(["healthy", account]))
        done = asyncio.run(_met(server, f"hostile_{number}", accounts))
        errors = [error["kind"] for error in done.summary["errors"]]
        lines.append(f"| {account} | {done.seconds:.1f} | {done.peak_mb} | {', '.join(errors) or '–'} |")
    together = asyncio.run(_met(server, "hostile_all", list(hostile.ANSWERS)))
    lines.append(f"| all of these, each another account | {together.seconds:.1f} | {together.peak_mb} | |")
    return _table(
        lines,
        "Each account has 200 due events. Bounds: `reconciler/cronofy/wire/bounds.py`. No run may take more than "
        f"{hostile.MOST_MB} MB; `tests/acceptance/test_hostile_answers.py` runs them all under `ulimit -v` of 512 MB.",
    )


@dataclass(frozen=True)
class _Met:
    summary: dict[str, Any]
    seconds: float
    peak_mb: int


async def _met(server: str, name: str, accounts: Sequence[str]) -> _Met:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    dsn = with_database(server, name)
    migrate(dsn)
    hostile.fill(dsn, accounts, due=200)
    async with hostile.hostile_cronofy(due=200) as url:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *hostile.peaking("run", "--json"), env=Town(dsn, url, {}).environment(), stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        seconds = time.monotonic() - began
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
    return _Met(json.loads(out), seconds, int(err.split()[-1]))


SECTIONS: dict[str, tuple[str, Section]] = {
    "requests": ("Requests against the optimum", requests),
    "allowance": ("Use of the allowance", allowance),
    "cpu": ("CPU per request", cpu),
    "selection": ("Selecting the due events", selection),
    "hostile": ("Hostile answers: peak memory", hostile_answers),
    "start_up": ("Start-up", start_up),
    "trail": ("Proving the trail", trail),
}


def main(wanted: Sequence[str]) -> None:
    """Measure the named sections, or all and write the document."""
    parts = []
    with postgres_server() as server:
        for name in wanted or SECTIONS:
            title, section = SECTIONS[name]
            began = time.monotonic()
            text = section(server)
            parts.append(f"## {title}\n\n`python -m tests.bench {name}`\n\n{text}")
            print(f"{parts[-1]}({time.monotonic() - began:.0f} s)\n", flush=True)
    if not wanted:
        head = f"Measured {machine()} Small machines are noisy: compare figures of one run with each other.\n"
        how = "\n`make bench` measures all of it anew.\n\n"
        TARGET.write_text("# Performance\n\n" + head + how + "\n".join(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
