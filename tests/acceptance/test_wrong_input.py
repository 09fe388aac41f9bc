"""Whatever is wrong with what it is given: the documented exit code, one clear line, and nothing lost."""

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg
import pytest
from cryptography.fernet import Fernet

from reconciler.config import load_settings
from reconciler.ports import WrongConfiguration
from reconciler.postgres.migrate import migrate
from reconciler.postgres.pool import open_pool
from reconciler.simulator import Simulator
from reconciler.simulator.faults import Fault
from tests.acceptance.program import Done, Planted, Program, Town, query, settings_for

EVERYTHING = ("--starting-after", "0s")
USAGE, PARTIAL, STOPPED, UNREACHABLE, CONFIGURATION = 2, 3, 5, 69, 78


def told(done: Done, code: int, *words: str, out: str = "") -> None:
    """It ended with that code, one line on stderr that holds those words, and nothing on stdout, or what begins so."""
    assert done.code == code, done
    assert "Traceback" not in done.err, done.err
    assert len(done.complaints) == 1, done.err
    for word in words:
        assert word in done.complaints[0], done.complaints
    assert done.out.startswith(out)
    assert out or not done.out


def refused(done: Done, *words: str) -> None:
    """Wrong usage, as the command line's own parser tells it: how to use it, and what was wrong."""
    assert done.code == USAGE, done
    assert "Traceback" not in done.err, done.err
    last = done.complaints[-1]
    assert last.startswith("Error: "), done.err
    for word in words:
        assert word in last, done.complaints


def nowhere() -> int:
    """A port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@asynccontextmanager
async def speaking(answer: bytes) -> AsyncIterator[int]:
    """A server that answers every connection with the same bytes, or with none and never."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        if answer:
            writer.write(answer)
            await writer.drain()
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


# ---------------------------------------------------------------- the database


@pytest.mark.parametrize("command", [("run", "--json"), ("migrate",)])
async def test_no_database_at_all(program: Program, command: tuple[str, ...]) -> None:
    address = f"postgresql://reconciler:hunter2@127.0.0.1:{nowhere()}/app"
    done = await program(*command, env={"RECONCILER_DATABASE_URL": address})
    told(done, UNREACHABLE, "Postgres cannot be reached", "RECONCILER_DATABASE_URL")
    assert "hunter2" not in done.err


async def test_something_else_answers_in_place_of_the_database(program: Program) -> None:
    async with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        done = await program("run", env={"RECONCILER_DATABASE_URL": f"postgresql://u:hunter2@127.0.0.1:{port}/app"})
    told(done, UNREACHABLE, "RECONCILER_DATABASE_URL")
    assert "hunter2" not in done.err


async def test_an_unknown_login(program: Program) -> None:
    parts = urlsplit(program.settings["RECONCILER_DATABASE_URL"])
    address = urlunsplit(parts._replace(netloc=f"nobody_here:hunter2@{parts.netloc.rpartition('@')[2]}"))
    done = await program("migrate", env={"RECONCILER_DATABASE_URL": address})
    told(done, CONFIGURATION, "RECONCILER_DATABASE_URL", "nobody_here")
    assert "hunter2" not in done.err


async def test_an_unknown_database(program: Program) -> None:
    address = urlunsplit(urlsplit(program.settings["RECONCILER_DATABASE_URL"])._replace(path="/not_there"))
    done = await program("run", env={"RECONCILER_DATABASE_URL": address})
    told(done, CONFIGURATION, "RECONCILER_DATABASE_URL", "not_there")


@pytest.mark.parametrize(
    "address",
    [
        "u:hunter2@db",
        "mysql://u:hunter2@db/app",
        "postgresql://u:hunter2@db:port/app",
        "postgresql://u:x@db:99999/app",
        "postgresql://u:hun%ter2@db/app",
        "postgresql://u:hunter2%@db/app",
        "postgresql://u:hun@ter2@db/app",
        "postgresql://u:hun/ter2@db/app",
        "postgresql://u:1/ter2@db/app",
        "postgresql://u:hun#ter2@db/app",
        "postgresql://u:hun?ter2@db/app",
        "postgresql://u:hun[ter2@db/app",
        "postgresql://u:hun\u2100ter2@db/app",
        "postgresql://u:ter2@[::1/app",
        "postgresql://u:ter2@::1:5432/app",
        "postgresql://u:ter2@db/app?application_name=%00",
        "postgresql://u:ter2@\udcff/app",
    ],
)
async def test_an_address_that_is_none_is_refused_by_both_drivers_alike_and_never_quoted(address: str) -> None:
    for connect in (partial(asyncio.to_thread, migrate, address), open_pool(address, 1).__aenter__):
        with pytest.raises(WrongConfiguration, match="RECONCILER_DATABASE_URL is no Postgres address") as refused:
            await connect()
        assert "ter2" not in str(refused.value)


@pytest.mark.parametrize("command", ["status", "migrate"])
@pytest.mark.parametrize(
    "parameter",
    [
        "foo=bar",
        "sslmode=nonsense",
        "options=-cfoo%3Dbar",
        "options=-cstatement_timeout%3Dabc",
        "target_session_attrs=nonsense",
    ],
)
async def test_a_parameter_of_the_address_that_is_refused(program: Program, command: str, parameter: str) -> None:
    plain = program.settings["RECONCILER_DATABASE_URL"]
    address = f"{plain}{'&' if '?' in plain else '?'}{parameter}"
    told(await program(command, env={"RECONCILER_DATABASE_URL": address}), CONFIGURATION, "RECONCILER_DATABASE_URL")


@pytest.mark.parametrize("parameter", ["sslrootcert=/not/there", "sslcert=/not/there&sslkey=/not/there"])
async def test_a_certificate_that_is_not_there(program: Program, parameter: str) -> None:
    address = f"postgresql://u:hunter2@127.0.0.1:{nowhere()}/app?sslmode=verify-full&{parameter}"
    done = await program("status", env={"RECONCILER_DATABASE_URL": address, "HOME": "/not/there"})
    told(done, CONFIGURATION, "RECONCILER_DATABASE_URL")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("command", ["status", "migrate"])
@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hunter2@no-such-host.invalid/app",
        "postgresql://u:hunter2@/app?host=/not/there",
        "postgresql://u:hunter2@[::1]:{}/app",
        "postgresql:///app?port={}",
    ],
)
async def test_an_address_at_which_nobody_is(program: Program, command: str, address: str) -> None:
    done = await program(command, env={"RECONCILER_DATABASE_URL": address.format(nowhere())})
    told(done, UNREACHABLE, "Postgres cannot be reached", "RECONCILER_DATABASE_URL")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("command", ["status", "migrate"])
async def test_a_server_that_is_not_of_the_kind_that_the_address_wants(program: Program, command: str) -> None:
    plain = program.settings["RECONCILER_DATABASE_URL"]
    address = f"{plain}{'&' if '?' in plain else '?'}target_session_attrs=read-only"
    told(await program(command, env={"RECONCILER_DATABASE_URL": address}), UNREACHABLE, "RECONCILER_DATABASE_URL")


@pytest.mark.parametrize("command", ["status", "migrate"])
async def test_a_database_that_does_not_let_the_login_in(program: Program, town: Town, command: str) -> None:
    parts = urlsplit(program.settings["RECONCILER_DATABASE_URL"])
    name = parts.path.strip("/")
    town.query(f'CREATE ROLE "stranger_{name}" LOGIN')
    town.query(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    address = urlunsplit(parts._replace(netloc=f"stranger_{name}@{parts.netloc.rpartition('@')[2]}"))
    told(await program(command, env={"RECONCILER_DATABASE_URL": address}), CONFIGURATION, "permission denied")


@pytest.mark.parametrize("command", ["migrate", "run"])
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_cannot_hold_every_text(server: str, command: str, encoding: str) -> None:
    name = f"narrow_{encoding}_{command}".lower()
    query(server, f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    program = Program(settings_for(urlunsplit(urlsplit(server)._replace(path=f"/{name}")), "http://127.0.0.1:1"))
    told(await program(command), CONFIGURATION, f"encoding is {encoding}", "ENCODING 'UTF8' TEMPLATE template0")


async def test_a_login_that_speaks_another_encoding_changes_nothing(empty_database: str, cronofy: Simulator) -> None:
    name = urlsplit(empty_database).path.strip("/")
    query(empty_database, f"ALTER DATABASE \"{name}\" SET client_encoding = 'SQL_ASCII'")
    program = Program(settings_for(empty_database, cronofy.url))
    assert (await program("migrate")).code == 0
    assert (await program("run")).code == 0


@pytest.mark.parametrize("command", [("run",), ("explain", "c", "e")])
async def test_a_database_that_is_not_migrated(
    empty_database: str, cronofy: Simulator, command: tuple[str, ...]
) -> None:
    told(await Program(settings_for(empty_database, cronofy.url))(*command), CONFIGURATION, "reconciler migrate")


async def test_a_relation_that_is_gone(program: Program, town: Town) -> None:
    town.query("DROP TABLE reconciler.accounts")
    told(await program("run"), CONFIGURATION, "reconciler.accounts is missing", "reconciler migrate")


@pytest.mark.parametrize("words", [("run",), ("run", "--dry-run"), ("plan",)])
async def test_a_relation_without_a_column(program: Program, town: Town, words: tuple[str, ...]) -> None:
    town.query("ALTER TABLE reconciler.events DROP COLUMN written_at")
    told(await program(*words), CONFIGURATION, "reconciler.events.written_at is missing")
    assert town.query("SELECT run_id FROM reconciler.runs") == []


# ---------------------------------------------------------------- Cronofy


async def test_an_unreachable_api(program: Program, town: Town) -> None:
    who = town.resident()
    event = who.event(who.connect())
    town.move_in()
    done = await program("run", "--json", env={"RECONCILER_CRONOFY_URL": f"http://127.0.0.1:{nowhere()}"})
    assert (done.code, len(done.complaints)) == (UNREACHABLE, 1), done
    assert "RECONCILER_CRONOFY_URL" in done.complaints[0]
    assert done.json["status"] == "failed"
    assert done.json["accounts"]["left"] == 1
    assert town.states() == {}
    again = await program("run", "--json")
    assert again.json["causes"] == {town.states()[event.key]["cause"]: 1}


async def test_wrong_client_credentials(program: Program, town: Town) -> None:
    for _ in range(3):
        who = town.resident(token_expires_at=town.now - timedelta(hours=1))
        who.event(who.connect())
        who.account.expire_token()
    town.move_in()
    done = await program("run", env={"RECONCILER_CRONOFY_CLIENT_SECRET": "another-one"})
    assert (done.code, len(done.complaints)) == (CONFIGURATION, 1), done
    assert "RECONCILER_CRONOFY_CLIENT_SECRET" in done.complaints[0]
    assert "another-one" not in done.err + done.out
    assert town.states() == {}
    assert town.query("SELECT DISTINCT state FROM reconciler.accounts") == [{"state": "active"}]
    assert town.notices() == []


# ---------------------------------------------------------------- settings


WRONG_VALUES = [
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
    ("GRACE", "soon"),
    ("HORIZON", "-5d"),
    ("RATE_SHARE", "1.5"),
    ("RATE_PER_MINUTE", "0"),
    ("RATE_PER_SECOND", "inf"),
    ("CONCURRENCY", "many"),
    ("MAX_REPAIRS", "-1"),
    ("MAX_REPAIR_SHARE", "nan"),
    ("MAX_REPAIRS_PER_ACCOUNT", "-1"),
    ("MAX_REPAIRS_PER_EVENT", "0"),
    ("SUBSTITUTE", "maybe"),
    ("ENGINE", "cloud"),
    ("HTTP_TIMEOUT", "500ms"),
]


async def test_all_wrong_values_are_named_at_once(program: Program) -> None:
    wrong = {f"RECONCILER_{name}": value for name, value in WRONG_VALUES}
    told(await program("run", env=wrong), CONFIGURATION, *wrong)


@pytest.mark.parametrize(
    "name, value",
    [
        *WRONG_VALUES,
        ("GRACE", "0"),
        ("GRACE", "900000d"),
        ("HORIZON", "201d"),
        ("LOOKBACK", "900000d"),
        ("ESCALATE_AFTER", "900000d"),
        ("MAX_DURATION", "900000d"),
        ("RATE_PER_SECOND", "nan"),
        ("RATE_PER_SECOND", "1e-9"),
        ("RATE_PER_SECOND", "1e308"),
        ("RATE_PER_MINUTE", "1e-9"),
        ("RATE_PER_MINUTE", "0.99"),
        ("RATE_PER_MINUTE", "1e400"),
        ("RATE_SHARE", "1e-320"),
        ("RATE_SHARE", "0.0009"),
        ("RATE_SHARE", "nan"),
        ("CRONOFY_CLIENT_SECRET", "a\nb"),
        ("CRONOFY_CLIENT_ID", "a\x1b[31m"),
        ("CRONOFY_CLIENT_SECRET", "a\udcff"),
        ("DATABASE_URL", "postgresql://u:p@h/d\x00"),
        ("CONCURRENCY", "0"),
        ("MAX_REPAIRS", "3000000000"),
        ("MAX_REPAIRS_PER_ACCOUNT", "3000000000"),
        ("MAX_REPAIRS_PER_ACCOUNT", "many"),
        ("MAX_REPAIRS_PER_EVENT", "2.5"),
        ("MAX_REPAIRS_PER_EVENT", "1001"),
        ("HTTP_TIMEOUT", "900000d"),
        ("DATABASE_URL_FILE", "/not/there"),
        ("DATABASE_URL_FILE", "/"),
        ("DATABASE_URL_FILE", "/dev/zero"),
        ("DATABASE_URL_FILE", sys.executable),
        ("TOKEN_KEYS", "too short"),
        ("TOKEN_KEYS", f"{'A' * 43}=,CHANGE-ME"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(WrongConfiguration, match=f"RECONCILER_{name}"):
        load_settings({f"RECONCILER_{name}": value})


@pytest.mark.parametrize(
    "name, value",
    [
        ("LOOKBACK", "900000d"),
        ("CRONOFY_URL", "http://api.cronofy.com"),
        ("CRONOFY_URL", "api.cronofy.com"),
    ],
)
async def test_a_wrong_value_ends_the_run_before_it_begins(program: Program, name: str, value: str) -> None:
    told(await program("run", env={f"RECONCILER_{name}": value}), CONFIGURATION, f"RECONCILER_{name}")


@pytest.mark.parametrize(
    "name, value, meant",
    [
        ("LOG_LEVEL", "INFO", "info"),
        ("LOG_FORMAT", "Console", "console"),
        ("ENGINE", "PgQueuer", "pgqueuer"),
        ("SUBSTITUTE", "SAME_PROVIDER", "same_provider"),
    ],
)
def test_a_word_of_a_closed_list_may_be_written_in_any_case(name: str, value: str, meant: str) -> None:
    assert getattr(load_settings({f"RECONCILER_{name}": value}), name.lower()) == meant


@pytest.mark.parametrize("words", [("status",), ("audit", "verify"), ("migrate",), ("run",)])
async def test_token_keys_that_are_none_end_every_command_unshown(program: Program, words: tuple[str, ...]) -> None:
    done = await program(*words, env={"RECONCILER_TOKEN_KEYS": f"{Fernet.generate_key().decode()}, hunter2"})
    told(done, CONFIGURATION, "RECONCILER_TOKEN_KEYS", "key 2 of 2")
    assert "hunter2" not in done.err


def test_a_key_made_as_the_documents_say_is_one() -> None:
    for document in ("docs/settings.md", "deploy/RUNBOOK.md"):
        text = (Path(__file__).parents[2] / document).read_text(encoding="utf-8")
        (code,) = re.findall(r"^ +python3? -c '(.*)'$", text, re.MULTILINE)
        made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        assert load_settings({"RECONCILER_TOKEN_KEYS": made}).token_keys


async def test_missing_settings(program: Program) -> None:
    told(await program("run", env={"RECONCILER_DATABASE_URL": None}), CONFIGURATION, "RECONCILER_DATABASE_URL")
    nameless = {"RECONCILER_CRONOFY_CLIENT_ID": None, "RECONCILER_CRONOFY_CLIENT_SECRET": ""}
    told(await program("run", env=nameless), CONFIGURATION, *nameless)


async def test_a_setting_of_no_known_name_is_named_and_does_no_harm(program: Program) -> None:
    done = await program("run", env={"RECONCILER_GRACE_PERIOD": "15m"})
    assert done.code == 0
    assert [c for c in done.complaints if "RECONCILER_GRACE_PERIOD" in c]


async def test_a_secret_may_stand_in_a_file(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(program.settings["RECONCILER_DATABASE_URL"] + "\n")
    env = {"RECONCILER_DATABASE_URL": None, "RECONCILER_DATABASE_URL_FILE": str(file)}
    assert (await program("status", env=env)).code == 0


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--account", ""),
        ("run", "--account", '"nul\\u0000"'),
        ("run", "--event", '"\\ud83d"/"evt"'),
        ("run", "--account", b"acc_\xff"),
        ("run", "--reason", b"na\xefve"),
        ("run", "--event", "cal_1"),
        ("run", "--event", b"cal_1/\xff"),
        ("run", "--cause", "bad_luck"),
        ("run", "--starting-before", "tomorrow"),
        ("run", "--starting-after", "0001-01-01T00:00+14:00"),
        ("run", "--written-after", "9999-12-31T23:59-14:00"),
        ("run", "--max-duration", "soon"),
        ("run", "--max-duration", "-5m"),
        ("run", "--verify-after", "99999999999d"),
        ("explain", "cal_1", b"\xff"),
        ("explain", "cal_1"),
        ("explain", "cal_1/"),
        ("audit", "replay", "--run", "the-last-one"),
        ("report",),
        ("report", "--since", "1h", "--until", "2h"),
        ("simulate", "--port", "99999"),
        ("plan", "--dry-run"),
    ],
)
async def test_words_that_make_no_sense(program: Program, words: tuple[str | bytes, ...]) -> None:
    refused(await program(*words))


async def test_explain_knows_no_such_event(program: Program) -> None:
    told(await program("explain", "cal_1", "evt_1"), USAGE, "cal_1/evt_1")


async def test_a_demo_with_nowhere_to_write(program: Program) -> None:
    told(await program("demo", "--output", "/dev/null/x"), USAGE, "--output /dev/null/x")


async def test_a_replay_of_no_such_run(program: Program) -> None:
    told(await program("audit", "replay", "--run", str(UUID(int=1))), USAGE, "there is no run 00000000")


async def test_explain_still_tells_of_an_event_that_the_application_has_dropped(program: Program, town: Town) -> None:
    who = town.resident()
    event = who.event(who.connect(), link=True)
    town.move_in()
    await program("run")
    town.query("DELETE FROM reconciler.events")
    done = await program("explain", *event.key)
    assert done.code == 0, done
    assert "assigned" in done.out
    assert (await program("explain", "/".join(event.key))).out == done.out
    done = await program("explain", *event.key, "--json")
    assert [e["tag"] for e in done.json["entries"]] == ["event:judged"]


# ---------------------------------------------------------------- the application's rows


async def test_rows_that_make_no_sense_cost_only_themselves(program: Program, town: Town) -> None:
    who = town.resident()
    old = who.connect()
    healthy = town.resident()
    fine = healthy.event(healthy.connect(), link=True)
    bodies: dict[str, Any] = {
        "array": [1, 2],
        "string": "a body",
        "null": None,
        "number": 3,
        "of another event": {"event_id": "somebody-elses"},
        "of a number": {"event_id": 7},
        "without times": {},
        "of an unknown zone": {"tzid": "Mars/Olympus"},
    }
    odd = {}
    for name, body in bodies.items():
        planted = who.event(old, stuck=True)
        if isinstance(body, dict):
            whole = {**planted.row["body"], **body}
            if name == "without times":
                del whole["start"]
            if name == "of an unknown zone":
                whole |= {"start": "2030-01-01T09:00:00", "end": "2030-01-01T10:00:00"}
            planted.row["body"] = whole
        else:
            planted.row["body"] = body
        odd[name] = planted
    who.account.remove_conferencing_profile(old)
    new = who.connect()
    sound = who.event("pro_gone", stuck=True)
    stranger = town.resident(data_center="mars", name="Stranger")
    far = stranger.event(stranger.connect())
    orphan = who.event(old, account_id="acc_nobody")
    town.move_in()
    town.query("UPDATE reconciler.events SET body = 'null'::jsonb WHERE event_id = %s", odd["null"].row["event_id"])
    done = await program("run", "--json")
    assert done.code == PARTIAL, done.err
    assert "Traceback" not in done.err
    assert {(e["account_id"], e["kind"]) for e in done.json["errors"]} == {
        ("acc_nobody", "no_account"),
        (far.row["account_id"], "unknown_data_center"),
        (who.row["account_id"], "unusable_row"),
    }
    named = sorted(e["message"] for e in done.json["errors"] if e["kind"] == "unusable_row")
    assert named == sorted(
        f"reconciler.events: body {what} (event {odd[name].name})"
        for name, what in [
            *((name, "is not a JSON object") for name in ("array", "string", "null", "number")),
            ("of an unknown zone", "names a time zone that does not exist"),
        ]
    )
    states = town.states()
    assert states[fine.key]["cause"] == "assigned"
    assert sound.event.writes == [sound.asking_for(new)]
    for name, planted in odd.items():
        assert planted.event.writes == [], name
        assert states[planted.key]["cause"] == "profile_removed", name
        assert town.rows()[planted.key]["body"] == planted.row["body"], name
    assert orphan.key not in states
    assert town.world.violations == []


async def test_a_body_with_nonsense_for_conferencing_is_reported_and_not_tried_again_and_again(
    program: Program, town: Town
) -> None:
    who = town.resident()
    event = who.event("pro_gone", stuck=True)
    event.row["body"] = {**event.row["body"], "conferencing": "yes please"}
    who.connect()
    town.move_in()
    for _ in range(2):
        done = await program("run", "--json", *EVERYTHING)
        assert (done.code, done.json["errors"]) == (0, [])
    assert town.stories()[event.key] == ["event:judged"]
    assert event.event.writes == []


async def test_a_zone_that_does_not_exist_in_a_read_costs_that_event_alone(program: Program, town: Town) -> None:
    who = town.resident()
    zoom = who.connect()
    here, there = who.event(zoom, link=True), who.event(zoom, link=True)
    shown = [here.event.as_read(), there.event.as_read()]
    shown[1]["start"] = {"time": "2030-01-01T09:00:00", "tzid": "Mars/Olympus"}
    page = {"pages": {"current": 1, "total": 1}, "events": shown}
    town.world.faults.add(Fault("status", status=200, body=page, match_path="^/v1/events"))
    town.move_in()
    done = await program("run", "--json")
    assert done.code == PARTIAL
    assert done.json["causes"] == {"unreadable": 1, "assigned": 1}
    assert town.states().keys() == {here.key}


async def test_letters_that_postgres_does_not_take_cost_that_account_alone(program: Program, town: Town) -> None:
    who, other = town.resident(), town.resident()
    strange = who.event(who.connect("zoom", "Zo\x00om"), stuck=True)
    link = who.event("default")
    link.event.assign("https://zoom.example/j/\x00")
    fine = other.event(other.connect(), link=True)
    town.move_in()
    done = await program("run", "--json")
    assert done.code in {0, PARTIAL}, done.err
    assert "Traceback" not in done.err
    assert town.states()[fine.key]["cause"] == "assigned"
    assert done.json["requests"]["total"] == len(town.world.requests)
    assert strange.event.writes == []


async def test_a_database_that_goes_away_midway_is_one_clear_line(program: Program, town: Town, server: str) -> None:
    for _ in range(6):
        who = town.resident()
        who.event(who.connect(), link=True)
    town.move_in()
    town.world.settings.latency = 0.4
    running = await program.start("run", env={"RECONCILER_CONCURRENCY": "1"})
    await running.until(lambda: len(town.world.requests) >= 2)
    name = urlsplit(town.dsn).path.strip("/")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    done = await running.end()
    assert done.code in {STOPPED, UNREACHABLE}
    told(done, done.code, "Postgres cannot be reached", out=done.out)
    town.world.settings.latency = 0
    assert (await program("run")).code == 0
    assert set(town.causes().values()) == {"assigned"}
    assert town.query("SELECT run_id FROM reconciler.runs WHERE status = 'running'") == []


async def test_explain_says_why_no_run_will_look_at_an_event(program: Program, town: Town) -> None:
    who, parked = town.resident(), town.resident(state="parked", parked_reason="gone on holiday")
    zoom = who.connect()
    reasons: list[tuple[Planted, str | None]] = [
        (who.event(None), "it asks for no conferencing that Cronofy makes"),
        (who.event("none", starts_in=timedelta(days=1)), "it asks for no conferencing that Cronofy makes"),
        (who.event(zoom, starts_in=-timedelta(days=1)), "it has started"),
        (who.event(zoom, starts_in=timedelta(days=300)), "it starts further ahead than RECONCILER_HORIZON"),
        (parked.event("default"), "its account is parked (gone on holiday)"),
        (who.event(zoom), None),
    ]
    town.move_in()
    for event, reason in reasons:
        told = await program("explain", *event.key)
        assert told.code == 0, told
        assert [line for line in told.out.splitlines() if line.startswith("not due")] == (
            [f"not due: {reason}"] if reason else []
        )
