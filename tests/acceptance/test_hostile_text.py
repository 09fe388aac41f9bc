"""Texts from outside, and the streams they are written to: nothing raw is shown, and no stream costs the exit code."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from reconciler.simulator.faults import Fault
from tests.acceptance.program import DAYS_AGO, Program, Town

EVIL = "\x1b[31m\x9b1m\u202e\u2066\u200b\u2028"
FORGED = "\nrun 0: completed"
RAW = set(EVIL) - set("[31m")
USAGE = 2

IDS = [
    ("cal/1", "evt/2"),
    ("--cal", "-e"),
    ('"quoted"', "'single'"),
    ("line\nbreak", "tab\t\x07bell"),
    ("right\u202eleft", "\x9bzero\u200bwidth"),
    (" blank ", "\u00e9\u00c3\u00a9 \U0001f4c5"),
    ("back\\slash", "%2F?&#"),
]


def written(key: tuple[str, str]) -> str:
    return "/".join(json.dumps(part) for part in key)


async def test_every_id_that_the_database_holds_can_be_given_to_explain_and_run(program: Program, town: Town) -> None:
    planted = []
    for calendar_id, event_id in IDS:
        who = town.resident()
        calendar = who.profile.add_calendar(calendar_id)
        planted.append(who.event(who.connect(), calendar=calendar, event_id=event_id, link=True))
    plain = town.resident()
    other = plain.event(plain.connect(), link=True)
    town.move_in()
    events = [word for event in planted for word in ("--event", written(event.key))]
    done = await program("run", "--json", *events)
    assert done.code == 0, done.err
    assert set(town.states()) == {event.key for event in planted}
    for event in planted:
        told = await program("explain", "--json", "--", *map(json.dumps, event.key))
        assert told.code == 0, told.err
        assert (told.json["event"]["calendar_id"], told.json["event"]["event_id"]) == event.key
    told = await program("explain", "--", *IDS[1])
    assert told.out.startswith("--cal/-e\n"), told
    told = await program("explain", "/".join(IDS[0]))
    assert told.out.startswith("cal/1/evt/2\n"), told
    assert other.key not in town.states()
    done = await program("run", "--json", "--account", json.dumps(plain.account.account_id), "--event", other.name)
    assert done.json["causes"] == {"assigned": 1}


async def test_nothing_raw_and_no_forged_line_reaches_a_terminal(program: Program, town: Town) -> None:
    who = town.resident(f"Ada{EVIL}{FORGED}", customer=f"Nord{EVIL}{FORGED}", manager=f"Marta{EVIL}{FORGED}")
    calendar = who.profile.add_calendar(f"cal{EVIL}{FORGED}")
    old = who.connect(name=f"Zoom{EVIL}")
    event = who.event(old, calendar=calendar, event_id=f"evt{EVIL}{FORGED}", stuck=True)
    who.account.remove_conferencing_profile(old)
    who.account.add_conferencing_profile(f"zoom{EVIL}{FORGED}", profile_name=f"z{EVIL}")
    town.move_in()
    env = {"RECONCILER_LOG_FORMAT": "console"}
    said = [
        await program("plan", "-v", env=env),
        await program("run", "-v", "--json"),
        await program("status", "--json"),
        await program("explain", *map(json.dumps, event.key), env=env),
        await program("explain", *map(json.dumps, event.key), "--json"),
        await program("report", "--since", "1h", "--format", "csv"),
        await program("report", "--since", "1h", "--format", "html"),
        await program("explain", "cal", f"none{EVIL}{FORGED}"),
        await program("run", "--cause", f"none{EVIL}{FORGED}"),
        await program(f"none{EVIL}{FORGED}"),
    ]
    for done in said:
        assert "Traceback" not in done.err, done.err
        assert not RAW & set(done.out + done.err), done
        if not done.out.startswith("\ufeffkind,"):
            assert "run 0: completed" not in done.out.splitlines() + done.err.splitlines(), done
    assert [done.code for done in said] == [0, 0, 0, 0, 0, 0, 0, USAGE, USAGE, USAGE]
    assert (said[4].json["event"]["calendar_id"], said[4].json["event"]["event_id"]) == event.key


async def test_a_stdout_that_cannot_show_a_character_gets_an_escape(program: Program, town: Town) -> None:
    who = town.resident("Zażółć", customer="Łódź \U0001f4c5")
    event = who.event(who.connect(), link=True)
    town.move_in()
    told = await program("explain", *event.key, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, cold=True)
    assert told.code == 0, told
    assert r"\u017c" in told.out
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    "redirection, heard",
    [(">/dev/full", True), (">&-", True), (">&- 2>&-", False), (">/dev/full 2>/dev/full", False), ("| true", None)],
)
async def test_a_run_whose_output_cannot_be_written_ends_as_it_would(
    program: Program, town: Town, redirection: str, heard: bool | None
) -> None:
    who = town.resident()
    event = who.event(who.connect(), link=True)
    town.move_in()
    line = f'set -o pipefail; "$0" -m reconciler run -v --json {redirection}'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line, sys.executable, env=program.environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    assert out == b""
    if heard is not None:
        assert (b"could be written to standard output" in err) is heard, err
    assert town.states()[event.key]["cause"] == "assigned"
    assert town.query("SELECT status FROM reconciler.runs") == [{"status": "completed"}]


@pytest.mark.parametrize(
    "url, cause",
    [
        ("null", "unexplained"),
        ("about:blank", "unexplained"),
        ("javascript:alert(1)", "unexplained"),
        (" https://zoom.example/j/1 ", "assigned"),
    ],
)
async def test_a_join_url_that_leads_nowhere_is_no_link(program: Program, town: Town, url: str, cause: str) -> None:
    who = town.resident()
    event = who.event(who.connect(), stuck=True)
    event.event.set_conferencing({"pending": True, "join_url": url, "provider_name": "zoom"})
    town.move_in()
    assert (await program("run")).code == 0
    state = town.states()[event.key]
    assert (state["cause"], state["join_url"]) == (cause, url.strip() if cause == "assigned" else None)


async def test_a_join_url_that_nobody_should_follow_is_not_taken_for_none(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    event = who.event("pro_gone", age=DAYS_AGO, stuck=True)
    event.event.set_conferencing({"join_url": "https://zoom.us@evil.example/j", "provider_name": "zoom"})
    town.move_in()
    done = await program("run", "--json")
    assert (done.code, done.json["errors"][0]["kind"], event.event.writes) == (3, "event_malformed", []), done
    assert "evil" not in done.out + done.err


async def test_a_relink_address_elsewhere_is_not_handed_on_and_said_so(program: Program, town: Town) -> None:
    here, there = town.resident(), town.resident()
    profiles = [who.connect(connected=False) for who in (here, there)]
    for who, profile in zip((here, there), profiles, strict=True):
        who.event(profile, stuck=True)
    userinfo = relinked_elsewhere(profiles[1], there.account.account_id)
    town.world.faults.add(
        Fault("status", status=200, body=userinfo, match_path="^/v1/userinfo", account_id=there.account.account_id)
    )
    town.move_in()
    done = await program("run")
    assert done.code == 0, done
    urls = {notice["account_id"]: notice["relink_url"] for notice in town.notices()}
    assert urls[here.account.account_id].startswith("https://app.cronofy.com/")
    assert urls[there.account.account_id] is None
    assert "relink_withheld" in done.err
    assert "evil.example" not in done.err
    entries = town.query("SELECT account_id, after FROM reconciler.audit_entries WHERE tag = 'notice:queued'")
    withheld = {row["account_id"]: "not handed on" in str(row["after"].get("relink_url")) for row in entries}
    assert withheld == {here.account.account_id: False, there.account.account_id: True}


def relinked_elsewhere(profile_id: str, account_id: str) -> dict[str, object]:
    """A userinfo whose disconnected profile is relinked at somebody else's."""
    profile = {
        "profile_id": profile_id,
        "provider_name": "zoom",
        "profile_name": "z",
        "profile_connected": False,
        "profile_relink_url": "https://app.cronofy.com.evil.example/relink",
    }
    return {"sub": account_id, "cronofy.type": "userinfo", "cronofy.data": {"conferencing_profiles": [profile]}}


async def test_a_secret_file_that_is_no_text_is_one_line(program: Program, tmp_path: Path) -> None:
    binary = tmp_path / "secret"
    binary.write_bytes(b"\xff\xfe\x00secret")
    env = {"RECONCILER_CRONOFY_CLIENT_SECRET": None, "RECONCILER_CRONOFY_CLIENT_SECRET_FILE": str(binary)}
    done = await program("run", env=env)
    assert (done.code, len(done.complaints)) == (78, 1), done
    assert "RECONCILER_CRONOFY_CLIENT_SECRET_FILE" in done.complaints[0]
    done = await program("run", env={"RECONCILER_CRONOFY_CLIENT_SECRET": "a\udcff"})
    assert (done.code, len(done.complaints)) == (78, 1), done
    trailing = {"RECONCILER_CRONOFY_CLIENT_SECRET": "sim-secret\n", "RECONCILER_CRONOFY_CLIENT_ID": "sim-client\r\n"}
    assert (await program("run", env=trailing)).code == 0
