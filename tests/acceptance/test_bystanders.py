"""Others in the same database: what they say and what they hold may delay a request, never stop the work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from reconciler.postgres.status_reader import client_key
from tests.acceptance.program import HOURS_AGO, Planted, Program, Town

PARTIAL, ALREADY, WRONG_CONFIGURATION = 3, 75, 78
ENGINES = pytest.mark.parametrize("engine", ["local", "pgqueuer"])
RUN = ("run", "--json", "--run-key", "night")


@pytest.fixture
def stranger(town: Town) -> Iterator[str]:
    """The address of a login with nothing but CONNECT."""
    name = f"stranger_{uuid4().hex[:8]}"
    parts = urlsplit(town.dsn)
    town.query(f"CREATE ROLE {name} LOGIN")
    yield urlunsplit(parts._replace(netloc=f"{name}@"))
    town.query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", name)
    town.query(f"DROP ROLE {name}")


@contextmanager
def holding(dsn: str, *names: str) -> Iterator[None]:
    """A session that holds these locks of ours."""
    with psycopg.connect(dsn, autocommit=True, application_name="psql\nforged line") as connection:
        for name in names:
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"reconciler:{name}"])
        yield


def people(town: Town, number: int = 3) -> list[Planted]:
    """An event each, with its link."""
    planted = []
    for _ in range(number):
        who = town.resident()
        planted.append(who.event(who.connect(), age=HOURS_AGO, link=True))
    town.move_in()
    return planted


@ENGINES
async def test_an_account_that_a_stranger_keeps_locked_is_left_and_told(
    program: Program, town: Town, stranger: str, engine: str
) -> None:
    kept, *others = people(town)
    login = str(urlsplit(stranger).username)
    env = {"RECONCILER_ENGINE": engine}
    with holding(stranger, f"account:{kept.row['account_id']}"):
        done = await program(*RUN, env=env)
        assert (done.code, len(done.complaints)) == (PARTIAL, 1), done
        assert all(word in done.complaints[0] for word in ("1 account left", login, "psql"))
        accounts = done.json["accounts"]
        assert (accounts["done"], accounts["left"], accounts["failed"]) == (2, 1, 0)
        assert [(e["account_id"], e["kind"]) for e in done.json["errors"]] == [(kept.row["account_id"], "barred")]
    assert set(town.causes()) == {planted.key for planted in others}
    done = await program(*RUN, env=env)
    assert (done.code, done.json["accounts"]["left"], done.json["errors"]) == (0, 0, []), done
    assert kept.key in town.causes()


async def test_so_is_one_that_a_colleague_keeps_locked_by_hand(program: Program, town: Town) -> None:
    """It may do what a run may, but it has none in hand."""
    kept, *_ = people(town)
    with holding(town.dsn, f"account:{kept.row['account_id']}"):
        done = await program("run", "--json")
    assert (done.code, done.json["accounts"]["left"], len(done.complaints)) == (PARTIAL, 1, 1), done


@ENGINES
async def test_a_stranger_with_the_locks_of_a_key_keeps_nobody_from_its_run(
    program: Program, town: Town, stranger: str, engine: str
) -> None:
    planted = people(town)
    with holding(stranger, "run-key:night", "audit:runs", "migrate"):
        done = await program(*RUN, env={"RECONCILER_ENGINE": engine})
        assert (done.code, done.complaints) == (0, []), done
        again = await program(*RUN, env={"RECONCILER_ENGINE": engine})
        assert (again.code, "already finished" in again.complaints[0]) == (ALREADY, True), again
    assert set(town.causes()) == {p.key for p in planted}


async def test_two_runs_of_a_key_whose_lock_a_stranger_holds_are_one(
    program: Program, town: Town, stranger: str
) -> None:
    people(town)
    town.world.settings.latency = 0.3
    with holding(stranger, "run-key:night"):
        one, other = await program.start(*RUN), await program.start(*RUN)
        codes = sorted([(await one.end()).code, (await other.end()).code])
    assert codes == [0, ALREADY]
    assert len(town.query("SELECT run_id FROM reconciler.runs")) == 1


async def test_a_colleague_with_the_lock_of_a_key_is_named(program: Program, town: Town) -> None:
    people(town)
    with holding(town.dsn, "run-key:night"):
        done = await program(*RUN)
    assert (done.code, len(done.complaints), "psql" in done.complaints[0]) == (ALREADY, 1, True), done


async def test_a_stranger_with_the_lock_of_a_run_that_is_to_go_on_is_named(
    program: Program, town: Town, stranger: str
) -> None:
    people(town)
    stopped = await program(*RUN, "--max-duration", "0.001s")
    run_id = stopped.json["run_id"]
    with holding(stranger, f"run:{run_id}"):
        done = await program(*RUN)
        assert (done.code, len(done.complaints)) == (WRONG_CONFIGURATION, 1), done
        assert "REVOKE CONNECT" in done.complaints[0]
        assert (await program("run", "--json", "--run-key", "another")).code == 0


SEEN = """
SELECT classid::bigint << 32 | objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@ENGINES
async def test_a_stranger_who_takes_every_lock_once_seen_costs_accounts_at_most(
    program: Program, town: Town, stranger: str, engine: str
) -> None:
    people(town, 8)
    over = threading.Event()
    taken: set[int] = set()

    def grab() -> None:
        seen: set[int] = set()
        with psycopg.connect(stranger, autocommit=True) as connection:
            while not over.is_set():
                seen.update(number for (number,) in connection.execute(SEEN))
                for number in seen - taken:
                    if connection.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone() == (True,):
                        taken.add(number)

    grabbing = threading.Thread(target=grab)
    grabbing.start()
    town.world.settings.latency = 1.0
    try:
        running = await program.start(*RUN, env={"RECONCILER_ENGINE": engine, "RECONCILER_CONCURRENCY": "2"})
        await running.until(lambda: bool(taken))
        town.world.settings.latency = 0
        done = await running.end()
    finally:
        over.set()
        grabbing.join()
    assert (done.code in {0, PARTIAL}, done.json["accounts"]["failed"]) == (True, 0), done
    done = await program("run", "--json", "--run-key", "the next")
    assert (done.code, done.json["accounts"]["left"]) == (0, 0)
    assert (await program("audit", "verify")).code == 0


async def test_pauses_that_a_stranger_tells_of_cost_no_request(program: Program, town: Town, stranger: str) -> None:
    who = town.resident()
    lost = who.connect()
    who.event(lost, age=HOURS_AGO, stuck=True)
    who.connect("zoom", "another")
    who.account.remove_conferencing_profile(lost)
    town.move_in()
    over = threading.Event()

    def shout() -> None:
        with psycopg.connect(stranger, autocommit=True) as connection:
            while not over.is_set():
                connection.execute("SELECT pg_notify('reconciler_hold', %s)", [client_key("sim-client")])

    shouting = threading.Thread(target=shout)
    shouting.start()
    town.world.settings.latency = 0.2
    env = {"RECONCILER_RATE_PER_SECOND": "5", "RECONCILER_RATE_SHARE": "1"}
    try:
        done = await program("run", "--json", env=env)
    finally:
        over.set()
        shouting.join()
    assert (done.code, done.json["outcomes"]["repaired"]) == (0, 1), done
    assert done.json["requests"] == {**done.json["requests"], "events": 1, "userinfo": 1, "upsert": 1, "refused": 0}
