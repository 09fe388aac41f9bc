"""One run in many processes: shared, killed, frozen, stopped, cut off from the database. The same of one process."""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from reconciler.postgres.statements import sql_folder
from tests.acceptance.program import DAYS_AGO, Done, Planted, Program, Running, Town

PARTIAL, STOPPED, UNREACHABLE, ALREADY, CONFIGURATION = 3, 5, 69, 75, 78
HEARTBEAT_S = 2
SHARED = {
    "RECONCILER_ENGINE": "pgqueuer",
    "RECONCILER_HEARTBEAT": f"{HEARTBEAT_S}s",
    "RECONCILER_CONCURRENCY": "8",
    "RECONCILER_MAX_REPAIR_SHARE": "1",
}
LOCAL = {**SHARED, "RECONCILER_ENGINE": "local"}
RUN = ("run", "--json", "--run-key", "night")
ENGINES = pytest.mark.parametrize("env", [pytest.param(LOCAL, id="local"), pytest.param(SHARED, id="pgqueuer")])


def people(town: Town, number: int, to_repair: int = 0) -> list[Planted]:
    """People with a link, after those who lack one because their profile is gone; the latter's events."""
    events = []
    for _ in range(to_repair):
        who = town.resident()
        events.append(who.event("pro_gone", age=DAYS_AGO, stuck=True))
        who.connect()
    for _ in range(number - to_repair):
        town.resident().event("default", link=True)
    town.move_in()
    return events


def readings(town: Town) -> Counter[str | None]:
    """How often each account was listed."""
    return Counter(request.account_id for request in town.world.requests if request.kind == "events")


def answered(town: Town) -> int:
    return sum(request.status is not None for request in town.world.requests)


def runs(town: Town) -> list[dict[str, Any]]:
    return town.query("SELECT run_id::text, status, summary FROM reconciler.runs ORDER BY started_at")


def assert_left_nothing(town: Town) -> None:
    """No run is open, nothing is held or queued, and every event was judged once and written at most once."""
    assert town.world.violations == []
    assert [run["status"] for run in runs(town)] == ["completed"]
    for relation in ("reconciler.run_held", "reconciler_queue.pgqueuer", "reconciler_queue.pgqueuer_log"):
        assert town.query(f"SELECT 1 FROM {relation}") == [], relation  # noqa: S608 - three names of ours
    assert town.states().keys() == {planted.key for planted in town.planted}
    assert all(len(planted.event.writes) <= 1 for planted in town.planted)
    ended = town.query("SELECT 1 FROM reconciler.audit_entries WHERE tag = 'run:finished' AND outcome = 'completed'")
    assert len(ended) == 1


def plant(folder: Path, name: str, text: str) -> None:
    """Put a module where the program imports from."""
    (folder / name).write_text(text)


async def both(program: Program, *words: str, env: dict[str, str]) -> tuple[Running, Running]:
    """Two processes, started together."""
    first, second = await asyncio.gather(*(program.start(*words, env=env) for _ in range(2)))
    return first, second


async def sharing(program: Program, town: Town, *, answers: int, latency: float = 0.3) -> tuple[Running, Running]:
    """Two processes in the middle of a run that they share: Cronofy has given so many answers, each after that long."""
    town.world.settings.latency = latency
    one, other = await both(program, *RUN, env=SHARED)
    await other.until(lambda: answered(town) >= answers)
    return one, other


async def test_two_processes_share_a_run_and_read_every_account_once(program: Program, town: Town) -> None:
    repaired = people(town, 900, to_repair=6)
    town.world.settings.latency = 0.02
    one, other = [await running.end() for running in await both(program, *RUN, env=SHARED)]
    assert (one.code, other.code) == (0, 0), (one, other)
    assert one.out == other.out
    assert one.json["accounts"] == {"due": 900, "done": 900, "failed": 0, "parked": 0, "left": 0}
    assert one.json["outcomes"]["repaired"] == len(repaired)
    assert set(readings(town).values()) == {1}
    assert len(readings(town)) == 900
    assert [run["summary"] for run in runs(town)] == [one.json]
    assert_left_nothing(town)
    again = await program(*RUN, env=SHARED)
    assert (again.code, again.out, len(again.complaints)) == (ALREADY, "", 1)
    assert (await program("audit", "verify")).code == 0


async def test_a_killed_process_is_covered_by_the_other(program: Program, town: Town) -> None:
    people(town, 60)
    dying, living = await sharing(program, town, answers=20)
    dying.signal(signal.SIGKILL)
    done = await living.end()
    assert done.code == 0, done
    assert done.json["accounts"]["done"] == 60
    at_work = int(SHARED["RECONCILER_CONCURRENCY"])
    assert sum(readings(town).values()) <= 60 + at_work
    assert_left_nothing(town)


async def test_when_all_die_a_new_process_of_the_key_finishes(program: Program, town: Town) -> None:
    repaired = people(town, 30, to_repair=4)
    town.world.settings.generation_delay = 0
    dying = await sharing(program, town, answers=20)
    for running in dying:
        running.signal(signal.SIGKILL)
    for running in dying:
        await running.end()
    assert [run["status"] for run in runs(town)] == ["running"]
    town.world.settings.latency = 0
    done = await program(*RUN, env=SHARED)
    assert (done.code, done.json["accounts"]["done"]) == (0, 30), done
    assert done.json["run_id"] == runs(town)[0]["run_id"]
    assert all(event.event.links_made == 1 for event in repaired)
    assert_left_nothing(town)


async def test_an_abandoned_shared_run_is_closed_by_the_next_and_can_be_resumed(program: Program, town: Town) -> None:
    people(town, 30)
    town.world.settings.latency = 0.3
    dying = await program.start(*RUN, env=SHARED)
    await dying.until(lambda: answered(town) >= 8)
    dying.signal(signal.SIGKILL)
    await dying.end()
    gone = (await program("status")).out
    assert "its process is gone" in gone
    town.world.settings.latency = 0
    assert (await program("run", "--account", "nobody", env=LOCAL)).code == 0
    closed = runs(town)[0]
    assert closed["status"] == closed["summary"]["status"] == "partial"
    assert closed["summary"]["accounts"]["left"] > 0
    done = await program(*RUN, env=SHARED)
    assert (done.code, done.json["run_id"], done.json["accounts"]["done"]) == (0, closed["run_id"], 30), done
    assert (await program("audit", "verify")).code == 0


async def test_a_process_told_to_stop_leaves_the_run_to_the_others(program: Program, town: Town) -> None:
    people(town, 60)
    leaving, staying = await sharing(program, town, answers=12)
    leaving.signal(signal.SIGTERM)
    left = await leaving.end()
    done = await staying.end()
    assert (left.code, left.json["status"]) == (STOPPED, "stopped"), left
    assert left.complaints == ["reconciler: stopped early; the rest stays due"]
    assert (done.code, done.json["accounts"]["done"]) == (0, 60), done
    assert set(readings(town).values()) == {1}, "what was in flight has ended, what was not is begun by the other"
    assert_left_nothing(town)


async def test_when_all_are_told_to_stop_the_last_closes_the_books(program: Program, town: Town) -> None:
    people(town, 60)
    leaving = await sharing(program, town, answers=12)
    for running in leaving:
        running.signal(signal.SIGTERM)
    left = [await running.end() for running in leaving]
    assert [(done.code, done.json["status"]) for done in left] == [(STOPPED, "stopped")] * 2, left
    (closed,) = runs(town)
    assert closed["status"] == closed["summary"]["status"] == "stopped"
    assert closed["summary"]["accounts"]["left"] == min(done.json["accounts"]["left"] for done in left) > 0
    town.world.settings.latency = 0
    done = await program(*RUN, env=SHARED)
    assert (done.code, done.json["accounts"]["done"]) == (0, 60), done
    assert set(readings(town).values()) == {1}
    assert_left_nothing(town)


@ENGINES
async def test_a_deadline_stops_a_run(program: Program, town: Town, env: dict[str, str]) -> None:
    people(town, 60)
    town.world.settings.latency = 0.4
    done = await program(*RUN, "--max-duration", "1s", env={**env, "RECONCILER_CONCURRENCY": "4"})
    assert (done.code, done.json["status"]) == (STOPPED, "stopped"), done
    accounts = done.json["accounts"]
    assert accounts["left"] > 0
    assert accounts["done"] + accounts["left"] == 60
    assert [run["status"] for run in runs(town)] == ["stopped"]


async def test_a_frozen_process_does_nothing_twice(program: Program, town: Town) -> None:
    repaired = people(town, 40, to_repair=12)
    town.world.settings.generation_delay = 0
    frozen, other = await sharing(program, town, answers=8, latency=0.2)
    frozen.signal(signal.SIGSTOP)
    await asyncio.sleep(2.5 * HEARTBEAT_S)
    frozen.signal(signal.SIGCONT)
    done, thawed = await other.end(), await frozen.end()
    assert done.code == 0, done
    assert thawed.code in {0, UNREACHABLE}, thawed  # 69: the freeze cut a transaction short
    assert "Traceback" not in thawed.err
    assert done.json["outcomes"]["repaired"] == len(repaired)
    assert all(len(event.event.writes) == 1 for event in repaired)
    stories = town.stories()
    for event in repaired:
        assert stories[event.key].count("repair:applied") + stories[event.key].count("repair:in_doubt") <= 1
        assert town.rows()[event.key]["profile_id"] == event.resident.account.conferencing_profiles[0].profile_id
    assert_left_nothing(town)
    assert (await program("audit", "verify")).code == 0


async def test_the_same_local_job_started_twice_is_done_once(program: Program, town: Town) -> None:
    people(town, 20)
    town.world.settings.latency = 0.3
    ends = [await running.end() for running in await both(program, *RUN, env=LOCAL)]
    assert sorted(done.code for done in ends) == [0, ALREADY], ends
    assert set(readings(town).values()) == {1}
    assert_left_nothing(town)


async def cut_off(town: Town, running: Running) -> Done:
    """Take the database away from a run under way, as its restart does, and give it back."""
    await running.until(lambda: answered(town) >= 12)
    name = town.query("SELECT current_database() AS name")[0]["name"]
    server = town.dsn.replace(f"/{name}", "/postgres")
    away = Town(town.world, server)
    away.query(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        away.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        return await running.end()
    finally:
        away.query(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@ENGINES
async def test_without_the_database_a_run_ends_and_the_next_goes_on(
    program: Program, town: Town, env: dict[str, str]
) -> None:
    people(town, 40)
    town.world.settings.latency = 0.3
    cut = await cut_off(town, await program.start(*RUN, env=env))
    assert (cut.code, len(cut.complaints)) == (UNREACHABLE, 1), cut
    assert "Traceback" not in cut.err
    town.world.settings.latency = 0
    done = await program(*RUN, env=env)
    assert (done.code, done.json["accounts"]["done"]) == (0, 40), done
    assert_left_nothing(town)


@ENGINES
async def test_a_process_that_lost_its_locks_writes_nothing_more(
    program: Program, town: Town, env: dict[str, str]
) -> None:
    """Whoever comes next may have closed its run and have its accounts in hand."""
    repaired = people(town, 2, to_repair=2)
    town.world.settings.latency = 1.0
    running = await program.start(*RUN, env=env)
    await running.until(lambda: bool(town.world.requests))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reconciler locks'"
    assert town.query(cut + " AND datname = current_database()")
    done = await running.end()
    assert (done.code, "Traceback" in done.err) == (UNREACHABLE, False), done
    assert [event.event.writes for event in repaired] == [[], []]
    assert town.query("SELECT tag FROM reconciler.audit_entries") == [{"tag": "run:started"}]
    town.world.settings.latency = 0
    assert (await program(*RUN, env=env)).code == 0
    assert [len(event.event.writes) for event in repaired] == [1, 1]
    assert_left_nothing(town)


SHIFTED_CLOCK = """
import datetime, os, time
_shift = float(os.environ["CLOCK_SHIFT"])
_real, _time = datetime.datetime, time.time
class _Kind(type):
    def __instancecheck__(cls, value): return isinstance(value, _real)
class _Shifted(_real, metaclass=_Kind):
    @classmethod
    def now(cls, tz=None): return _real.now(tz) + datetime.timedelta(seconds=_shift)
datetime.datetime = _Shifted
time.time = lambda: _time() + _shift
"""


@ENGINES
async def test_clocks_that_disagree_make_no_difference(
    program: Program, town: Town, tmp_path: Path, env: dict[str, str]
) -> None:
    """The database's clock decides; an event due by it is due for a process that thinks it is last week."""
    repaired = people(town, 12, to_repair=3)
    plant(tmp_path, "sitecustomize.py", SHIFTED_CLOCK)
    a_week = 7 * 86_400
    clocks = [{"CLOCK_SHIFT": str(shift), "PYTHONPATH": str(tmp_path)} for shift in (-a_week, a_week)]
    ends = [await (await program.start(*RUN, env={**env, **clock})).end() for clock in clocks]
    assert [done.code for done in ends] == [0, ALREADY], ends
    (run,) = runs(town)
    assert run["summary"]["outcomes"]["repaired"] == len(repaired)
    moments = town.query(
        "SELECT min(at) > now() - interval '5 minutes' AND max(at) <= now() AS sound FROM reconciler.audit_entries"
    )
    assert moments == [{"sound": True}]
    assert_left_nothing(town)


async def test_status_tells_how_a_run_gets_on_and_what_it_waits_for(program: Program, town: Town) -> None:
    people(town, 40)
    town.world.settings.latency = 0.5
    slow = {**SHARED, "RECONCILER_CONCURRENCY": "2"}
    running = await both(program, *RUN, env=slow)
    await running[0].until(lambda: answered(town) >= 4)
    town.query("UPDATE reconciler.request_budget SET hold_until = extract(epoch FROM clock_timestamp()) + 30")
    town.query("INSERT INTO reconciler.incidents (provider_name) VALUES ('zoom')")
    told, data = (await program("status")).out, (await program("status", "--json")).json
    (run,) = data["runs"]
    assert (run["run_key"], run["accounts"], run["processes"], run["abandoned"]) == ("night", 40, 2, False)
    assert run["accounts_done"] + run["accounts_left"] == 40
    assert run["accounts_done"] >= 1
    assert run["expected_end"] > data["now"]
    assert "2 processes" in told
    assert "expected end" in told
    assert "waits for the pause after a 429" in told
    assert "zoom: incident open" in told
    for process in running:
        process.signal(signal.SIGKILL)
        await process.end()


async def test_a_limit_that_one_process_meets_holds_for_all(program: Program, town: Town) -> None:
    repaired = people(town, 40, to_repair=20)
    town.world.settings.latency = 0.1
    careful = {**SHARED, "RECONCILER_MAX_REPAIRS": "3", "RECONCILER_CONCURRENCY": "4", "RECONCILER_HEARTBEAT": "1m"}
    ends = [await running.end() for running in await both(program, *RUN, env=careful)]
    assert [(done.code, done.json["status"]) for done in ends] == [(4, "refused")] * 2, ends
    assert ends[0].out == ends[1].out
    (books,) = town.query("SELECT summary FROM reconciler.runs")
    assert books["summary"] == ends[0].json
    (plan,) = town.query("SELECT plan_id::text AS id FROM reconciler.plans")
    assert all(plan["id"] in done.complaints[0] and "MAX_REPAIRS" in done.complaints[0] for done in ends)
    assert sum(len(event.event.writes) for event in repaired) == 3
    assert len(town.query("SELECT 1 FROM reconciler.plan_items")) == len(repaired) - 3


async def test_the_workers_role_is_enough(program: Program, town: Town) -> None:
    people(town, 3, to_repair=1)
    login = f"shared_{urlsplit(town.dsn).path.strip('/')}"
    with psycopg.connect(town.dsn, autocommit=True) as connection:
        connection.execute((sql_folder() / "roles.sql").read_bytes())
        connection.execute(f'CREATE ROLE "{login}" LOGIN IN ROLE reconciler_worker'.encode())
    parts = urlsplit(town.dsn)
    dsn = urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))
    done = await program(*RUN, env={**SHARED, "RECONCILER_DATABASE_URL": dsn})
    assert (done.code, done.json["accounts"]["done"]) == (0, 3), done
    assert_left_nothing(town)


async def test_what_the_engine_for_many_processes_asks_for(program: Program, town: Town, tmp_path: Path) -> None:
    no_key = await program("run", env=SHARED)
    assert (no_key.code, len(no_key.complaints)) == (2, 1), no_key
    assert "--run-key" in no_key.complaints[0]
    plant(tmp_path, "pgqueuer.py", "raise ModuleNotFoundError('no such extra')")
    without = {**SHARED, "PYTHONPATH": str(tmp_path)}
    no_extra = await program(*RUN, env=without)
    assert (no_extra.code, len(no_extra.complaints)) == (CONFIGURATION, 1), no_extra
    assert "pip install '.[scale]'" in no_extra.complaints[0]
    people(town, 2)
    assert (await program("plan", env=without)).code == 0, "what one process does by itself needs no queue"
