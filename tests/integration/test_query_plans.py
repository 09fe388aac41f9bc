"""The hot queries use their indexes on 100,000 events: a regression here is an outage of the shared database."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from reconciler.postgres.statements import sql_folder, statements

EVENTS = 100_000
ACCOUNTS = 2_000

_SEED = f"""
INSERT INTO reconciler.accounts (account_id, access_token)
SELECT 'acc_' || i, 'token' FROM generate_series(1, {ACCOUNTS}) i;
INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, ends_at, profile_id, body, written_at)
SELECT 'cal_' || (i % {ACCOUNTS} + 1), 'e' || i, 'acc_' || (i % {ACCOUNTS} + 1), now() + i * interval '150 seconds',
       now() + i * interval '160 seconds', 'pro_1', '{{}}', now() - interval '3 days'
FROM generate_series(1, {EVENTS}) i;
INSERT INTO reconciler.event_states
    (calendar_id, event_id, account_id, conferencing, cause, settled_at, seen_written_at)
SELECT calendar_id, event_id, account_id, 'assigned', 'assigned', now(), written_at
FROM reconciler.events WHERE hashtext(event_id) % 50 <> 0;
"""  # noqa: S608 - numbers of our own


@pytest.fixture
def crowded(database: str) -> Iterator[psycopg.Connection]:
    """A database with 100,000 future events, nearly all settled."""
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in _SEED.strip().rstrip(";").split(";\n"):
            connection.execute(statement.encode())
        connection.execute("ANALYZE")
        yield connection


def _explain(connection: psycopg.Connection, sql: str, *arguments: object) -> str:
    literals = [a if isinstance(a, str) and a == "NULL" else _literal(a) for a in arguments]
    filled = re.sub(r"\$(\d+)", lambda m: literals[int(m[1]) - 1], sql)
    return "\n".join(
        row[0] for row in connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {filled}".encode())
    )


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "NULL" if value is None else f"'{value}'"


def _due() -> tuple[object, ...]:
    return (datetime.now(UTC), timedelta(days=200), False, False, *[None] * 12)


def test_an_accounts_due_events_and_how_dense_its_days_are_come_by_index(crowded: psycopg.Connection) -> None:
    plan = _explain(crowded, statements("cases")["load"], *_due(), "acc_7", 5)
    assert not re.search(r"Seq Scan on (events|event_states|accounts)", plan), plan
    assert plan.count("events_by_account") == 2, plan
    assert "event_states_by_account" in plan


def test_planning_a_run_reads_each_relation_once(crowded: psycopg.Connection) -> None:
    run_id = uuid4()
    crowded.execute("INSERT INTO reconciler.runs (run_id) VALUES (%s)", (run_id,))
    plan = _explain(crowded, statements("runs")["plan_units"], *_due(), run_id)
    assert max(int(n) for n in re.findall(r"loops=(\d+)", plan)) == 1, plan


def test_the_events_of_the_next_day_and_those_of_no_time_are_found_without_reading_all(
    crowded: psycopg.Connection,
) -> None:
    states, due = ((sql_folder() / "fragments" / f"{name}.sql").read_text() for name in ("all_states", "due"))
    now, _, *scope = _due()
    plan = _explain(crowded, f"{states} SELECT e.starts_at {due}", now, timedelta(days=1), *scope)
    assert "events_asking_by_start" in plan, plan
    assert "events_of_no_time" in plan, plan
    assert "Seq Scan on events" not in plan, plan


def test_the_next_units_come_by_index(crowded: psycopg.Connection) -> None:
    run_id = uuid4()
    crowded.execute("INSERT INTO reconciler.runs (run_id) VALUES (%s)", (run_id,))
    crowded.execute(
        "INSERT INTO reconciler.run_units (run_id, account_id, deadline, events_due) "
        "SELECT %s, account_id, now(), 1 FROM reconciler.accounts",
        (run_id,),
    )
    crowded.execute("ANALYZE reconciler.run_units")
    plan = _explain(crowded, statements("runs")["units"], run_id, datetime.now(UTC) - timedelta(days=1), "", 200)
    assert "run_units_todo" in plan, plan


def test_units_are_recorded_by_index_whatever_their_number(crowded: psycopg.Connection) -> None:
    run_id = uuid4()
    crowded.execute("INSERT INTO reconciler.runs (run_id) VALUES (%s)", (run_id,))
    crowded.execute(
        "INSERT INTO reconciler.run_units (run_id, account_id, deadline, events_due) "
        "SELECT %s, 'acc_' || i, now(), 1 FROM generate_series(1, 20000) i",
        (run_id,),
    )
    crowded.execute(
        "INSERT INTO reconciler.known_profiles "
        "(account_id, profile_id, kind, provider_name, connected, listed, seen_at) "
        "SELECT 'acc_' || i, 'pro_1', 'conferencing', 'zoom', true, true, now() FROM generate_series(1, 20000) i"
    )
    crowded.execute("ANALYZE reconciler.run_units, reconciler.known_profiles")
    accounts = ["acc_1", "acc_2"]
    unit = {"state": "done", "counts": {}, "observed": {}, "parked": False}
    unit |= {"roster_compared": True, "roster_lost": False, "access_lost": False}
    units = [{**unit, "account_id": account_id} for account_id in accounts]
    row = {"calendar_id": "cal_1", "event_id": "e1", "account_id": "acc_1", "rejections": [], "repairs": 0}
    state = {**row, "conferencing": "pending", "misses": 0, "unchanged_looks": 0}
    arguments: list[object] = [run_id, accounts, units, [state], [], [], accounts, [], None, "{}", "{}"]
    crowded.execute("SET plan_cache_mode = force_generic_plan")
    crowded.execute(f"PREPARE record AS {statements('cases')['record']}".encode())
    literals = ", ".join(_literal(a if not isinstance(a, list) else _array(a)) for a in arguments)
    plan = "\n".join(r[0] for r in crowded.execute(f"EXPLAIN (ANALYZE, COSTS OFF) EXECUTE record({literals})".encode()))
    assert not re.search(r"Seq Scan on (run_units|known_profiles|event_states)", plan), plan
    done = crowded.execute("SELECT count(*) FROM reconciler.run_units WHERE state = 'done'").fetchone()
    assert done == (2,)


def _array(values: list[Any]) -> str:
    """Texts as an array, anything else as JSON."""
    texts = values and isinstance(values[0], str)
    return "{" + ",".join(values) + "}" if texts else json.dumps(values)


def test_one_events_story_comes_by_index(crowded: psycopg.Connection) -> None:
    crowded.execute(
        "INSERT INTO reconciler.audit_entries "
        "(run_id, at, tag, account_id, calendar_id, event_id, prev_hash, hash, chain, seq) "
        "SELECT gen_random_uuid(), written_at, 'event:judged', 'c', calendar_id, event_id, z, z, 'c', "
        "row_number() OVER () FROM reconciler.events, repeat('0', 64) z LIMIT 20000"
    )
    crowded.execute("ANALYZE reconciler.audit_entries")
    plan = _explain(crowded, statements("audit")["of_event"], "cal_1", "e1")
    assert "Seq Scan" not in plan, plan
