"""Random histories: people, an application, providers and runs do what they do, in any order; the end is consistent."""

import asyncio
import random
import sys
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.types.json import Jsonb

from reconciler.commands.looking import replay_command, verify_command
from reconciler.commands.run import run_command
from reconciler.commands.terminal import Exit
from reconciler.commands.working import RunOptions
from reconciler.config import load_settings
from reconciler.domain.casework import Scope
from reconciler.pipeline import act, unit
from reconciler.simulator import Simulator, World
from tests.acceptance.program import Planted, Program, Resident, Row, Town, settings_for
from tests.chaos.cancelled import cancel_run
from tests.chaos.server import Server

ROOT = Path(__file__).parents[2]
PEOPLE = 6
"""Enough that a provider's outage shows: it takes five accounts."""
GRACE_S = 1.0
DOUBT_S = 0.6
GENERATION_S = 0.05
OURS_TO_READ = {Exit.DONE, Exit.PARTIAL}
LAST_RUNS = 5
MOST_POINTS = 400
MOST_LINES = 12_000

people = st.integers(0, PEOPLE - 1)
events = st.integers(0, 10**6)


class History(RuleBasedStateMachine):
    """One town in one database, with the program against both: the application's rows, and the simulated Cronofy."""

    server: ClassVar[Server]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._runner = self._stack.enter_context(asyncio.Runner())
        dsn = self._stack.enter_context(self.server.database())
        self.world = World(seed=11)
        cronofy = self.world.settings
        cronofy.rate_per_second, cronofy.rate_per_minute = 100_000, 1_000_000
        cronofy.generation_delay, cronofy.rotate_refresh = GENERATION_S, True
        self.town = Town(self.world, dsn)
        self.bodies: dict[tuple[str, str], dict[str, Any]] = {}
        self.cancelled: set[tuple[str, str]] = set()
        self._up = AsyncExitStack()
        simulator = self._runner.run(self._up.enter_async_context(Simulator(self.world)))
        environment = settings_for(dsn, simulator.url) | {
            "RECONCILER_MAX_REPAIR_SHARE": "1",
            "RECONCILER_CONCURRENCY": "3",
            "RECONCILER_GRACE": f"{GRACE_S:g}s",
        }
        self.program, self.settings = Program(environment), load_settings(environment)
        for module in (act, unit):
            self._stack.enter_context(patch.object(module, "DOUBT_SETTLES_S", DOUBT_S))

    # ---------------------------------------------------------------- people and their calendars

    @initialize(seed=st.integers(0, 1000))
    def settle_in(self, seed: int) -> None:
        """Everybody has a Zoom profile and two events with links."""
        chance = random.Random(seed)
        for _ in range(PEOPLE):
            who = self.town.resident()
            zoom = who.connect()
            for asked in (zoom, chance.choice((zoom, "default", "integrated"))):
                self._remember(who.event(asked, link=True))
        self.town.move_in()

    def _remember(self, planted: Planted) -> None:
        self.bodies[planted.key] = dict(planted.row["body"])

    def _alive(self, number: int) -> Planted | None:
        alive = [p for p in self.town.planted if not p.event.deleted and p.key not in self.cancelled]
        return alive[number % len(alive)] if alive else None

    def _profiles(self, number: int) -> tuple[Resident, list[str]]:
        who = self.town.residents[number]
        return who, [profile.profile_id for profile in who.account.conferencing_profiles]

    @rule(number=people)
    def somebody_connects_another_provider(self, number: int) -> None:
        """A profile more, of another provider."""
        who, profiles = self._profiles(number)
        if len(profiles) <= 2:
            who.connect("webex")

    @rule(number=people)
    def somebody_removes_a_profile(self, number: int) -> None:
        """It is no longer listed; what it was asked for stays without a link."""
        who, profiles = self._profiles(number)
        if profiles:
            who.account.remove_conferencing_profile(profiles[0])

    @rule(number=people)
    def somebodys_credentials_expire(self, number: int) -> None:
        """The profile is listed as disconnected."""
        who, profiles = self._profiles(number)
        if profiles:
            who.account.disconnect(profiles[0])

    @rule(number=people)
    def somebody_relinks(self, number: int) -> None:
        """All their profiles work again."""
        who, profiles = self._profiles(number)
        for profile in profiles:
            who.account.reconnect(profile)

    @rule(number=people)
    def a_token_runs_out(self, number: int) -> None:
        """A refresh will replace both tokens."""
        self.world.tokens.expire(self.town.residents[number].account)

    @rule(number=events, hours=st.integers(-20, 20))
    def somebody_moves_an_event(self, number: int, hours: int) -> None:
        """In the calendar, behind the application's back."""
        if planted := self._alive(number):
            event = planted.event
            later = timedelta(hours=hours)
            event.move_by_user(event.start.instant() + later, event.end.instant() + later)

    @rule(number=events)
    def somebody_deletes_an_event(self, number: int) -> None:
        """In the calendar."""
        if planted := self._alive(number):
            planted.event.delete_by_user()

    # ---------------------------------------------------------------- the application

    @rule(number=people, asked=st.sampled_from(["default", "integrated", "first", "first"]))
    def the_application_writes_an_event(self, number: int, asked: str) -> None:
        """Hours ago by its own account; nobody has looked at it yet."""
        who, profiles = self._profiles(number)
        planted = who.event(profiles[0] if asked == "first" and profiles else "default" if asked == "first" else asked)
        self._remember(planted)
        newcomer = Town(self.world, self.town.dsn, [], [planted])
        newcomer.move_in()

    @rule(number=events, hours=st.integers(1, 5))
    def the_application_rewrites_an_event(self, number: int, hours: int) -> None:
        """Another title, another time, and what it asks for as its row has it."""
        if planted := self._alive(number):
            row = self._row(planted)
            start = (row["starts_at"] + timedelta(hours=hours)).replace(microsecond=0)
            now = datetime.now(UTC)
            times = {"start": _stamp(start), "end": _stamp(start + timedelta(minutes=30))}
            body = {**row["body"], **times, "summary": f"Anew {now:%f}"}
            self.world.write_event(planted.resident.account, planted.key[0], body)
            self.town.query(
                "UPDATE reconciler.events SET body = %s, starts_at = %s, ends_at = %s, written_at = %s"
                " WHERE calendar_id = %s AND event_id = %s",
                Jsonb(body), start, start + timedelta(minutes=30), now, *planted.key,
            )  # fmt: skip
            self.bodies[planted.key] = body

    @rule(number=events)
    def the_application_cancels_an_event(self, number: int) -> None:
        """In its row and at Cronofy."""
        if planted := self._alive(number):
            self.cancelled.add(planted.key)
            planted.event.deleted = True
            self.town.query(
                "UPDATE reconciler.events SET cancelled_at = now() WHERE calendar_id = %s AND event_id = %s",
                *planted.key,
            )

    def _row(self, planted: Planted) -> Row:
        return self.town.rows()[planted.key]

    # ---------------------------------------------------------------- providers and time

    @rule(down=st.booleans())
    def zoom_goes_down_or_comes_back(self, down: bool) -> None:
        """Nothing is generated meanwhile."""
        self.world.outage("zoom", down)

    @rule(minutes=st.sampled_from([1, 20, 90]))
    def time_passes_at_cronofy(self, minutes: int) -> None:
        """It tries again where it could not make a link."""
        self.world.advance(60 * minutes)

    # ---------------------------------------------------------------- runs

    @rule()
    def a_run(self) -> None:
        """Of everything, undisturbed."""
        self._run()

    @rule(point=st.integers(1, MOST_POINTS))
    def a_run_that_is_cancelled(self, point: int) -> None:
        """Anywhere."""
        self._runner.run(cancel_run(self.settings, point))

    @rule(lines=st.integers(1, MOST_LINES))
    def a_run_that_is_killed(self, lines: int) -> None:
        """At any of its instructions."""
        self._runner.run(self._killed(lines))

    async def _killed(self, lines: int) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.doomed", "--after", str(lines), "--doubt", str(DOUBT_S), "--", "run",
            env=self.program.environment(), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, told = await process.communicate()
        assert process.returncode in {-9, *OURS_TO_READ}, (process.returncode, told.decode()[-2000:])

    def _run(self) -> None:
        everything = Scope(starting_before=datetime.now(UTC) + timedelta(days=190))
        code = self._runner.run(run_command(self.settings, RunOptions(everything, as_json=True)))
        assert code in OURS_TO_READ, code

    @invariant()
    @precondition(lambda self: self.town.planted)
    def nothing_harmful_was_sent(self) -> None:
        """By the simulator's own records."""
        assert self.world.violations == []

    # ---------------------------------------------------------------- the end

    def teardown(self) -> None:
        """Let everything calm down, and look whether all is as it must be."""
        try:
            if self.town.planted:
                self._calm_down()
                self._check()
        finally:
            self._runner.run(self._up.aclose())
            self._stack.close()

    def _calm_down(self) -> None:
        self.world.outages.clear()
        for _ in range(LAST_RUNS):
            self.world.advance(7200)
            self._runner.run(asyncio.sleep(GRACE_S + 0.1))
            self._run()

    def _check(self) -> None:
        states, rows = self.town.states(), self.town.rows()
        assert self.world.violations == []
        for planted in self.town.planted:
            if planted.key not in self.cancelled:
                self._check_event(planted, states.get(planted.key), rows[planted.key])
        for notice in self.town.query("SELECT * FROM reconciler.notices WHERE status <> 'resolved'"):
            assert notice["kind"] == "relink_conferencing", notice
            who = next(r for r in self.town.residents if r.account.account_id == notice["account_id"])
            profile = who.account.conferencing_profile(notice["profile_id"])
            assert profile is not None, notice
            assert not profile.connected, notice
        assert self.town.query("SELECT run_key FROM reconciler.runs WHERE status = 'running'") == []
        assert self._runner.run(verify_command(self.settings, (), as_json=True)) is Exit.DONE
        assert self._runner.run(replay_command(self.settings, None, as_json=True)) is Exit.DONE

    def _check_event(self, planted: Planted, state: Row | None, row: Row) -> None:
        event, account = planted.event, planted.resident.account
        assert state is not None, planted.name
        asked = row["profile_id"]
        context = (planted.name, state["cause"], asked, event.conferencing, self.town.stories().get(planted.key))
        # The application's last word stands, in its own row and at Cronofy, but for the profile.
        conferencing = {**self.bodies[planted.key]["conferencing"], "profile_id": asked}
        assert row["body"] == {**self.bodies[planted.key], "conferencing": conferencing}, context
        if not event.deleted:
            assert _without_times(event.body) == _without_times(row["body"]), (context, event.body)
        # And the cause is what it must be.
        if event.deleted:  # nobody looks again at what had its link before
            assert state["cause"] == "event_deleted" or (state["cause"] == "assigned" and state["join_url"]), context
        elif event.join_url:
            assert (state["cause"], state["join_url"]) == ("assigned", event.join_url), context
            assert state["settled_at"] is not None, context
        else:
            disconnected = {p.profile_id for p in account.conferencing_profiles if not p.connected}
            assert disconnected, context
            expected = {"profile_disconnected"} if asked != "default" else {"profile_disconnected", "unexplained"}
            assert state["cause"] in expected, context


def try_histories(server: Server, number: int, *, steps: int = 25, seed: int | None = None) -> None:
    """So many histories; without a seed always the same.

    Raises:
        Exception: what one of them met, its steps printed.
    """

    class Here(History):
        pass

    Here.server = server
    run_state_machine_as_test(
        Here if seed is None else hypothesis.seed(seed)(Here),
        settings=settings(
            max_examples=number,
            stateful_step_count=steps,
            deadline=None,
            derandomize=seed is None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _without_times(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in {"start", "end"}}
