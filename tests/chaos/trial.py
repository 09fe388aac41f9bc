"""One trial: a fresh town, rounds of runs to which something is done, and healthy runs until nothing is left to do."""

import asyncio
import contextlib
import functools
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.pipeline.act import DOUBT_SETTLES_S
from reconciler.simulator import Simulator, World
from tests.acceptance.program import Done, Program, Running, Town, query, settings_for
from tests.chaos.invariants import Disturbances, broken, lost_rotations, unsettled
from tests.chaos.people import Expected, settle_in
from tests.chaos.proxy import Proxy, to_port, to_socket
from tests.chaos.server import Server

ROOT = Path(__file__).parents[2]
SOUND = {0, 3, 4, 5, 69, 75}
"""Exit codes that a run under attack may end with; killed ones aside."""
WITH_SUMMARY = {0, 3, 4, 5}
_END_NAMES = {-signal.SIGKILL: "killed", -signal.SIGTERM: "told to stop before it listened"}

BAD_REQUEST = 400
HEARTBEAT_S = 3.0
DOUBT_S = 3.0
"""How long after an unanswered write most trials wait instead of the real time."""
REAL_DOUBT_SHARE = 0.2
"""The part of the trials that runs the program just as it is, with the real time."""
GENERATION_S = 0.2
PROCESSES = (1, 1, 1, 2, 2, 3, 4, 8)
SHORTEST_LIFE, LONGEST_LIFE = 20, 30_000
"""Lines: what the kills at an instruction are drawn from, evenly by order of magnitude. A run over a town takes about
25,000, fewer where less is due."""
EARLY_SHARE = 0.15
"""The part of these kills that counts from the start of the command line instead of that of the run."""
AIMED_SHARE = 0.5
"""The part of the kills from outside that come while a write or a refresh is under way."""
PATIENCE_S = 150.0
"""Within which any process ends, whatever was done to it."""
HEALING_RUNS = 8
ROUNDS_LESS = {"restart": 3, "freeze": 3, "cut-api": 2}
"""Rounds of these take longer: so many times fewer of them."""
ALLOWANCE = (30, 1_200)
"""Requests a second and a minute, of all processes together, where the allowance is what is tried."""


@dataclass
class Tally:
    """How often what was done."""

    done: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    at_once: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.done + other.done, self.ends + other.ends, self.at_once + other.at_once)

    @property
    def kills(self) -> int:
        """Processes killed, either way."""
        return self.done["killed from outside"] + self.done["killed at an instruction"]


@dataclass
class Process:
    """A process under way, and what it was told to be."""

    running: Running
    words: tuple[str, ...]
    doomed: bool = False
    killed: bool = False
    told_to_stop: bool = False


@dataclass
class Trial:
    """One town and what is done to it. Everything drawn comes from `seed` and `number`."""

    seed: int
    number: int
    scenario: str
    server: Server
    rounds: int
    tally: Tally = field(default_factory=Tally)
    faults: list[str] = field(default_factory=list)
    disturbances: Disturbances = field(default_factory=Disturbances)
    want: Expected = field(default_factory=Expected)
    round: int = 0

    def __post_init__(self) -> None:
        """Draw what stays as it is all through the trial."""
        self.chance = random.Random(f"{self.seed}/{self.number}/{self.scenario}")
        self.as_it_is = self.chance.random() < REAL_DOUBT_SHARE
        self.doubt_s = DOUBT_SETTLES_S if self.as_it_is else DOUBT_S
        self.narrow = self.scenario == "allowance"

    async def run(self) -> "Trial":
        """Carry it out; what was broken is in `faults`."""
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            dsn = await asyncio.to_thread(stack.enter_context, self.server.database())
            async with self._place(dsn):
                for number in range(self.rounds // ROUNDS_LESS.get(self.scenario, 1) or 1):
                    self.round = number
                    await self._supply(self.chance.randint(1, 6) if number else self.chance.randint(6, 14))
                    await SCENARIOS[self.scenario](self)
                    if self.faults:
                        break
                if not self.faults:
                    await self._heal()
                    self.faults += await asyncio.to_thread(
                        broken, self.town, self.want, self.tally.done, self.doubt_s - GENERATION_S
                    )
        requests = self.town.world.requests
        self.tally.done["requests"] += len(requests)
        self.tally.done["refreshes"] += sum(r.kind == "token" and r.status != BAD_REQUEST for r in requests)
        self.tally.done["trials"] += 1
        self.tally.done["rounds"] += self.round + 1
        self.tally.done["accounts"] += len(self.town.residents)
        self.tally.done["events"] += len(self.town.planted)
        self.tally.done["seconds"] += round(time.monotonic() - began)
        return self

    @contextlib.asynccontextmanager
    async def _place(self, dsn: str) -> AsyncIterator[None]:
        """The simulator, the wires, and a town whose program is set up for them."""
        world = World(seed=self.number + 1)
        # Rates are recorded in all trials, and enforced where they are what is tried.
        allowed = ALLOWANCE if self.narrow else (500, 30_000)
        rates = allowed if self.narrow else (100_000, 1_000_000)
        world.settings.rate_per_second, world.settings.rate_per_minute = rates
        world.settings.generation_delay = GENERATION_S
        world.settings.latency = self.chance.choice((0.0, 0.02, 0.1))
        world.settings.rotate_refresh = True
        self.town = Town(world, dsn)
        async with contextlib.AsyncExitStack() as stack:
            simulator = await stack.enter_async_context(Simulator(world))
            port = urlsplit(simulator.url).port
            assert port is not None
            self.api = await stack.enter_async_context(Proxy(functools.partial(to_port, port)))
            self.database = await stack.enter_async_context(Proxy(functools.partial(to_socket, self.server.socket)))
            name = urlsplit(dsn).path
            settings = settings_for(
                f"postgresql://postgres@127.0.0.1:{self.database.port}{name}", f"http://127.0.0.1:{self.api.port}"
            )
            settings |= {
                "RECONCILER_RATE_PER_SECOND": str(2 * allowed[0]),
                "RECONCILER_RATE_PER_MINUTE": str(2 * allowed[1]),
                "RECONCILER_RATE_SHARE": "0.5",
                "RECONCILER_HEARTBEAT": f"{HEARTBEAT_S:g}s",
                "RECONCILER_MAX_REPAIR_SHARE": "1",
                "RECONCILER_HTTP_TIMEOUT": "3s",
                "RECONCILER_CONCURRENCY": str(self.chance.choice((1, 2, 4, 16))),
            }
            self.program = Program(settings)
            yield
        limits = world.limits
        if limits.peak_second > allowed[0] or limits.peak_minute > allowed[1] or limits.refused:
            self.faults.append(
                f"over the allowance of {allowed}: {limits.peak_second} in a second, {limits.peak_minute} in a minute, "
                f"{limits.refused} refused"
            )

    async def _supply(self, accounts: int) -> None:
        """The application writes events for new accounts."""
        residents, planted = len(self.town.residents), len(self.town.planted)
        settle_in(self.town, self.want, self.chance, accounts)
        await asyncio.to_thread(self._move_in, residents, planted)

    def _move_in(self, residents: int, planted: int) -> None:
        newcomers = Town(self.town.world, self.town.dsn, self.town.residents[residents:], self.town.planted[planted:])
        newcomers.move_in()

    # Processes.

    async def start(self, *words: str, engine: str = "local", doom: Sequence[str] = (), plain: bool = False) -> Process:
        """Start the program, under a doom if there is one."""
        options = [*doom, *([] if self.as_it_is else ["--doubt", f"{DOUBT_S:g}"])]
        module = ["reconciler"] if plain and not options else ["tests.chaos.doomed", *options, "--"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, *words,
            env=self.program.environment({"RECONCILER_ENGINE": engine}), cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        ended = asyncio.create_task(process.communicate())
        ended.add_done_callback(lambda _: self.disturbances.note() if process.returncode == -signal.SIGKILL else None)
        running = Running(process, ended)
        self.tally.done["processes"] += 1
        return Process(running, words, doomed="--after" in doom)

    async def start_some(
        self, number: int | None = None, *, doomed: float = 0.0, same: bool | None = None
    ) -> list[Process]:
        """Start some at once: under one key or each under its own (or none), on either engine."""
        chance = self.chance
        number = number or chance.choice(PROCESSES)
        engine = chance.choice(("local", "pgqueuer"))
        together = chance.random() < 0.7 if same is None else same
        key = f"{engine}-{self.round // 3}"
        processes = []
        for index in range(number):
            words = ["run", "--json"]
            mine = key if together else f"{key}-{index}"
            if engine == "pgqueuer" or chance.random() < 0.6:
                words += ["--run-key", mine]
            words += chance.choice(
                ((), (), (), ("--verify-after", "1s"), ("--recheck-assigned",), ("--max-duration", "2s"))
            )
            doom = []
            if chance.random() < doomed:
                doom += self.doom()
            processes.append(await self.start(*words, engine=engine, doom=doom, plain=True))
        self.tally.at_once[number] += 1
        if together and number > 1:
            self.tally.done["duplicates"] += number - 1
        return processes

    def doom(self) -> list[str]:
        """The instruction at which a process kills itself."""
        lines = round(SHORTEST_LIFE * (LONGEST_LIFE / SHORTEST_LIFE) ** self.chance.random())
        return ["--after", str(lines), *(["--early"] if self.chance.random() < EARLY_SHARE else [])]

    async def connected(self, process: Process, before: int) -> None:
        """Wait until somebody has connected to the database since `before`, or the process has ended."""
        await self._until(process, lambda: self.database.accepted > before)

    async def _until(self, process: Process, condition: Callable[[], bool]) -> None:
        while process.running.alive and not condition():  # noqa: ASYNC110 - a process may end as well
            await asyncio.sleep(0.002)

    async def end(self, processes: Sequence[Process]) -> None:
        """Wait for all of them, and look how they ended."""
        for process in processes:
            try:
                done = await process.running.end(PATIENCE_S)
            except AssertionError as stuck:
                self.faults.append(f"{' '.join(process.words)}: {str(stuck)[:1500]}")
                continue
            self._judge(process, done)

    def _judge(self, process: Process, done: Done) -> None:
        said = f"`{' '.join(process.words)}` in round {self.round}"
        if done.code == -signal.SIGKILL and (process.doomed or process.killed):
            self.tally.done["killed from outside" if process.killed else "killed at an instruction"] += 1
        elif done.code == -signal.SIGTERM and process.told_to_stop:
            pass  # told before it listened: while it was still being imported
        elif done.code not in SOUND:
            self.faults.append(f"{said} ended with {done.code}: {done.err[-1500:]}")
        if "Traceback" in done.err or '"kind": "internal"' in done.err:
            self.faults.append(f"{said} said: {done.err[-3000:]}")
        if done.code in WITH_SUMMARY:
            try:
                json.loads(done.out)
            except ValueError:
                self.faults.append(f"{said} printed no JSON document: {done.out[:200]!r} {done.err[-500:]}")
        self.tally.ends[_END_NAMES.get(done.code, str(done.code))] += 1

    async def kill_later(self, process: Process, number: int = signal.SIGKILL) -> None:
        """Kill it (or tell it to stop) at some moment from its first connection on."""
        before, asked = self.database.accepted, self._critical()
        aimed, wait = self.chance.random() < AIMED_SHARE, min(self.chance.expovariate(1.2), 4.0)
        await self.connected(process, before)
        if aimed:
            await self._until(process, lambda: self._critical() > asked)
            wait *= 0.03
        await asyncio.sleep(wait)
        if process.running.alive:
            process.killed = process.killed or number == signal.SIGKILL
            process.running.signal(number)
            process.told_to_stop = number == signal.SIGTERM
            if process.told_to_stop:
                self.tally.done["told to stop"] += 1

    def _critical(self) -> int:
        """How many requests have come that change something."""
        return sum(request.kind in {"upsert", "batch", "token"} for request in self.town.world.requests)

    # Healing.

    async def _heal(self) -> None:
        """Healthy runs until everything is as it should be, and one more, which finds nothing to do."""
        await self._until_settled()
        if self.faults:
            return
        lost = await asyncio.to_thread(lost_rotations, self.town, self.want)
        for resident in lost:
            if not self.disturbances.around(self.town.world, resident.account.account_id):
                self.faults.append(
                    f"{resident.account.account_id}: its rotated refresh token was lost, with nothing near"
                )
            # What the person does upon the notice: authorise again, and the application stores the new tokens.
            self.town.world.tokens.grant(resident.account)
            query(
                self.town.dsn,
                "UPDATE reconciler.accounts SET access_token = %s, refresh_token = %s, token_expires_at = NULL,"
                " state = 'active', parked_reason = NULL WHERE account_id = %s",
                resident.account.access_token, resident.account.refresh_token, resident.account.account_id,
            )  # fmt: skip
        self.tally.done["rotations lost"] += len(lost)
        if lost:
            await self._until_settled()
        if self.faults:
            return
        writes = sum(len(planted.event.writes) for planted in self.town.planted)
        told = self._told()
        await self._healthy("pgqueuer")
        if writes != sum(len(planted.event.writes) for planted in self.town.planted) or told != self._told():
            self.faults.append("a run that had nothing to do wrote something")
        for what in ("verify", "replay"):
            done = await (await self.start("audit", what)).running.end(PATIENCE_S)
            if done.code != 0:
                self.faults.append(f"audit {what} ended with {done.code}: {done.out[:1500]}")

    def _told(self) -> int:
        sql = "SELECT count(*) AS n FROM reconciler.audit_entries WHERE account_id IS NOT NULL"
        return int(query(self.town.dsn, sql)[0]["n"])

    async def _until_settled(self) -> None:
        missing: list[str] = []
        for attempt in range(HEALING_RUNS):
            await self._healthy(("local", "pgqueuer")[(attempt + self.number) % 2])
            self.town.world.advance(10)
            missing = await asyncio.to_thread(unsettled, self.town, self.want)
            if not missing or self.faults:
                return
        self.faults += [f"after {HEALING_RUNS} healthy runs: {text}" for text in missing[:20]]

    async def _healthy(self, engine: str) -> None:
        """A run over everything whatever its next look, to which nothing is done."""
        self.tally.done["healthy runs"] += 1
        key = f"healthy-{self.tally.done['healthy runs']}"
        process = await self.start("run", "--json", "--run-key", key, "--starting-before", "190d", engine=engine)
        done = await process.running.end(PATIENCE_S)
        self._judge(process, done)
        if done.code not in {0, 3}:
            self.faults.append(f"a healthy run ended with {done.code}: {done.err[-1500:]}")


# ---------------------------------------------------------------- what is done to the runs of a round


async def _kills(trial: Trial) -> None:
    """Processes that die at an instruction of their own, or are killed from outside; some are told to stop."""
    processes = await trial.start_some(doomed=0.55)
    waiting = []
    for process in processes:
        fate = trial.chance.random()
        if not process.doomed and fate < 0.8:
            waiting.append(trial.kill_later(process))
        elif not process.doomed and fate < 0.9:
            waiting.append(trial.kill_later(process, signal.SIGTERM))
    await asyncio.gather(*waiting)
    await trial.end(processes)


async def _freeze(trial: Trial) -> None:
    """Processes that stand still for longer than their heartbeat while others go on; then they go on too."""
    before = trial.database.accepted
    processes = await trial.start_some(max(2, trial.chance.choice(PROCESSES)), doomed=0.1)
    frozen = processes[: trial.chance.randint(1, len(processes) - 1)]
    await trial.connected(frozen[0], before)
    await asyncio.sleep(trial.chance.uniform(0, 1.0))
    for process in frozen:
        process.running.signal(signal.SIGSTOP)
    trial.disturbances.note()
    await asyncio.sleep(2.5 * HEARTBEAT_S)
    processes += await trial.start_some(1)
    await asyncio.sleep(HEARTBEAT_S)
    trial.disturbances.note()
    for process in frozen:
        process.running.signal(signal.SIGCONT)
    trial.tally.done["frozen"] += len(frozen)
    await trial.end(processes)


async def _harm_wire(trial: Trial, proxy: Proxy, name: str, *, may_hold: bool) -> None:
    """Processes, while one wire is cut, breaks off, is refused, held or swallows everything, a few times."""
    before = trial.database.accepted
    processes = await trial.start_some(doomed=0.2)
    await trial.connected(processes[0], before)
    for _ in range(trial.chance.randint(1, 3)):
        await asyncio.sleep(trial.chance.uniform(0, 0.8))
        harm = trial.chance.choice(
            ("cut", "cut in mid-message", "refused", "black hole", *(("held",) if may_hold else ()))
        )
        trial.disturbances.note()
        match harm:
            case "cut":
                proxy.cut()
            case "cut in mid-message":
                proxy.cut_after(trial.chance.randint(1, 6000))
                await asyncio.sleep(0.5)
            case "refused":
                proxy.refuse()
                proxy.cut()
                await asyncio.sleep(trial.chance.uniform(0.2, 2.0))
            case "held":
                proxy.hold()
                await asyncio.sleep(trial.chance.uniform(0.5, 3.0))
            case _:
                proxy.swallow()
                await asyncio.sleep(trial.chance.uniform(0.5, 4.0))
        proxy.heal()
        trial.disturbances.note()
        trial.tally.done[f"{name}: {harm}"] += 1
    await trial.end(processes)


async def _cut_database(trial: Trial) -> None:
    await _harm_wire(trial, trial.database, "wire to Postgres", may_hold=True)


async def _cut_api(trial: Trial) -> None:
    """What was on a wire that went dead is lost: a request that came long after would be the network's doing."""
    await _harm_wire(trial, trial.api, "wire to Cronofy", may_hold=False)


async def _restart(trial: Trial) -> None:
    """The database crashes and comes back while processes work."""
    before = trial.database.accepted
    processes = await trial.start_some(doomed=0.2)
    await trial.connected(processes[0], before)
    await asyncio.sleep(trial.chance.uniform(0, 1.2))
    trial.disturbances.note()
    await asyncio.to_thread(trial.server.restart)
    trial.disturbances.note()
    trial.tally.done["restarts of the database"] += 1
    await trial.end(processes)


async def _clocks(trial: Trial) -> None:
    """Processes whose clocks are minutes off, or jump; the simulator's clock jumps too."""
    chance = trial.chance
    engine = chance.choice(("local", "pgqueuer"))
    processes = []
    for index in range(chance.choice(PROCESSES)):
        doom = ["--clock", f"{chance.uniform(-900, 900):.1f}", "--jump", f"{chance.choice((0, 0, -600, 300, 86_400))}"]
        if chance.random() < 0.4:
            doom += trial.doom()
        key = f"clocks-{engine}-{trial.round // 2}-{index % 2}"
        processes.append(await trial.start("run", "--json", "--run-key", key, engine=engine, doom=doom))
        trial.tally.done["clocks off"] += 1
    trial.tally.at_once[len(processes)] += 1
    await asyncio.sleep(chance.uniform(0, 1))
    trial.town.world.advance(chance.uniform(1, 60))
    trial.tally.done["jumps of the simulator's clock"] += 1
    await trial.end(processes)


async def _duplicates(trial: Trial) -> None:
    """The same command many times at once, to which nothing else is done."""
    await trial.end(await trial.start_some(trial.chance.randint(2, 8), same=trial.chance.random() < 0.6))


async def _mixed(trial: Trial) -> None:
    """Any of these."""
    await trial.chance.choice((_kills, _kills, _freeze, _cut_database, _cut_api, _clocks, _duplicates))(trial)


async def _allowance(trial: Trial) -> None:
    """Several processes under a narrow allowance, some of which die."""
    await trial.end(await trial.start_some(trial.chance.randint(2, 8), doomed=0.4))


SCENARIOS: dict[str, Callable[[Trial], Awaitable[None]]] = {
    "kills": _kills,
    "freeze": _freeze,
    "cut-postgres": _cut_database,
    "cut-api": _cut_api,
    "restart": _restart,
    "clocks": _clocks,
    "duplicates": _duplicates,
    "allowance": _allowance,
    "mixed": _mixed,
}
