"""Bad days: a limit below the one configured, faults at random, accounts that are broken, a Cronofy that is away."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from reconciler.commands.working import too_slow
from reconciler.config import load_settings
from reconciler.simulator import Fault, Simulator, World
from tests.acceptance.program import DAYS_AGO, Done, Planted, Program, Resident, Town, fresh_database, settings_for

DONE, PARTIAL, STOPPED, UNREACHABLE = 0, 3, 5, 69
BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1"}


class Expected(dict[tuple[str, str], str]):
    """The right cause of each event."""

    def wrong(self, town: Town) -> dict[tuple[str, str], tuple[str, str | None]]:
        """What is on record otherwise, and as what."""
        causes = town.causes()
        return {key: (cause, causes.get(key)) for key, cause in self.items() if causes.get(key) != cause}


def people(town: Town, number: int, **columns: object) -> Expected:
    """People of four kinds in turn: linked, to be repaired, to be told, and waiting."""
    expected = Expected()

    def plant(event: Planted, cause: str) -> None:
        expected[event.key] = cause

    for n in range(number):
        who = town.resident(**columns)  # type: ignore[arg-type]
        zoom = who.connect(connected=n % 4 != 2)
        match n % 4:
            case 0:
                plant(who.event(zoom, link=True), "assigned")
            case 1:
                plant(who.event("pro_gone", age=DAYS_AGO, stuck=True), "profile_removed")
                plant(who.event("pro_gone", age=DAYS_AGO, stuck=True), "profile_removed")
            case 2:
                plant(who.event(zoom, age=DAYS_AGO, stuck=True), "profile_disconnected")
            case _:
                plant(who.event(zoom, age=timedelta(minutes=1), stuck=True), "settling")
    return expected


# ---------------------------------------------------------------- a limit below the one configured


async def on_a_tight_day(server: str, template: str, retry_after: str, granted: int, number: int) -> None:
    """40 a second are configured, far fewer granted."""
    world = World(seed=3)
    world.settings.change({"rate_per_second": granted, "rate_per_minute": 100_000, "retry_after": retry_after})
    with fresh_database(server, template) as dsn:
        async with Simulator(world) as cronofy:
            town = Town(world, dsn)
            expected = people(town, number)
            town.move_in()
            env = {"RECONCILER_RATE_PER_SECOND": "40", "RECONCILER_RATE_SHARE": "1", **BOLD}
            done = await Program(settings_for(dsn, cronofy.url))("run", "--json", env=env)
        assert done.code == DONE, done.err
        assert expected.wrong(town) == {}
    assert world.limits.refused == done.json["requests"]["refused"]
    assert world.limits.refused or granted > 10, "the limit was not met"
    assert world.limits.refused * 3 < len(world.requests)
    assert world.violations == []


async def test_a_limit_below_the_configured_one_costs_time_alone(server: str, template: str) -> None:
    async with asyncio.TaskGroup() as group:
        for form in ("seconds", "date"):
            group.create_task(on_a_tight_day(server, template, form, 10, 16))
        for form in ("none", "garbage"):  # every pause takes many seconds: no more is asked than meets the limit once
            group.create_task(on_a_tight_day(server, template, form, 19, 12))


@pytest.mark.parametrize(
    "per_second, per_minute, share, accounts, duration, words",
    [
        (50, 500, 0.5, 1000, None, None),
        (50, 500, 0.5, 1000, "50m", None),
        (50, 500, 0.5, 20_000, "50m", "20,000 due accounts take 80.0 min or more (this run ends after 50.0 min)"),
        (50, 500, 0.001, 2, None, "only 0.5 requests a minute are allowed"),
        (
            50,
            500,
            0.001,
            2,
            None,
            "raise RECONCILER_RATE_SHARE (now 0.001), or RECONCILER_RATE_PER_MINUTE (now 500) as far as",
        ),
        (0.02, 500, 1.0, 2000, None, "take 27.8 h or more: raise RECONCILER_RATE_PER_SECOND (now 0.02)"),
        (50, 2, 1.0, 3000, None, "take 25.0 h or more: raise RECONCILER_RATE_PER_MINUTE (now 2)"),
        (50, 500, 0.001, 0, None, None),
    ],
)
def test_what_an_allowance_is_too_small_for(
    per_second: float, per_minute: float, share: float, accounts: int, duration: str | None, words: str | None
) -> None:
    environment = {
        "RECONCILER_RATE_PER_SECOND": str(per_second),
        "RECONCILER_RATE_PER_MINUTE": str(per_minute),
        "RECONCILER_RATE_SHARE": str(share),
        "RECONCILER_MAX_DURATION": duration or "none",
    }
    settings = load_settings(environment)
    said = too_slow(settings, accounts, settings.max_duration)
    assert (said is None) if words is None else (words in (said or ""))


async def test_an_allowance_that_allows_no_progress_is_said_at_the_start(program: Program, town: Town) -> None:
    people(town, 3)
    town.move_in()
    env = {"RECONCILER_RATE_PER_MINUTE": "1", "RECONCILER_RATE_SHARE": "0.2"}
    running = await program.start("run", "--json", "--max-duration", "1m", env=env)
    await running.until(lambda: bool(town.world.requests))
    running.signal(signal.SIGKILL)
    done = await running.end()
    said = [line for line in done.complaints if "requests a minute" in line]
    assert len(said) == 1
    assert said[0] == done.complaints[0]
    assert "the 3 due accounts take 15.0 min or more (this run ends after 1.0 min)" in said[0]
    advice = "raise RECONCILER_RATE_SHARE (now 0.2), or RECONCILER_RATE_PER_MINUTE (now 1) as far as Cronofy grants"
    assert said[0].endswith(f"allow more time (--max-duration), or {advice}")


# ---------------------------------------------------------------- faults at random, and broken accounts


def at_random(world: World) -> None:
    """Three in twenty requests fail. What a lost answer of the token endpoint took with it nobody could know."""
    calls = "^/v1/"
    for fault in (
        Fault("status", status=500, probability=0.03, body={"error": "x"}),
        Fault("html", probability=0.03),
        Fault("status", status=503, probability=0.03, headers={"Retry-After": "1"}),
        Fault("reset", probability=0.03),
        Fault("reset", probability=0.03, match_path=calls, after_commit=True),
    ):
        world.faults.add(fault)


def broken(town: Town) -> list[Resident]:
    """Four people for whom Cronofy never answers well, among the first and among the last."""
    whose = []
    for n, kind in enumerate(("hang", "truncate", "html", "hang")):
        who = town.resident()
        soon = timedelta(hours=30 + n) if n < 2 else timedelta(days=100 + n)
        who.event(who.connect(), age=DAYS_AGO, starts_in=soon, stuck=True)
        town.world.faults.add(Fault(kind, account_id=who.account.account_id))  # type: ignore[arg-type]
        whose.append(who)
    return whose


async def test_a_bad_day_costs_the_broken_accounts_alone(program: Program, town: Town) -> None:
    world = town.world
    world.settings.rotate_refresh = True
    whose = broken(town)
    hidden = {who.planted[0].key for who in whose}
    expected = people(town, 40, token_expires_at=town.now - timedelta(hours=1))
    for who in town.residents[len(whose) :]:
        who.account.expire_token()
    town.move_in()
    at_random(world)
    done = await program("run", "--json", env={"RECONCILER_HTTP_TIMEOUT": "1s", **BOLD})
    assert done.code == PARTIAL, done.err
    summary = done.json
    failed = {error["account_id"] for error in summary["errors"]}
    unlucky = failed - {who.account.account_id for who in whose}
    assert failed >= {who.account.account_id for who in whose}
    assert len(unlucky) <= 2  # four failures in a row come, one call in two thousand
    assert summary["accounts"]["left"] == 0
    spared = Expected((k, c) for k, c in expected.items() if owner(town, k) not in unlucky)
    assert spared.wrong(town) == {}
    assert world.violations == []
    assert hidden.isdisjoint({key for key, row in town.states().items() if row["settled_at"]})
    assert_tokens_are_good(town)

    world.faults.clear()
    again = await program("run", "--json", "--starting-after", "1s", env=BOLD)
    assert again.code == DONE, again.err
    causes = town.causes()
    assert {causes[key] for key in hidden} == {"unexplained"}
    assert {r["profile_id"] for r in town.rows().values() if r["profile_id"] == "pro_gone"} == set()
    assert world.violations == []
    assert_tokens_are_good(town)


def owner(town: Town, key: tuple[str, str]) -> str:
    """Whose event it is."""
    return next(str(p.row["account_id"]) for p in town.planted if p.key == key)


def assert_tokens_are_good(town: Town) -> None:
    """What is stored is what Cronofy takes: a refresh ended every earlier one."""
    for row in town.query("SELECT account_id, refresh_token FROM reconciler.accounts"):
        account = town.world.accounts[row["account_id"]]
        assert row["refresh_token"] == account.refresh_token, row["account_id"]


async def test_a_hanging_account_holds_its_place_no_longer_than_its_timeouts(program: Program, town: Town) -> None:
    hanging = town.resident()
    hanging.event(hanging.connect(), age=DAYS_AGO, starts_in=timedelta(hours=30), stuck=True)
    town.world.faults.add(Fault("hang", account_id=hanging.account.account_id))
    expected = people(town, 4)
    town.move_in()
    done = await program("run", "--json", env={"RECONCILER_HTTP_TIMEOUT": "1s", "RECONCILER_CONCURRENCY": "1", **BOLD})
    assert done.code == PARTIAL, done.err
    assert [error["kind"] for error in done.json["errors"]] == ["timeout"]
    assert expected.wrong(town) == {}
    asked = town.world.requests
    vain = [request for request in asked if request.account_id == hanging.account.account_id]
    assert asked[:2] == vain  # two timeouts, then the next account's turn
    assert asked[2].arrived - asked[0].arrived < 5


async def test_broken_accounts_at_the_very_end_are_no_outage(program: Program, town: Town) -> None:
    expected = people(town, 4)
    for n in range(8):
        who = town.resident()
        who.event(who.connect(), age=DAYS_AGO, starts_in=timedelta(days=100 + n), stuck=True)
        kind = ("hang", "truncate", "html")[n % 3]
        town.world.faults.add(Fault(kind, account_id=who.account.account_id))  # type: ignore[arg-type]
    town.move_in()
    done = await program("run", "--json", env={"RECONCILER_HTTP_TIMEOUT": "1s", **BOLD})
    assert done.code == PARTIAL, done.err
    assert done.json["accounts"] == {"due": 12, "done": 4, "failed": 8, "parked": 0, "left": 0}
    assert expected.wrong(town) == {}


WRITE_ANSWERED = "Cronofy (127.0.0.1) answered 500 to POST /v1/calendars/CALENDAR_ID/events"


@pytest.mark.parametrize(
    "path, kind, message",
    [
        ("^/v1/events", "server_error", "Cronofy (127.0.0.1) answered 500 to GET /v1/events, 4 attempts"),
        ("^/v1/userinfo", "server_error", "Cronofy (127.0.0.1) answered 500 to GET /v1/userinfo, 4 attempts"),
        ("^/v1/calendars/", "write_in_doubt", f"whether a re-upsert was carried out is not known: {WRITE_ANSWERED}"),
    ],
)
async def test_what_failed_is_told_by_what_was_asked_and_how_often(
    program: Program, town: Town, path: str, kind: str, message: str
) -> None:
    people(town, 4)
    who = town.resident("Imke")
    who.connect()
    event = who.event("pro_gone", age=DAYS_AGO, stuck=True)
    town.move_in()
    account_id = who.account.account_id
    town.world.faults.add(Fault("status", status=500, body="private", account_id=account_id, match_path=path))
    done = await program("run", "--json", env=BOLD)
    assert done.code == PARTIAL, done
    assert done.json["errors"] == [{"account_id": account_id, "kind": kind, "message": message}]
    (left,) = [json.loads(line) for line in done.err.splitlines() if "account left" in line]
    assert (left["kind"], left["why"]) == (kind, message)
    story = (await program("explain", *event.key)).out
    assert f"trouble with its account: {kind}: {message}" in story
    town.world.faults.clear()
    assert (await program("run", "--json", env=BOLD)).code == DONE
    assert "trouble with its account" not in (await program("explain", *event.key)).out


# ---------------------------------------------------------------- Cronofy as a whole is away


@contextmanager
def away(world: World, how: str) -> Iterator[None]:
    """Nobody gets an answer to work with."""
    fault = {"503": Fault("status", status=503), "hang": Fault("hang"), "reset": Fault("reset")}[how]
    world.faults.add(fault)
    yield
    world.faults.clear()


async def test_nothing_listens(program: Program, town: Town) -> None:
    people(town, 40)
    town.move_in()
    done = await program("run", "--json", env={"RECONCILER_CRONOFY_URL": "http://127.0.0.1:9"})
    assert done.code == UNREACHABLE
    assert_all_is_still_due(town, done)


@pytest.mark.parametrize("how", ["503", "hang", "reset"])
async def test_nobody_gets_an_answer(program: Program, town: Town, how: str) -> None:
    expected = people(town, 40)
    town.move_in()
    with away(town.world, how):
        done = await program("run", "--json", env={"RECONCILER_HTTP_TIMEOUT": "1s"})
    assert done.code == UNREACHABLE, done.err
    assert_all_is_still_due(town, done)
    assert len(town.world.requests) <= 16 * 4
    assert (await program("run", "--json", env=BOLD)).code == DONE
    assert expected.wrong(town) == {}


def assert_all_is_still_due(town: Town, done: Done) -> None:
    """It says so in one line, and has recorded nothing of any event."""
    accounts = len(town.residents)
    assert len(done.complaints) == 1
    assert "RECONCILER_CRONOFY_URL" in done.complaints[0]
    assert done.json["accounts"] == {"due": accounts, "done": 0, "failed": 0, "parked": 0, "left": accounts}
    assert done.json["duration_seconds"] < 20
    assert town.causes() == {}


@pytest.mark.parametrize("how", ["503", "hang", "reset"])
async def test_it_goes_away_in_the_middle(program: Program, town: Town, how: str) -> None:
    expected = people(town, 60)
    town.move_in()
    town.world.settings.latency = 0.05
    env = {"RECONCILER_HTTP_TIMEOUT": "1s", "RECONCILER_CONCURRENCY": "8", **BOLD}
    running = await program.start("run", "--json", env=env)
    await running.until(lambda: sum(request.status is not None for request in town.world.requests) >= 20)
    with away(town.world, how):
        before = len(town.world.requests)
        done = await running.end()
        spent = len(town.world.requests) - before
    accounts = done.json["accounts"]
    assert done.code == STOPPED, done.err
    assert accounts["done"] > 0
    assert accounts["left"] > 30
    assert accounts["done"] + accounts["failed"] + accounts["left"] == 60
    assert spent <= 60
    assert "cannot be reached" in done.complaints[-1]
    town.world.settings.latency = 0
    again = await program("run", "--json", "--starting-after", "1s", env=BOLD)
    assert again.code == DONE, again.err
    repaired = {key for key, cause in expected.items() if cause == "profile_removed"}
    assert {key for key in expected.wrong(town) if key not in repaired} == set()
    assert all(row["profile_id"] != "pro_gone" for row in town.rows().values())
    assert town.world.violations == []


@pytest.mark.parametrize("events", [1, 3])
async def test_an_account_that_may_not_write_is_parked_until_the_person_authorises_again(
    program: Program, town: Town, events: int
) -> None:
    """Reading is allowed and writing is not: nothing else of the account's says so."""
    who = town.resident(scope="read_account list_calendars read_events")
    zoom = who.connect()
    planted = [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(events)]
    town.move_in()
    done = await program("run", "--json")
    assert done.code == 0, done
    assert done.json["accounts"] == {"due": 1, "done": 0, "failed": 0, "parked": 1, "left": 0}
    assert done.json["causes"] == {"account_unauthorized": events}
    (account,) = town.query("SELECT state, parked_reason FROM reconciler.accounts")
    assert account == {"state": "parked", "parked_reason": "403: scope or permission missing"}
    (notice,) = town.notices()
    assert (notice["kind"], notice["events_affected"]) == ("reauthorize_account", events)
    assert set(map(tuple, town.stories().values())) == {("repair:intended", "repair:unsent", "event:judged")}
    assert (await program("audit", "replay")).code == (await program("audit", "verify")).code == 0

    who.account.scope = "read_write"
    town.query("UPDATE reconciler.accounts SET state = 'active', access_token = %s", who.account.access_token)
    again = await program("run", "--json", "--starting-after", "0s")
    assert (again.code, again.json["outcomes"]["repaired"]) == (0, events), again
    assert town.notices() == []
    assert [event.event.writes[-1]["conferencing"]["profile_id"] for event in planted] == [zoom] * events
