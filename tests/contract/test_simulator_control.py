"""The control routes over real HTTP, and the documentation of them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import pytest

from reconciler.simulator import Settings, Simulator, World, load_scene
from reconciler.simulator.control import add_routes

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DOCUMENT = Path(__file__).parents[2] / "docs" / "simulator.md"

_FATES: list[tuple[str, str, dict[str, Any]]] = [
    ("waiting", "-5m", {"conferencing": {"pending": True}}),
    ("linked", "-5m", {"assigned": True}),
    ("deleted", "-5m", {"deleted": True}),
    ("forgotten", "-5m", {"forgotten": True}),
    ("moved", "2026-06-01T08:00:00Z", {"moved": {"start": "+3d", "end": "+73h"}}),
]
SCENE: dict[str, Any] = {
    "settings": {"page_size": 50},
    "outages": ["go_to"],
    "faults": [{"kind": "status", "status": 503, "match_path": "^/v1/profiles"}],
    "accounts": [
        {
            "account_id": "acc_1",
            "name": "Zoë Müller",
            "email": "zoe@example.com",
            "access_token": "access",
            "refresh_token": "refresh",
            "calendar_profiles": [{"provider_name": "google", "calendars": [{"calendar_id": "cal_1"}]}],
            "conferencing_profiles": [
                {"provider_name": "zoom", "profile_id": "pro_zoom"},
                {"provider_name": "go_to", "profile_id": "pro_goto"},
            ],
            "events": [
                {"calendar_id": "cal_1", "written_at": written, "body": {"event_id": name, "summary": name}, **more}
                for name, written, more in _FATES
            ],
        }
    ],
}
for _row in SCENE["accounts"][0]["events"]:
    _row["body"] |= {"start": "+2d", "end": "+49h", "conferencing": {"profile_id": "pro_goto"}}
SCENE["accounts"][0]["events"] += [
    {"calendar_id": "cal_1", "body": {"summary": "Dentist", "start": "+1h", "end": "+2h"}, "external": True}
]


@pytest.fixture
async def world() -> World:
    return World(now=NOW)


@pytest.fixture
async def session(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": "Bearer access"}
    async with Simulator(world) as sim, aiohttp.ClientSession(sim.url, headers=headers) as made:
        yield made


async def send(session: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with session.request(method, f"/control/{path}", json=body) as response:
        return response.status, await response.json()


async def conferencing(session: aiohttp.ClientSession, event_id: str) -> Any:
    query = {"tzid": "Etc/UTC", "only_managed": "true", "include_deleted": "true"}
    async with session.get("/v1/events", params=query) as response:
        listed = {event["event_id"]: event for event in (await response.json())["events"]}
    return listed.get(event_id, {}).get("conferencing", "absent")


async def test_a_scene_replaces_the_world_and_is_what_clients_see(world: World, session: aiohttp.ClientSession) -> None:
    world.add_account("acc_old")
    assert await send(session, "PUT", "scene", SCENE) == (200, {"accounts": 1, "events": 5})
    assert world.accounts.keys() == {"acc_1"}
    assert await conferencing(session, "waiting") == {"pending": True}
    assert (await conferencing(session, "linked"))["provider_name"] == "go_to"
    assert await conferencing(session, "forgotten") == "absent"
    assert world.event("cal_1", "moved").start.render() == "2026-06-04T12:00:00Z"
    assert world.event("cal_1", "deleted").deleted
    assert world.outages == {"go_to"}
    async with session.get("/v1/profiles") as response:
        assert response.status == 503


async def test_state_counts_and_hides_the_secret(session: aiohttp.ClientSession) -> None:
    await send(session, "PUT", "scene", SCENE)
    async with session.get("/v1/events?tzid=Etc/UTC&oops=1") as response:
        assert response.status == 200
    status, state = await send(session, "GET", "state")
    assert status == 200
    assert (state["accounts"], state["events"], state["assigned"], state["links_made"]) == (1, 5, 1, 1)
    assert (state["peak_second"], state["peak_minute"], state["refused"], state["requests"]) == (1, 1, 0, 1)
    assert state["violations"] == ["unknown query parameter oops"]
    assert state["settings"]["client_secret"] == "[redacted]"
    assert state["faults"][0]["kind"] == "status"
    assert state["now"].startswith("2026-06-01T12:00:")


async def test_requests_can_be_read_and_forgotten(session: aiohttp.ClientSession) -> None:
    async with session.get("/v1/userinfo") as response:
        assert response.status == 401
    (record,) = (await send(session, "GET", "requests"))[1]["requests"]
    assert (record["kind"], record["status"], record["query"]) == ("userinfo", 401, [])
    assert await send(session, "DELETE", "requests") == (200, {"ok": True})
    assert (await send(session, "GET", "requests"))[1] == {"requests": []}


@pytest.mark.parametrize("request_line", ["PUT scene", "DELETE record"])
async def test_a_new_scene_and_a_new_record_start_from_nothing(
    world: World, session: aiohttp.ClientSession, request_line: str
) -> None:
    await send(session, "PUT", "scene", SCENE)
    world.settings.rate_per_second, world.settings.rate_per_minute = 2, 2

    async def ask() -> list[int]:
        return [(await session.get("/v1/events?tzid=Etc/UTC&oops=1")).status for _ in range(3)]

    assert await ask() == [200, 200, 429]
    method, path = request_line.split()
    assert (await send(session, method, path, SCENE if path == "scene" else None))[0] == 200
    _, state = await send(session, "GET", "state")
    assert (state["requests"], state["refused"], state["violations"]) == (0, 0, [])
    assert (state["peak_second"], state["peak_minute"], state["events"]) == (0, 0, 5)
    assert await ask() == [200, 200, 429]


async def test_time_outages_and_profiles_decide_when_a_link_comes(session: aiohttp.ClientSession) -> None:
    await send(session, "PUT", "scene", SCENE)
    body = SCENE["accounts"][0]["events"][0]["body"] | {
        "event_id": "new",
        "start": "2026-06-05T09:00:00Z",
        "end": "2026-06-05T10:00:00Z",
    }
    async with session.post("/v1/calendars/cal_1/events", json=body) as response:
        assert response.status == 202
    assert (await send(session, "POST", "clock", {"advance": 5}))[1]["now"].startswith("2026-06-01T12:00:")
    assert await conferencing(session, "new") == {"pending": True}
    await send(session, "POST", "accounts/acc_1/profiles/pro_goto", {"connected": False})
    await send(session, "POST", "outage", {"provider": "go_to", "on": False})
    await send(session, "POST", "clock", {"advance": 600})
    assert await conferencing(session, "new") == {"pending": True}
    await send(session, "POST", "accounts/acc_1/profiles/pro_goto", {"connected": True})
    await send(session, "POST", "clock", {"advance": 3600})
    await send(session, "POST", "accounts/acc_1", {"action": "authorize"})
    assert (await send(session, "DELETE", "accounts/acc_1/profiles/pro_goto")) == (200, {"ok": True})


async def test_events_can_be_meddled_with(world: World, session: aiohttp.ClientSession) -> None:
    await send(session, "PUT", "scene", SCENE)

    async def meddle(action: str, **more: Any) -> Any:
        named = {"calendar_id": "cal_1", "event_id": "waiting", "action": action}
        status, answer = await send(session, "POST", "events", named | more)
        assert status == 200, answer
        return answer

    assert (await meddle("assign", join_url="https://x.example"))["conferencing"] == {
        "provider_name": "go_to",
        "join_url": "https://x.example",
    }
    assert (await meddle("clear"))["conferencing"] is None
    assert (await meddle("conferencing", value={}))["conferencing"] == {}
    assert (await meddle("move", start="+1d", end="2026-06-02T13:00:00Z"))["end"] == "2026-06-02T13:00:00Z"
    assert (await meddle("delete"))["deleted"] is True
    await meddle("forget")
    assert world.event("cal_1", "waiting").forgotten
    await meddle("stall", seconds=60)


async def test_accounts_can_be_meddled_with(world: World, session: aiohttp.ClientSession) -> None:
    await send(session, "PUT", "scene", SCENE)
    account = world.accounts["acc_1"]
    seen = []
    for action in ("revoke", "authorize", "expire_token", "lose_licence", "restore_licence"):
        assert await send(session, "POST", "accounts/acc_1", {"action": action}) == (200, {"ok": True})
        alive = world.tokens.bearer(account.access_token) is not None
        seen.append((account.revoked, alive, account.licence))
    assert seen == [
        (True, False, True),
        (False, True, True),
        (False, False, True),
        (False, False, False),
        (False, False, True),
    ]
    assert account.access_token != "access"


async def test_faults_and_settings_change_at_run_time(world: World, session: aiohttp.ClientSession) -> None:
    assert await send(session, "POST", "faults", {"kind": "html", "times": 1}) == (200, {"faults": 1})
    assert (await send(session, "DELETE", "faults"))[0] == 200
    assert world.faults.active == []
    changes = {"rate_per_second": 7, "retry_schedule": [5, 10]}
    assert (await send(session, "POST", "settings", changes))[1] == {"changed": ["rate_per_second", "retry_schedule"]}
    assert (world.settings.rate_per_second, world.settings.retry_schedule) == (7, (5, 10))


@pytest.mark.parametrize(
    "request_line, body, status",
    [
        ("POST settings", {"rate_window": "round"}, 400),
        ("POST settings", {"speed": 1}, 400),
        ("POST faults", {"kind": "gremlin"}, 400),
        ("POST faults", {"kind": "status", "match_path": "("}, 400),
        ("POST faults", {"sort": "status"}, 400),
        ("POST clock", {"advance": -1}, 400),
        ("POST clock", {}, 400),
        ("POST clock", [1], 400),
        ("PUT scene", {"acounts": []}, 400),
        ("PUT scene", {"accounts": [{"access_token": "CRN_marker"}]}, 400),
        ("PUT scene", {"accounts": [{"account_id": "a"}, {"account_id": "a"}]}, 400),
        ("PUT scene", {"accounts": [{"events": [{"calendar_id": "c"}]}]}, 400),
        ("POST events", {"calendar_id": "c", "event_id": "e", "action": "assign"}, 404),
        ("POST accounts/nobody", {"action": "revoke"}, 404),
        ("POST accounts/acc_1", {"action": "promote"}, 400),
        ("POST accounts/acc_1/profiles/pro_no", {"connected": True}, 404),
        ("DELETE accounts/acc_1/profiles/pro_no", None, 404),
    ],
    ids=str,
)
async def test_nonsense_is_answered_with_an_error(
    world: World, session: aiohttp.ClientSession, request_line: str, body: Any, status: int
) -> None:
    world.add_account("acc_1")
    method, path = request_line.split()
    answered, answer = await send(session, method, path, body)
    assert answered == status
    assert answer["error"]
    assert "marker" not in json.dumps(answer)


async def test_unknown_actions_and_bad_json_are_errors(session: aiohttp.ClientSession) -> None:
    await send(session, "PUT", "scene", SCENE)
    named = {"calendar_id": "cal_1", "event_id": "linked", "action": "explode"}
    assert (await send(session, "POST", "events", named))[0] == 400
    async with session.post("/control/clock", data=b"{nonsense") as response:
        assert response.status == 400


def test_the_reference_names_every_route_and_setting_and_its_scene_loads() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    app = aiohttp.web.Application()
    add_routes(app, World())
    for route in app.router.routes():
        assert route.resource is not None
        if route.method != "HEAD":
            assert f"{route.method} {route.resource.canonical}" in text
    for setting in fields(Settings):
        assert f"`{setting.name}`" in text
    world = World()
    (example,) = re.findall(r"```json\n(\{.*?\n\})\n```", text, flags=re.DOTALL)
    load_scene(world, json.loads(example))
    assert world.events


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "10.0.0.1", "127.0.0.1.evil.example", "", "a b"])
@pytest.mark.parametrize("path", ["/v1/userinfo", "/control/state", "/nowhere"])
async def test_a_name_that_is_not_this_machines_is_misdirected(
    session: aiohttp.ClientSession, world: World, host: str, path: str
) -> None:
    async with session.get(path, headers={"Host": host}) as answer:
        assert answer.status in {400, 421}
    assert world.requests == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9", "[::1]:9"])
async def test_every_name_of_this_machine_will_do(session: aiohttp.ClientSession, host: str) -> None:
    async with session.get("/control/state", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "x:y:z"])
async def test_a_page_of_another_origin_changes_nothing(
    session: aiohttp.ClientSession, world: World, origin: str
) -> None:
    before = world.now()
    async with session.post("/control/clock", json={"advance": "1h"}, headers={"Origin": origin}) as answer:
        assert answer.status == 403
    assert (world.now() - before).total_seconds() < 3000


async def test_a_page_of_its_own_origin_may(session: aiohttp.ClientSession) -> None:
    async with session.get("/control/state") as answer:
        own = answer.url.origin()
    for origin in (str(own), f"http://localhost:{own.port}"):
        async with session.get("/control/state", headers={"Origin": origin}) as answer:
            assert answer.status == 200
