"""No token, secret, relink URL, join URL, body or address in anything it prints or keeps for the books."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from reconciler.simulator import Simulator, World
from reconciler.simulator.faults import Fault
from tests.acceptance.program import FOR_EVER, Done, Program, Resident, Town, fresh_database, settings_for

SECRET = "MARK-client-secret"
MARK = "MARK"
JOIN = "https://MARK-join.example/j/1"
ADDRESS = "mark-person"


@dataclass
class Watched:
    """Everything that several bad days printed."""

    town: Town
    program: Program
    printed: list[tuple[str, Done]]


def resident(town: Town, name: str, **columns: Any) -> Resident:
    """Somebody whose every secret holds the mark."""
    account = town.world.add_account(
        name=name,
        email=f"{ADDRESS}-{name}@town.example",
        access_token=f"MARK-access-{name}",
        refresh_token=f"MARK-refresh-{name}",
    )
    profile = account.add_calendar_profile("google")
    row = {
        "account_id": account.account_id,
        "access_token": account.access_token,
        "refresh_token": account.refresh_token,
        "name": name,
        "email": account.email,
        "customer": "Nordlicht GmbH",
        "account_manager": "Marta Kowalczyk",
        **columns,
    }
    made = Resident(town, account, profile, profile.add_calendar(), row)
    town.residents.append(made)
    return made


BODY = {"summary": "MARK summary", "description": "MARK description", "location": {"description": "MARK place"}}


def build(town: Town) -> None:
    """One person for each way in which a secret might get out."""
    linked = resident(town, "linked")
    linked.event(linked.connect("zoom"), body=BODY).event.assign(JOIN)
    repaired = resident(town, "repaired")
    moved = repaired.event("pro_gone", body=BODY, stuck=True)
    later = moved.event.starts_at + timedelta(days=1)
    moved.event.move_by_user(later, later + timedelta(hours=1))
    for _ in range(2):
        repaired.event("pro_gone", body=BODY, stuck=True)
    repaired.connect("zoom")
    relink = resident(town, "relink")
    relink.event(relink.connect("zoom", connected=False), body=BODY)
    calendar = resident(town, "calendar")
    calendar.event(calendar.connect(), body=BODY)
    calendar.profile.connected = False
    revoked = resident(town, "revoked")
    revoked.event(revoked.connect(), body=BODY)
    revoked.account.revoke()
    expired = resident(town, "expired", token_expires_at=town.now - timedelta(hours=1))
    expired.event(expired.connect(), link=True)
    expired.account.expire_token()
    pending = resident(town, "pending")
    pending.event(pending.connect(), body=BODY, stuck=True)
    rejected = resident(town, "rejected")
    rejected.event("pro_gone", body=BODY, stuck=True)
    rejected.connect("zoom")
    said = {"summary": [{"key": "errors.MARK invalid", "description": "MARK description of a body"}]}
    town.world.faults.add(
        Fault(
            "status",
            status=422,
            body={"errors": said},
            account_id=rejected.account.account_id,
            match_path="^/v1/calendars/",
        )
    )
    echoes(town)


def echoes(town: Town) -> None:
    """Answers that repeat what they were asked, or lead elsewhere."""
    echo = {"error": "MARK-access-echo MARK-refresh-echo", "authorization": "Bearer MARK-access-echo", "join_url": JOIN}
    for number, fault in enumerate(
        (
            Fault("status", status=500, body=echo, match_path="^/v1/"),
            Fault("status", status=400, body={"error": "MARK token error"}, match_path="^/oauth/"),
            Fault("html", status=404, body="<h1>MARK-access-3</h1>", match_path="^/v1/userinfo"),
            Fault("status", status=302, headers={"Location": "https://MARK.example/"}, match_path="^/v1/events"),
            Fault("status", status=403, body="MARK forbidden", match_path="^/v1/events"),
            Fault("status", status=422, body={"errors": {"tzid": [{"key": "MARK key"}]}}, match_path="^/v1/events"),
            Fault("truncate", match_path="^/v1/events"),
            Fault("reset", match_path="^/v1/events"),
            Fault("status", status=200, body={"MARK": 1}, match_path="^/v1/events"),
            Fault("status", status=200, body="MARK no json", match_path="^/v1/userinfo"),
            Fault("status", status=200, body=_page("https://MARK.example/p?t=MARK"), match_path="^/v1/events"),
            Fault("status", status=200, body=_page("MARK\r\nX-Evil: MARK"), match_path="^/v1/events"),
        )
    ):
        who = resident(town, f"echo{number}")
        who.event(who.connect(), body=BODY, stuck=True)
        if fault.match_path == "^/oauth/":
            who.row["token_expires_at"] = town.now - timedelta(hours=1)
            who.account.expire_token()
        fault.account_id = who.account.account_id
        town.world.faults.add(fault)


def _page(next_page: str) -> dict[str, Any]:
    return {"pages": {"next_page": next_page}, "events": []}


def assert_nothing_secret_is_printed(watched: Watched) -> None:
    for words, done in watched.printed:
        for text in (done.out, done.err):
            assert MARK not in text, (words, _around(text, MARK))
            assert "relink/" not in text, words


def assert_no_address_is_printed_by_a_run(watched: Watched) -> None:
    for words, done in watched.printed:
        if not words.startswith("explain"):
            assert ADDRESS not in done.out + done.err, words


def _around(text: str, mark: str) -> str:
    at = text.find(mark)
    return text[max(0, at - 200) : at + 100]


def assert_no_failure_ended_in_a_traceback(watched: Watched) -> None:
    for words, done in watched.printed:
        assert "Traceback" not in done.err, words
        assert done.code != 1, words
    codes = {words: done.code for words, done in watched.printed}
    assert codes["run -v --json"] == 3, dict(watched.printed)["run -v --json"]


def assert_the_log_lines_of_a_run_are_json_objects(watched: Watched) -> None:
    done = dict(watched.printed)["run -v --json"]
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert len(lines) > 20
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)


def assert_the_books_hold_no_secret(watched: Watched) -> None:
    for relation in (
        "audit_entries", "runs", "run_units", "run_held", "plans", "plan_items", "incidents", "known_profiles",
        "request_budget",
        "request_slots",
    ):  # fmt: skip
        for row in watched.town.query(f"SELECT r::text AS text FROM reconciler.{relation} r"):  # noqa: S608
            assert MARK not in row["text"], (relation, _around(row["text"], MARK))
            assert "relink/" not in row["text"], relation
    assert watched.town.query("SELECT 1 FROM reconciler.audit_entries WHERE tag = 'repair:applied'")


def assert_links_stay_where_they_belong(watched: Watched) -> None:
    (linked,) = watched.town.query("SELECT join_url FROM reconciler.event_states WHERE join_url LIKE %s", f"%{MARK}%")
    assert linked["join_url"] == JOIN
    relinks = watched.town.query("SELECT kind FROM reconciler.notices WHERE relink_url IS NOT NULL ORDER BY kind")
    assert [n["kind"] for n in relinks] == ["relink_calendar", "relink_conferencing"]


def assert_no_bearer_token_left_for_another_origin(watched: Watched) -> None:
    assert watched.town.world.violations == []


async def test_nothing_secret_leaves_it_on_its_worst_days(server: str, template: str) -> None:
    world = World(seed=5)
    world.settings.rate_per_second, world.settings.rate_per_minute = 100_000, 1_000_000
    world.settings.client_secret = SECRET
    with fresh_database(server, template) as dsn:
        async with Simulator(world) as cronofy:
            town = Town(world, dsn)
            build(town)
            town.move_in()
            loud = {
                "RECONCILER_CRONOFY_CLIENT_SECRET": SECRET,
                "RECONCILER_LOG_LEVEL": "debug",
                "RECONCILER_MAX_REPAIR_SHARE": "1",
            }
            program = Program(settings_for(dsn, cronofy.url) | loud)
            printed: list[tuple[str, Done]] = []

            async def keep(*words: str, **env: str) -> None:
                printed.append((" ".join(words), await program(*words, env=env)))

            await keep("plan", "-v")
            await keep("run", "-v", "--json", RECONCILER_LOG_FORMAT="json")
            world.advance(60)
            await keep("run", "-v", "--starting-after", "0s", "--recheck-assigned", RECONCILER_LOG_FORMAT="console")
            await keep("run", RECONCILER_CRONOFY_URL=f"{cronofy.url}/nowhere?x=MARK")
            await keep("run", RECONCILER_CRONOFY_URL="http://MARK.example")
            await keep("run", "--starting-after", "0s", RECONCILER_TOKEN_KEYS="MARK-key")
            await keep("audit", "replay", "--json")
            await keep("explain", *town.planted[0].key, "--json")
            await keep("explain", *town.planted[1].key)
            watched = Watched(town, program, printed)
            for assert_so in (
                assert_no_failure_ended_in_a_traceback,
                assert_nothing_secret_is_printed,
                assert_no_address_is_printed_by_a_run,
                assert_the_log_lines_of_a_run_are_json_objects,
                assert_the_books_hold_no_secret,
                assert_links_stay_where_they_belong,
                assert_no_bearer_token_left_for_another_origin,
            ):
                assert_so(watched)


async def test_a_failure_nobody_thought_of_tells_no_secret_either(program: Program, town: Town) -> None:
    for _ in range(3):
        who = resident(town, f"unthought{len(town.residents)}")
        who.event(who.connect(), body=BODY, stuck=True).event.delay_generation(FOR_EVER)
    town.move_in()
    town.query("ALTER TABLE reconciler.event_states ADD CHECK (account_id = 'MARK-nobody')")
    done = await program("run", "--json", env={"RECONCILER_LOG_LEVEL": "debug"})
    assert done.code == 3, done
    assert [e["kind"] for e in done.json["errors"]] == ["internal"] * 3
    assert MARK not in done.out + done.err
    assert "CheckViolationError" in done.json["errors"][0]["message"]
    town.query("ALTER TABLE reconciler.event_states DROP CONSTRAINT event_states_account_id_check")
    assert (await program("run", "--json")).json["accounts"]["done"] == 3
