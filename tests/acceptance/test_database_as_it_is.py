"""Postgres as it is found: strange defaults, no room left, transactions undone. It works, or one line says why not."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.program import HOURS_AGO, Done, Planted, Program, Town

PARTIAL, UNREACHABLE, WRONG_CONFIGURATION = 3, 69, 78
LOCAL = {"RECONCILER_ENGINE": "local"}
SHARED = {"RECONCILER_ENGINE": "pgqueuer"}
ENGINES = pytest.mark.parametrize("env", [pytest.param(LOCAL, id="local"), pytest.param(SHARED, id="pgqueuer")])
RUN = ("run", "--json", "--run-key", "night")

DEFAULTS = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "idle_session_timeout": "300ms",
    "idle_in_transaction_session_timeout": "300ms",
    "lock_timeout": "1ms",
    "search_path": "nowhere",
    "DateStyle": "SQL, DMY",
    "TimeZone": "Asia/Kathmandu",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "synchronous_commit": "off",
    "client_min_messages": "debug5",
    "plan_cache_mode": "force_generic_plan",
}
"""What a database or a login may have for its defaults."""


def order(dsn: str, settings: Mapping[str, str]) -> None:
    """Make these the defaults of everybody who comes to a database from now on."""
    name = urlsplit(dsn).path.strip("/")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        for setting, value in settings.items():
            if connection.execute("SELECT current_setting(%s, true)", [setting]).fetchone() != (None,):
                connection.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'".encode())


def one_line(done: Done, code: int, *words: str) -> None:
    """It ended with that code, one line on stderr that says so, and nothing else."""
    assert (done.code, len(done.complaints)) == (code, 1), done
    assert all(word in done.complaints[0] for word in words), done.complaints
    assert "Traceback" not in done.err


def broken(town: Town) -> Planted:
    """An event that is to be repaired, beside one that is well."""
    who = town.resident()
    lost = who.connect()
    planted = who.event(lost, age=HOURS_AGO, stuck=True)
    who.connect("zoom", "another")
    who.event(who.connect("teams"), age=HOURS_AGO, link=True)
    who.account.remove_conferencing_profile(lost)
    return planted


def upserts(town: Town) -> int:
    """How many events were written to Cronofy."""
    return sum(request.cost for request in town.world.requests if request.kind in {"upsert", "batch"})


# ---------------------------------------------------------------- defaults


@ENGINES
async def test_whatever_the_defaults_are_a_run_repairs_and_records(
    program: Program, town: Town, env: dict[str, str]
) -> None:
    planted = broken(town)
    town.move_in()
    order(town.dsn, {**DEFAULTS, "statement_timeout": "1s"})
    town.world.settings.latency = 0.4  # longer than a session may idle by default
    done = await program(*RUN, env=env)
    assert (done.code, done.complaints) == (0, []), done
    assert done.json["outcomes"]["repaired"] == 1
    assert {"cause": "profile_removed"} in town.query("SELECT cause FROM reconciler.event_states")
    for words in (("status",), ("audit", "verify"), ("audit", "replay"), ("explain", *planted.key), ("plan",)):
        other = await program(*words)
        assert (other.code, "Traceback" in other.err) == (0, False), other


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_a_stricter_isolation_by_default_costs_nobody_a_result(
    program: Program, town: Town, isolation: str
) -> None:
    for _ in range(12):
        broken(town)
    town.move_in()
    order(town.dsn, {"default_transaction_isolation": isolation})
    done = await program("run", "--json", env={"RECONCILER_MAX_REPAIR_SHARE": "1"})
    assert (done.code, done.json["errors"], done.json["outcomes"]["repaired"]) == (0, [], 12), done


async def test_a_migration_does_its_work_whatever_the_defaults(program: Program, empty_database: str) -> None:
    order(empty_database, {**DEFAULTS, "statement_timeout": "300ms"})
    done = await program("migrate", env={"RECONCILER_DATABASE_URL": empty_database})
    assert (done.code, done.complaints) == (0, []), done
    again = await program("migrate", env={"RECONCILER_DATABASE_URL": empty_database})
    assert (again.code, again.out.split(",")[0]) == (0, "0 migrations applied"), again


# ---------------------------------------------------------------- no room, no writes, undone


REFUSE = """
CREATE SEQUENCE public.refusals;
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.refusals') BETWEEN {first} AND {last} THEN
        RAISE EXCEPTION 'the server says so' USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON reconciler.{relation} FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""


def refuse(town: Town, relation: str, code: str, first: int = 1, last: int = 10**9) -> None:
    """Let Postgres fail with that code at these writes of rows to a relation."""
    town.query(REFUSE.format(relation=relation, code=code, first=first, last=last))


def allow(town: Town, relation: str) -> None:
    """Let it write again."""
    town.query(f"DROP TRIGGER refuse ON reconciler.{relation}")


@pytest.mark.parametrize(
    "env, code, relation",
    [
        pytest.param(LOCAL, "53100", "event_states", id="disk full"),
        pytest.param(SHARED, "53100", "run_units", id="disk full, many processes"),
        pytest.param(LOCAL, "53200", "audit_entries", id="out of memory"),
        pytest.param(LOCAL, "53400", "event_states", id="out of room for temporary files"),
        pytest.param(LOCAL, "57014", "run_units", id="cancelled"),
        pytest.param(SHARED, "57P01", "event_states", id="shut down"),
        pytest.param(LOCAL, "58030", "audit_entries", id="a file that cannot be written"),
        pytest.param(LOCAL, "25006", "event_states", id="reading only from now on"),
    ],
)
async def test_a_server_that_can_write_no_more_is_one_line_and_costs_nothing(
    program: Program, town: Town, env: dict[str, str], code: str, relation: str
) -> None:
    planted = [broken(town) for _ in range(3)]
    town.move_in()
    refuse(town, relation, code, first=6)
    done = await program(*RUN, env={**env, "RECONCILER_CONCURRENCY": "1", "RECONCILER_MAX_REPAIR_SHARE": "1"})
    one_line(done, WRONG_CONFIGURATION if code == "25006" else UNREACHABLE)
    allow(town, relation)
    written = upserts(town)
    done = await program(*RUN, env={**env, "RECONCILER_MAX_REPAIR_SHARE": "1"})
    assert (done.code, done.complaints) == (0, []), done
    assert {town.causes()[p.key] for p in planted} <= {"profile_removed", "assigned"}
    assert written <= upserts(town) <= len(planted) + 1
    assert (await program("audit", "verify")).code == 0


@pytest.mark.parametrize(
    "env, code, relation",
    [
        *(
            pytest.param(LOCAL, "40P01", relation, id=relation)
            for relation in ("events", "notices", "run_units", "runs")
        ),
        pytest.param(LOCAL, "40001", "event_states", id="event_states"),
        pytest.param(SHARED, "40P01", "event_states", id="event_states, many processes"),
        pytest.param(SHARED, "40001", "audit_entries", id="audit_entries, many processes"),
    ],
)
async def test_what_postgres_undoes_for_anothers_sake_is_done_again(
    program: Program, town: Town, env: dict[str, str], code: str, relation: str
) -> None:
    planted = broken(town)
    who = town.resident()
    who.event(who.connect(connected=False), stuck=True)
    town.move_in()
    refuse(town, relation, code, first=1, last=2)
    done = await program(*RUN, env=env)
    assert (done.code, done.complaints) == (0, []), done
    assert (done.json["outcomes"]["repaired"], done.json["notices"]["queued"]) == (1, 1)
    assert done.json["requests"]["upsert"] == 1
    assert town.query("SELECT profile_id FROM reconciler.events WHERE event_id = %s", planted.key[1]) != []
    assert (await program("audit", "verify")).code == 0


async def test_rows_that_others_fight_over_without_end_cost_their_account_alone(program: Program, town: Town) -> None:
    fought = broken(town)
    who = town.resident()
    fine = who.event(who.connect(), link=True)
    town.move_in()
    town.query(
        f"""
        CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'fought over' USING ERRCODE = '40P01'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON reconciler.event_states FOR EACH ROW
        WHEN (NEW.account_id = '{fought.row["account_id"]}') EXECUTE FUNCTION public.refuse()
        """
    )
    done = await program("run", "--json")
    assert done.code == PARTIAL, done
    assert [(e["account_id"], e["kind"]) for e in done.json["errors"]] == [(fought.row["account_id"], "contended")]
    assert town.causes()[fine.key] == "assigned"
    allow(town, "event_states")
    assert (await program("run")).code == 0


# ---------------------------------------------------------------- a server that only reads


async def test_a_server_that_takes_no_writes_is_wrong_configuration(program: Program, town: Town) -> None:
    """As a standby answers."""
    broken(town)
    town.move_in()
    refuse(town, "runs", "25006")
    done = await program(*RUN)
    one_line(done, WRONG_CONFIGURATION, "only reads", "RECONCILER_DATABASE_URL")
    assert upserts(town) == 0
    assert (await program("status")).code == 0
