"""The simulator's misbehaviour over real HTTP: rate limits, faults, latency, the way it is served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from reconciler.simulator import Fault, Settings, Simulator, World
from reconciler.simulator.server import serve
from tests.waiting import A_BUSY_MACHINE_S, until

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
async def world() -> World:
    made = World(settings=Settings(), now=NOW)
    account = made.add_account("acc_1", access_token="access", refresh_token="refresh")
    account.add_calendar_profile().add_calendar("cal_1")
    account.add_conferencing_profile(profile_id="pro_zoom")
    return made


@pytest.fixture
async def session(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    # A connection for each request: aiohttp repeats a GET by itself when a reused one breaks.
    connector = aiohttp.TCPConnector(force_close=True)
    headers = {"Authorization": "Bearer access"}
    async with (
        Simulator(world) as sim,
        aiohttp.ClientSession(base_url=sim.url, headers=headers, connector=connector) as made,
    ):
        yield made


def a_body(event_id: str = "e1") -> dict[str, Any]:
    return {
        "event_id": event_id,
        "summary": "Demo",
        "start": "2026-06-03T09:00:00Z",
        "end": "2026-06-03T10:00:00Z",
        "conferencing": {"profile_id": "pro_zoom"},
    }


async def status_of(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> int:
    async with session.request(method, path, **options) as response:
        await response.read()
        return response.status


async def upsert(session: aiohttp.ClientSession, event_id: str = "e1") -> int:
    return await status_of(session, "POST", "/v1/calendars/cal_1/events", json=a_body(event_id))


async def test_the_second_and_the_minute_are_both_enforced(world: World, session: aiohttp.ClientSession) -> None:
    world.settings.rate_per_second, world.settings.rate_per_minute = 3, 4
    assert [await status_of(session, "GET", "/v1/account") for _ in range(5)] == [200, 200, 200, 429, 429]
    assert (world.limits.peak_second, world.limits.refused) == (5, 2)
    assert world.requests[-1].status == 429
    world.settings.enforce_limits = False
    assert await status_of(session, "GET", "/v1/account") == 200
    assert world.limits.peak_minute == 6


@pytest.mark.parametrize("form", ["seconds", "date", "none", "garbage"])
async def test_a_refusal_has_an_empty_body_and_the_chosen_retry_after(
    world: World, session: aiohttp.ClientSession, form: Any
) -> None:
    world.settings.rate_per_second, world.settings.retry_after = 1, form
    await status_of(session, "GET", "/v1/account")
    async with session.get("/v1/account") as response:
        assert (response.status, await response.text()) == (429, "")
        given = response.headers.get("Retry-After")
    matches = {
        "seconds": given == "1",
        "date": bool(given and given.endswith("GMT")),
        "none": given is None,
        "garbage": given == "in a little while",
    }
    assert matches[form]


@pytest.mark.parametrize("counting, expected", [("entries", 429), ("one", 207)])
async def test_a_batch_costs_its_entries_or_one(
    world: World, session: aiohttp.ClientSession, counting: Any, expected: int
) -> None:
    world.settings.rate_per_second, world.settings.batch_cost = 2, counting
    batch = [{"method": "POST", "relative_url": "/v1/calendars/cal_1/events", "data": a_body(n)} for n in "abc"]
    assert await status_of(session, "POST", "/v1/batch", json={"batch": batch}) == expected
    assert len(world.events) == (3 if expected == 207 else 0)


async def test_token_requests_count_unless_switched_off(world: World, session: aiohttp.ClientSession) -> None:
    world.settings.rate_per_second, world.settings.count_token = 1, False
    for _ in range(3):
        assert await status_of(session, "POST", "/oauth/token", json={}) == 400
    world.settings.count_token = True
    assert await status_of(session, "POST", "/oauth/token", json={}) == 400
    assert await status_of(session, "POST", "/oauth/token", json={}) == 429
    assert [record.cost for record in world.requests] == [0, 0, 0, 1, 1]


async def test_a_status_fault_strikes_before_or_after_the_commit(world: World, session: aiohttp.ClientSession) -> None:
    world.faults.add(Fault(kind="status", status=503, headers={"Retry-After": "7"}, times=1))
    world.faults.add(Fault(kind="status", body={"oops": 1}, times=1, after_commit=True))
    async with session.post("/v1/calendars/cal_1/events", json=a_body("lost")) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
    async with session.post("/v1/calendars/cal_1/events", json=a_body("kept")) as response:
        assert (response.status, await response.json()) == (500, {"oops": 1})
    assert await upsert(session) == 202
    assert [key[1] for key in world.events] == ["kept", "e1"]


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_reset_breaks_the_connection(
    world: World, session: aiohttp.ClientSession, after_commit: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world.faults.add(Fault(kind="reset", after_commit=after_commit, times=1))
    with pytest.raises(aiohttp.ClientConnectionError):
        await upsert(session)
    assert (("cal_1", "e1") in world.events) is after_commit
    assert world.requests[-1].status is None
    assert caplog.text == ""


async def test_a_truncated_answer_promises_more_than_it_gives(world: World, session: aiohttp.ClientSession) -> None:
    world.faults.add(Fault(kind="truncate", times=2))
    for method, path in (("GET", "/v1/userinfo"), ("POST", "/v1/calendars/cal_1/events")):
        with pytest.raises(aiohttp.ClientPayloadError):
            await status_of(session, method, path, json=a_body())
    assert ("cal_1", "e1") in world.events


async def test_html_comes_with_any_status(world: World, session: aiohttp.ClientSession) -> None:
    world.faults.add(Fault(kind="html", times=1))
    world.faults.add(Fault(kind="html", status=200, body="<p>Hello</p>"))
    for status, text in ((502, "Sorry"), (200, "<p>Hello</p>")):
        async with session.get("/v1/userinfo") as response:
            assert (response.status, response.content_type) == (status, "text/html")
            assert text in await response.text()


async def test_a_delay_is_real_and_the_write_takes_effect_though_the_client_left(
    world: World, session: aiohttp.ClientSession
) -> None:
    world.faults.add(Fault(kind="delay", delay=0.15, times=2))
    started = time.monotonic()
    assert await status_of(session, "GET", "/v1/account") == 200
    assert time.monotonic() - started >= 0.15
    leaving = asyncio.create_task(upsert(session, "e1"))
    await until(lambda: len(world.requests) > 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await until(lambda: ("cal_1", "e1") in world.events)


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_held_request_goes_on_when_the_fault_is_lifted(
    world: World, session: aiohttp.ClientSession, after_commit: bool
) -> None:
    fault = world.faults.add(Fault(kind="hold", match_path="/events$", after_commit=after_commit))
    waiting = [asyncio.create_task(upsert(session, event_id)) for event_id in ("e1", "e2")]
    await until(lambda: fault.held == len(waiting))
    assert (len(world.events), [task.done() for task in waiting]) == (2 * after_commit, [False, False])
    assert (await (await session.get("/control/state")).json())["faults"][0]["held"] == 2
    assert await status_of(session, "DELETE", "/control/faults") == 200
    assert await asyncio.gather(*waiting) == [202, 202]
    assert (len(world.events), fault.held) == (2, 0)
    assert await upsert(session, "e3") == 202


@pytest.mark.parametrize("kind", ["hang", "hold"])
async def test_a_hanging_request_never_ends_and_does_not_hold_up_the_end(
    world: World, kind: Literal["hang", "hold"]
) -> None:
    world.faults.add(Fault(kind=kind, after_commit=True))
    headers = {"Authorization": "Bearer access"}
    async with asyncio.timeout(A_BUSY_MACHINE_S):
        async with Simulator(world) as sim, aiohttp.ClientSession(sim.url, headers=headers) as session:
            waiting = asyncio.create_task(upsert(session, "e1"))
            await until(lambda: ("cal_1", "e1") in world.events)
    assert not (waiting.done() and waiting.exception() is None), "it was never answered"


async def test_a_dropped_write_is_acknowledged_and_forgotten(world: World, session: aiohttp.ClientSession) -> None:
    account = world.accounts["acc_1"]
    event = world.write_event(account, "cal_1", a_body("old"))
    world.faults.add(Fault(kind="drop_write", match_path="/events$"))
    changed = a_body("old") | {"summary": "New"}
    assert await status_of(session, "POST", "/v1/calendars/cal_1/events", json=changed) == 202
    assert await status_of(session, "DELETE", "/v1/calendars/cal_1/events", json={"event_id": "old"}) == 202
    assert await upsert(session, "new") == 202
    assert (event.body["summary"], event.deleted) == ("Demo", False)
    assert event.writes == [changed]
    assert ("cal_1", "new") not in world.events


async def test_faults_aim_at_paths_accounts_and_batch_entries(world: World, session: aiohttp.ClientSession) -> None:
    world.faults.add(Fault(kind="status", status=500, account_id="acc_2"))
    world.faults.add(Fault(kind="status", status=404, match_path="^/v1/user"))
    assert await status_of(session, "GET", "/v1/userinfo") == 404
    assert await status_of(session, "GET", "/v1/account") == 200
    world.faults.clear()
    world.faults.add(
        Fault(kind="status", status=429, headers={"Retry-After": "1"}, body={}, match_path="^/v1/cal", times=1)
    )
    world.faults.add(Fault(kind="drop_write", match_path="^/v1/calendars", times=1))
    world.faults.add(Fault(kind="status", match_path="^/v1/calendars", times=1))
    batch = [{"method": "POST", "relative_url": "/v1/calendars/cal_1/events", "data": a_body(n)} for n in "abcd"]
    async with session.post("/v1/batch", json={"batch": batch}) as response:
        rows = (await response.json())["batch"]
    assert rows[0] == {"status": 429, "headers": {"Retry-After": "1"}, "data": {}}
    assert [row["status"] for row in rows[1:]] == [202, 500, 202]
    assert [key[1] for key in world.events] == ["d"]


async def test_chance_is_seeded() -> None:
    async def struck(seed: int) -> list[int]:
        world = World(seed=seed)
        world.add_account(access_token="access")
        world.faults.add(Fault(kind="status", probability=0.5))
        async with (
            Simulator(world) as sim,
            aiohttp.ClientSession(sim.url, headers={"Authorization": "Bearer access"}) as session,
        ):
            return [await status_of(session, "GET", "/v1/account") for _ in range(20)]

    first, second, other = [await struck(seed) for seed in (1, 1, 2)]
    assert first == second != other
    assert set(first) == {200, 500}


async def test_latency_is_felt(world: World, session: aiohttp.ClientSession) -> None:
    world.settings.latency = 0.1
    started = time.monotonic()
    await status_of(session, "GET", "/v1/account")
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", ""])  # noqa: S104 - refused
def test_only_loopback_is_served(world: World, host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        Simulator(world, host=host)


@pytest.mark.parametrize("host", ["localhost", "::1"])
async def test_other_names_of_loopback_are_served(world: World, host: str) -> None:
    try:
        async with Simulator(world, host=host) as sim, aiohttp.ClientSession() as session:
            assert await status_of(session, "GET", sim.url + "/control/state") == 200
    except OSError:
        pytest.skip("no IPv6 here")


async def test_a_port_in_use_is_an_error_and_leaves_nothing_behind(world: World) -> None:
    async with Simulator(world) as sim:
        port = int(sim.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="address"):
            await Simulator(World(), port=port).__aenter__()


async def test_serve_prints_its_url_and_runs_until_cancelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = tmp_path / "scene.json"
    scene.write_text(json.dumps({"accounts": [{"name": "佐藤", "access_token": "access"}]}), encoding="utf-8")
    task = asyncio.create_task(serve(scene_path=scene, settings=Settings(page_size=5)))
    url = ""
    while not url:
        await asyncio.sleep(0.01)
        assert not task.done()
        url = capsys.readouterr().out.strip()
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer access"}) as session:
        assert await status_of(session, "GET", url + "/v1/account") == 200
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with pytest.raises(ValueError, match="loopback"):
        await serve(host="0.0.0.0")  # noqa: S104 - refused


async def test_serve_without_a_scene_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    task = asyncio.create_task(serve(seed=5))
    url = ""
    while not url:
        await asyncio.sleep(0.01)
        assert not task.done()
        url = capsys.readouterr().out.strip()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert url.startswith("http://127.0.0.1:")


def test_a_repair_written_a_while_ago_needs_a_valid_body(world: World) -> None:
    account = world.accounts["acc_1"]
    with pytest.raises(ValueError, match="no valid upsert body"):
        world.write_event(account, "cal_1", {"event_id": "x"}, NOW - timedelta(hours=1))
    with pytest.raises(KeyError):
        world.write_event(account, "cal_2", a_body())
    with pytest.raises(KeyError):
        world.add_external_event(account, "cal_2", start=NOW, end=NOW)
