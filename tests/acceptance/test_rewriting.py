"""The application writes events while a run has them in hand: its newer word stands, in its database and at Cronofy.

Requests are held by the simulator and rows by an open transaction, so that each phase of a repair is met for certain;
then at many moments drawn by chance.
"""

import asyncio
import copy
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from reconciler.simulator import Fault
from tests.acceptance.program import DAYS_AGO, FOR_EVER, Planted, Program, Resident, Running, Town
from tests.waiting import until

PARTIAL, REFUSED = 3, 4
BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1"}
SHARED = {**BOLD, "RECONCILER_ENGINE": "pgqueuer", "RECONCILER_HEARTBEAT": "5s"}
ENGINES = pytest.mark.parametrize("env", [pytest.param(BOLD, id="local"), pytest.param(SHARED, id="pgqueuer")])
AGAIN = ("run", "--json", "--starting-after", "1s")
"""With a scope every event is looked at again, whatever the gaps between looks."""
LISTING, ROSTER, WRITE = "^/v1/events", "^/v1/userinfo", "^/v1/(batch$|calendars/)"
UPDATE = (
    "UPDATE reconciler.events SET body = %s, profile_id = %s, starts_at = %s, ends_at = %s, written_at = now()"
    " WHERE calendar_id = %s AND event_id = %s"
)

STAMP = (
    "UPDATE reconciler.events e SET written_at = s.repaired_at FROM reconciler.event_states s"
    " WHERE (e.calendar_id, e.event_id) = (%s, %s) AND (s.calendar_id, s.event_id) = (e.calendar_id, e.event_id)"
)


@dataclass
class Newer:
    """What the application has in mind for an event: another title, a day later, a profile that works."""

    event: Planted
    profile: str
    version: int = 1

    @property
    def start(self) -> datetime:
        return self.event.row["starts_at"] + timedelta(days=self.version)  # type: ignore[no-any-return]

    @property
    def body(self) -> dict[str, Any]:
        end = self.start + timedelta(minutes=30)
        body = copy.deepcopy(self.event.row["body"])
        body["conferencing"]["profile_id"] = self.profile
        return {**body, "summary": f"Version {self.version}", "start": stamp(self.start), "end": stamp(end)}

    def row(self) -> tuple[object, ...]:
        """The parameters of `UPDATE`."""
        end = self.start + timedelta(minutes=30)
        return Jsonb(self.body), self.profile, self.start, end, *self.event.key

    def write_row(self) -> None:
        self.event.resident.town.query(UPDATE, *self.row())

    def write_row_as_of_our_answer(self) -> None:
        """The row comes late, but says when it was: as our write was answered."""
        self.write_row()
        self.event.resident.town.query(STAMP, *self.event.key)

    def write_calendar(self) -> None:
        """Its own upsert; the link takes its time."""
        town, who = self.event.resident.town, self.event.resident
        town.world.write_event(who.account, self.event.key[0], self.body)
        self.event.event.delay_generation(FOR_EVER)

    def write(self) -> None:
        self.write_row()
        self.write_calendar()

    def assert_stands(self) -> None:
        """On both sides, to the letter."""
        row = self.event.resident.town.rows()[self.event.key]
        assert (row["body"], row["profile_id"], row["starts_at"]) == (self.body, self.profile, self.start)
        assert self.event.event.body == self.body
        assert self.event.event.starts_at == self.start


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_repair(town: Town, number: int = 1) -> tuple[Resident, list[Newer]]:
    """Somebody whose profile was removed, with another in its place; no link comes within the test."""
    who = town.resident()
    events = [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(number)]
    zoom = who.connect()
    town.world.settings.generation_delay = FOR_EVER
    return who, [Newer(event, zoom) for event in events]


@asynccontextmanager
async def held(town: Town, running: Running, path: str, *, after_commit: bool = False) -> AsyncIterator[None]:
    """While it lasts such a request is under way: before it takes effect, or after it with its answer still to come."""
    fault = town.world.faults.add(Fault("hold", match_path=path, after_commit=after_commit, times=1))
    try:
        await running.until(lambda: fault.held == 1)
        yield
    finally:
        town.world.faults.remove(fault)


@asynccontextmanager
async def row_locked(town: Town, running: Running, newer: Newer) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The application's transaction has written the row and is not committed; call what is given to wait until the run
    meets it."""
    with psycopg.connect(town.dsn) as connection:
        connection.execute(UPDATE.encode(), newer.row())

        async def met() -> None:
            waiting = (
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'reconciler'"
                " AND datname = current_database()"
            )
            await running.until(lambda: bool(town.query(waiting)))

        yield met


Phase = Literal["before the read", "after the read", "at the intent", "before the write", "after it", "at recording"]
OVERTAKEN = frozenset({"before the write", "after it", "at recording"})


async def meet(town: Town, running: Running, phase: Phase, newer: Newer, act: Callable[[], None]) -> None:
    """Let the application act in that phase of the repair."""
    match phase:
        case "before the read":
            async with held(town, running, LISTING):
                act()
        case "after the read":
            async with held(town, running, ROSTER):
                act()
        case "before the write":
            async with held(town, running, WRITE):
                act()
        case "after it":
            async with held(town, running, WRITE, after_commit=True):
                act()
        case "at the intent" | "at recording":
            async with row_locked_while(town, running, phase, newer):
                newer.write_calendar()


@asynccontextmanager
async def row_locked_while(town: Town, running: Running, phase: Phase, newer: Newer) -> AsyncIterator[None]:
    path, after_commit = (ROSTER, False) if phase == "at the intent" else (WRITE, True)
    async with held(town, running, path, after_commit=after_commit):
        locked = row_locked(town, running, newer)
        met = await locked.__aenter__()
        yield
    await met()
    await locked.__aexit__(None, None, None)


async def start(program: Program) -> Running:
    return await program.start("run", "--json", env=BOLD)


@asynccontextmanager
async def writing(program: Program, town: Town, *, after_commit: bool = False) -> AsyncIterator[Running]:
    """A run of the town as it is by now; while it lasts its first write is under way."""
    town.move_in()
    running = await start(program)
    async with held(town, running, WRITE, after_commit=after_commit):
        yield running


@ENGINES
@pytest.mark.parametrize("phase", Phase.__args__)  # type: ignore[attr-defined]
async def test_what_is_rewritten_in_any_phase_of_a_repair_stands(
    program: Program, town: Town, phase: Phase, env: dict[str, str]
) -> None:
    _, (newer,) = to_repair(town)
    town.move_in()
    running = await program.start("run", "--json", "--run-key", "night", env=env)
    await meet(town, running, phase, newer, newer.write)
    done = await running.end()
    assert done.code == 0, done
    newer.assert_stands()
    story = town.stories()[newer.event.key]
    assert ("repair:overtaken" in story) is (phase in OVERTAKEN), story
    assert ("repair:unneeded" in story) is (phase not in OVERTAKEN), story
    repaired = newer.event.asking_for(newer.profile)
    assert newer.event.event.writes == ([repaired, newer.body] if phase in OVERTAKEN else [])
    await assert_it_converges(program, town, newer)


@pytest.mark.parametrize("phase", sorted(OVERTAKEN))
async def test_what_is_rewritten_out_of_the_runs_scope_stands_as_well(
    program: Program, town: Town, phase: Phase
) -> None:
    _, (newer,) = to_repair(town)
    town.move_in()
    running = await program.start("run", "--json", "--profile", "pro_gone", env=BOLD)
    await meet(town, running, phase, newer, newer.write)
    done = await running.end()
    assert done.code == 0, (done, town.stories())
    newer.assert_stands()
    assert "repair:overtaken" in town.stories()[newer.event.key]
    await assert_it_converges(program, town, newer)


async def assert_it_converges(program: Program, town: Town, *every: Newer) -> None:
    """Once the links are there a second run settles everything, writes nothing and finds the trail in order."""
    writes = {newer.event.key: len(newer.event.event.writes) for newer in every}
    for newer in every:
        newer.event.event.assign()
    again = await program(*AGAIN, env=BOLD)
    assert again.code == 0, (again.json["errors"], town.stories())
    for newer in every:
        newer.assert_stands()
        assert len(newer.event.event.writes) == writes[newer.event.key]
    assert {town.causes()[newer.event.key] for newer in every} == {"assigned"}
    assert town.world.violations == []
    assert (await program("audit", "verify")).code == (await program("audit", "replay")).code == 0


async def test_several_events_of_an_account_are_each_as_the_application_left_them(program: Program, town: Town) -> None:
    _, (rewritten, cancelled, kept) = to_repair(town, 3)
    async with writing(program, town, after_commit=True) as running:
        rewritten.write()
        cancel(cancelled)
    done = await running.end()
    assert (done.code, [e["kind"] for e in done.json["errors"]]) == (PARTIAL, ["write_crossed_delete"]), done
    rewritten.assert_stands()
    assert cancelled.event.event.deleted
    assert town.rows()[cancelled.event.key]["body"] == cancelled.event.row["body"]
    assert town.rows()[kept.event.key]["profile_id"] == kept.profile
    assert [len(n.event.event.writes) for n in (rewritten, cancelled, kept)] == [2, 1, 1]
    assert town.world.violations == []


async def die_writing(program: Program, town: Town, newer: Newer) -> None:
    """The application writes while our write is under way, and our process is killed over it."""
    async with writing(program, town) as running:
        newer.write()
        running.signal(signal.SIGKILL)
        await running.end()


async def test_what_a_killed_run_had_under_way_is_put_right_by_the_next_one(program: Program, town: Town) -> None:
    _, (newer,) = to_repair(town)
    await die_writing(program, town, newer)
    await until(lambda: newer.event.event.writes)  # what was on its way arrives after all
    assert newer.event.event.body != newer.body
    done = await program("run", "--json", env=BOLD)
    assert done.code == 0, done
    newer.assert_stands()
    assert "repair:overtaken" in town.stories()[newer.event.key]
    await assert_it_converges(program, town, newer)


async def test_a_newer_body_that_could_not_be_sent_is_sent_by_the_next_run(program: Program, town: Town) -> None:
    who, (newer,) = to_repair(town)
    async with writing(program, town, after_commit=True) as running:
        newer.write_row()
        who.account.revoke()
    done = await running.end()
    assert done.code == 0, done
    assert town.query("SELECT state FROM reconciler.accounts") == [{"state": "parked"}]
    assert newer.event.event.body != newer.body
    who.account.authorize()
    town.query(
        "UPDATE reconciler.accounts SET access_token = %s, refresh_token = %s, state = 'active'",
        who.account.access_token,
        who.account.refresh_token,
    )
    assert (await program(*AGAIN, env=BOLD)).code == 0
    newer.assert_stands()
    await assert_it_converges(program, town, newer)


async def test_a_newer_body_is_sent_by_the_next_run_when_a_process_dies_over_it(program: Program, town: Town) -> None:
    _, (newer,) = to_repair(town)
    async with writing(program, town, after_commit=True) as running:
        newer.write_row()
        lost = town.world.faults.add(Fault("hang", match_path=WRITE, times=1))
    await running.until(lambda: lost.hits == 1)
    running.signal(signal.SIGKILL)
    await running.end()
    assert newer.event.event.body != newer.body
    assert (await program(*AGAIN, env=BOLD)).code == 0
    newer.assert_stands()
    repairs = {"repair:intended", "repair:applied", "repair:in_doubt"}
    story = [tag for tag in town.stories()[newer.event.key] if tag in repairs]
    assert all(after != tag for tag, after in pairwise(story) if tag == "repair:intended"), story
    await assert_it_converges(program, town, newer)


async def test_a_killed_write_that_was_overtaken_has_its_doubt_said(program: Program, town: Town) -> None:
    _, (newer,) = to_repair(town)
    await die_writing(program, town, newer)
    assert (await program("run", "--json", env=BOLD)).code == 0
    story = town.stories()[newer.event.key]
    assert story[:2] == ["repair:intended", "repair:in_doubt"], story


async def test_what_is_rewritten_while_a_plan_is_applied_stands(program: Program, town: Town) -> None:
    _, (newer,) = to_repair(town)
    town.move_in()
    plan = (await program("plan", "--json", env=BOLD)).json
    running = await program.start("apply", plan["plan_id"], "--json", env=BOLD)
    async with held(town, running, WRITE):
        newer.write()
    assert (await running.end()).code == 0
    newer.assert_stands()
    await assert_it_converges(program, town, newer)


async def test_what_a_person_moved_after_the_application_wrote_it_stays_where_it_is(
    program: Program, town: Town
) -> None:
    _, (newer,) = to_repair(town)
    town.move_in()
    assert (await program("run", env=BOLD)).code == 0
    newer.write_calendar()
    newer.write_row_as_of_our_answer()  # the two may have crossed
    moved = (newer.start + timedelta(hours=5)).replace(microsecond=0)
    newer.event.event.move_by_user(moved, moved + timedelta(hours=1))
    assert (await program(*AGAIN, env=BOLD)).code == 0
    assert newer.event.event.starts_at == moved
    assert town.world.violations == []


async def test_no_limit_holds_up_a_newer_body(program: Program, town: Town) -> None:
    who, (newer,) = to_repair(town)
    town.move_in()
    assert (await program("run", env=BOLD)).code == 0
    newer.write_row_as_of_our_answer()
    lost = [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(2)]
    Town(town.world, town.dsn, [], lost).move_in()
    done = await program(*AGAIN, env={**BOLD, "RECONCILER_MAX_REPAIRS_PER_ACCOUNT": "1"})
    assert (done.code, done.json["outcomes"]["repaired"]) == (REFUSED, 0), done
    newer.assert_stands()
    assert [planted.event.writes for planted in lost] == [[], []]


async def crossed(program: Program, town: Town, newer: Newer) -> None:
    """The application wrote Cronofy while our write was under way, and its row when that was recorded already."""
    async with writing(program, town) as running:
        newer.write_calendar()
    done = await running.end()
    assert (done.code, newer.event.event.body != newer.body) == (0, True), done
    newer.write_row_as_of_our_answer()


async def test_a_row_that_comes_after_our_record_is_put_right_by_the_next_run(program: Program, town: Town) -> None:
    _, (newer,) = to_repair(town)
    await crossed(program, town, newer)
    done = await program("run", "--json", env=BOLD)
    assert done.code == 0, done
    newer.assert_stands()
    assert town.stories()[newer.event.key][-2:] == ["repair:overtaken", "repair:applied"]
    await assert_it_converges(program, town, newer)


async def test_a_row_that_comes_after_our_record_and_a_link_are_said_where_the_times_differ(
    program: Program, town: Town
) -> None:
    _, (newer,) = to_repair(town)
    await crossed(program, town, newer)
    newer.event.event.assign()
    done = await program("run", "--json", env=BOLD)
    assert (done.code, [e["kind"] for e in done.json["errors"]]) == (PARTIAL, ["write_crossed_write"]), done
    assert town.rows()[newer.event.key]["body"] == newer.body
    again = await program(*AGAIN, env=BOLD)
    assert (again.code, len(newer.event.event.writes)) == (0, 1), again


async def test_a_write_of_the_application_soon_after_a_repair_is_nothing_to_speak_of(
    program: Program, town: Town
) -> None:
    _, (newer,) = to_repair(town)
    town.move_in()
    assert (await program("run", env=BOLD)).code == 0
    newer.write()
    newer.event.event.assign()
    done = await program("run", "--json", env=BOLD)
    assert (done.code, done.json["errors"]) == (0, []), done
    newer.assert_stands()
    assert "repair:overtaken" not in town.stories()[newer.event.key]


async def test_what_the_application_writes_soon_after_a_repair_settles_like_any_other_write(
    program: Program, town: Town
) -> None:
    """The calendar shows it as it was written last: nothing has crossed, and nothing is sent again."""
    _, (newer,) = to_repair(town)
    town.move_in()
    assert (await program("run", env=BOLD)).code == 0
    newer.write()
    sent = len(newer.event.event.writes)
    done = await program("run", "--json", env=BOLD)
    assert (done.code, done.json["outcomes"]["waiting"], done.json["requests"]["upsert"]) == (0, 1, 0), done
    assert town.causes()[newer.event.key] == "settling"
    assert len(newer.event.event.writes) == sent
    assert town.stories()[newer.event.key] == ["repair:intended", "repair:applied", "event:judged"]


# ---------------------------------------------------------------- a link that came first


async def test_a_link_that_came_before_the_newer_word_could_be_sent_again_is_said(program: Program, town: Town) -> None:
    who, (newer,) = to_repair(town)
    town.move_in()
    running = await start(program)
    async with held(town, running, LISTING):
        town.world.settings.generation_delay = 0
    async with held(town, running, WRITE):
        newer.write()
    done = await running.end()
    assert newer.event.event.join_url is not None
    assert newer.event.event.writes == [newer.event.asking_for(newer.profile)]
    assert (done.code, done.json["accounts"]["failed"]) == (PARTIAL, 1), done
    (error,) = done.json["errors"]
    assert (error["account_id"], error["kind"]) == (who.account.account_id, "write_crossed_write")
    row = town.rows()[newer.event.key]
    assert (row["body"], row["starts_at"]) == (newer.body, newer.start)
    assert "repair:overtaken" in town.stories()[newer.event.key]
    assert town.world.violations == []


# ---------------------------------------------------------------- cancelled or deleted


def cancel(newer: Newer) -> None:
    """Its row first, then Cronofy."""
    town = newer.event.resident.town
    where = "WHERE calendar_id = %s AND event_id = %s"
    town.query(f"UPDATE reconciler.events SET cancelled_at = now() {where}", *newer.event.key)  # noqa: S608
    newer.event.event.deleted = True


def delete(newer: Newer) -> None:
    """The application keeps no row of what it deleted."""
    newer.event.resident.town.query(
        "DELETE FROM reconciler.events WHERE calendar_id = %s AND event_id = %s", *newer.event.key
    )
    newer.event.event.deleted = True


@pytest.mark.parametrize("act", [cancel, delete])
@pytest.mark.parametrize("phase", ["before the read", "after the read", "after it"])
async def test_what_is_deleted_meanwhile_stays_deleted(
    program: Program, town: Town, phase: Phase, act: Callable[[Newer], None]
) -> None:
    _, (newer,) = to_repair(town)
    town.move_in()
    running = await start(program)
    await meet(town, running, phase, newer, lambda: act(newer))
    done = await running.end()
    crossed = phase in OVERTAKEN
    assert (done.code, [e["kind"] for e in done.json["errors"]]) == (
        (PARTIAL, ["write_crossed_delete"]) if crossed else (0, [])
    ), done
    assert newer.event.event.deleted
    assert len(newer.event.event.writes) == int(crossed)
    row = town.rows().get(newer.event.key)
    assert row is None or row["body"] == newer.event.row["body"]
    again = await program(*AGAIN, env=BOLD)
    assert (again.code, len(newer.event.event.writes)) == (0, int(crossed)), again
    assert town.world.violations == []


@pytest.mark.parametrize("act", [cancel, delete])
async def test_a_write_that_arrives_after_the_deletion_is_said(
    program: Program, town: Town, act: Callable[[Newer], None]
) -> None:
    who, (newer,) = to_repair(town)
    async with writing(program, town) as running:
        act(newer)
    done = await running.end()
    (error,) = done.json["errors"]
    assert (done.code, error["kind"], error["account_id"]) == (
        PARTIAL,
        "write_crossed_delete",
        who.account.account_id,
    ), done
    again = await program(*AGAIN, env=BOLD)
    assert (again.code, len(newer.event.event.writes)) == (0, 1), again


# ---------------------------------------------------------------- at moments drawn by chance


async def application(newer: Newer, chance: random.Random, *, row_first: bool) -> None:
    """Writes an event a few times: its row, and Cronofy a moment later, or the other way round."""
    for version in range(1, chance.randint(1, 3) + 1):
        await asyncio.sleep(chance.uniform(0, 1.5))
        newer.version = version
        first, then = (newer.write_row, newer.write_calendar)[:: 1 if row_first else -1]
        first()
        await asyncio.sleep(chance.uniform(0, 0.1))
        then()


@pytest.mark.parametrize("row_first", [True, False], ids=["row first", "Cronofy first"])
@pytest.mark.parametrize("seed", range(3))
async def test_what_is_rewritten_at_any_moment_stands(program: Program, town: Town, seed: int, row_first: bool) -> None:
    chance = random.Random(seed)
    every = [newer for _ in range(10) for newer in to_repair(town, 2)[1]]
    town.move_in()
    town.world.settings.latency = 0.2
    running = await program.start("run", "--json", env={**BOLD, "RECONCILER_CONCURRENCY": "4"})
    await running.until(lambda: bool(town.world.requests))
    async with asyncio.TaskGroup() as group:
        for newer in every:
            group.create_task(application(newer, chance, row_first=row_first))
    done = await running.end()
    assert done.code == 0, done
    town.world.settings.latency = 0
    if not row_first:  # what was written to the database after our answer was recorded is known to the next run
        assert (await program(*AGAIN, env=BOLD)).code == 0
    for newer in every:
        newer.assert_stands()
    await assert_it_converges(program, town, *every)


# ---------------------------------------------------------------- a verdict that waits for the end of the run


async def test_what_is_rewritten_before_its_verdict_is_judged_by_the_next_run(program: Program, town: Town) -> None:
    who, last = town.resident(), town.resident()
    zoom = who.connect()
    newer = Newer(who.event(zoom, age=DAYS_AGO, stuck=True), zoom)
    last.event(last.connect(), link=True, starts_in=timedelta(days=9))
    town.move_in()
    fault = town.world.faults.add(Fault("hold", match_path=LISTING, account_id=last.account.account_id))
    running = await start(program)
    await running.until(lambda: bool(fault.held and town.query("SELECT 1 FROM reconciler.run_held")))
    newer.write()
    town.world.faults.remove(fault)
    done = await running.end()
    assert (done.code, done.json["outcomes"]["escalated"]) == (0, 0), done
    assert town.stories().get(newer.event.key) is None
    again = await program("run", "--json", env=BOLD)
    assert (again.code, town.causes()[newer.event.key]) == (0, "settling"), again
    newer.assert_stands()
