"""What the control routes refuse, over real HTTP: in one plain sentence, and without changing anything."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from reconciler.simulator import Simulator, World

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PYTHON = re.compile(r"Error\b|Traceback|__|<class|NoneType|\bdict\b|\bstr\b|argument|validation error|'[a-z]+' object")
"""What only a programmer of this program would say."""


@pytest.fixture
async def world() -> World:
    made = World(now=NOW)
    account = made.add_account("acc_1", access_token="access")
    account.add_calendar_profile().add_calendar("cal_1")
    account.add_conferencing_profile(profile_id="pro_zoom")
    body = {"event_id": "e1", "summary": "Demo", "start": "2026-06-03", "end": "2026-06-04"}
    made.write_event(account, "cal_1", body)
    return made


@pytest.fixture
async def session(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": "Bearer access"}
    async with Simulator(world) as sim, aiohttp.ClientSession(sim.url, headers=headers) as made:
        yield made


async def refused(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> tuple[int, str]:
    async with session.request(method, path, **options) as response:
        answer = await response.json()
        assert answer.keys() == {"error"}
        assert not PYTHON.search(answer["error"]), answer["error"]
        return response.status, answer["error"]


async def whole_state(session: aiohttp.ClientSession) -> Any:
    async with session.get("/control/state") as response:
        state = await response.json()
    del state["now"]
    return state


ACCOUNT, PROFILE = "accounts/acc_1", "accounts/acc_1/profiles/pro_zoom"
WHEN = "should be a date, a time such as 2026-01-31T09:00:00Z, {time, tzid}, or relative such as +2d"
ORDER = "start and end should be both dates or both times, in order"
EVENT = "accounts[0].events[0]"
SECRET = "looks like a real Cronofy secret: the simulator takes none"


def on_event(action: Any, **more: Any) -> dict[str, Any]:
    return {"calendar_id": "cal_1", "event_id": "e1", "action": action, **more}


def scene(**event: Any) -> dict[str, Any]:
    body = {"event_id": "e", "summary": "s", "start": "+1d", "end": "+2d"}
    row = {"calendar_id": "cal_9", "body": body | event.pop("body", {}), **event}
    profiles = [{"calendars": [{"calendar_id": "cal_9"}]}]
    return {"accounts": [{"account_id": "acc_9", "calendar_profiles": profiles, "events": [row]}]}


CASES: list[tuple[str, Any, str]] = [
    ("POST outage", {"provider": "zoom", "on": "off"}, "on should be true or false"),
    ("POST outage", {"provider": "zoom"}, "on is missing"),
    ("POST outage", {"provider": "zoom", "on": True, "of": 1}, "of is unknown"),
    ("POST outage", {"provider": "", "on": True}, "provider should not be empty"),
    ("POST outage", {"on": 1}, "provider is missing; on should be true or false"),
    ("POST clock", {"advance": "soon"}, "advance should be a number"),
    ("POST clock", {"advance": True}, "advance should be a number"),
    ("POST clock", {"advance": 1e30}, "advance should be at most 3153600000"),
    ("POST clock", {"advance": float("nan")}, "advance should be a number"),
    ("POST clock", {"advance": -1}, "advance should be at least 0"),
    ("POST clock", [1], "the body should be a JSON object"),
    (f"POST {ACCOUNT}", {"action": "promote"}, "action should be 'revoke', 'authorize', 'expire_token', "),
    (f"POST {ACCOUNT}", {}, "action is missing"),
    (f"POST {PROFILE}", {"connected": "yes"}, "connected should be true or false"),
    (f"POST {PROFILE}", {"connected": None}, "connected should be true or false"),
    (f"DELETE {PROFILE}", {"now": True}, "now is unknown"),
    ("POST faults", {"kind": "gremlin"}, "kind should be 'status', 'reset', 'delay', "),
    ("POST faults", {"kind": "status", "when": 1}, "when is unknown"),
    ("POST faults", {"kind": "status", "hits": 1}, "hits is unknown"),
    ("POST faults", {"kind": "status", "status": "abc"}, "status should be a whole number"),
    ("POST faults", {"kind": "status", "status": 9999}, "status should be at most 599"),
    ("POST faults", {"kind": "status", "status": 100}, "status should be at least 200"),
    ("POST faults", {"kind": "delay", "delay": "x"}, "delay should be a number"),
    ("POST faults", {"kind": "status", "times": -1}, "times should be at least 0"),
    ("POST faults", {"kind": "status", "times": 1.5}, "times should be a whole number"),
    ("POST faults", {"kind": "status", "probability": 7}, "probability should be at most 1"),
    ("POST faults", {"kind": "status", "account_id": "acc_2"}, "account_id should be that of a known account"),
    ("POST faults", {"kind": "status", "match_path": "("}, "match_path should be a regular expression: missing )"),
    ("POST faults", {"kind": "status", "headers": {"X": 5}}, "headers.X should be text"),
    ("POST faults", {"kind": "status", "headers": {"X": "a\r\nY: b"}}, "headers should be names and values that HTTP"),
    ("POST faults", {"kind": "status", "headers": {"X Y": "a"}}, "headers should be names and values that HTTP"),
    ("POST faults", {"kind": "status", "headers": {"Content-Length": "9"}}, "headers should not hold Content-Length"),
    ("POST events", {"action": "assign"}, "calendar_id is missing; event_id is missing"),
    ("POST events", on_event("explode"), "action should be 'assign', 'delete', 'move', "),
    ("POST events", on_event("assign", join_url=5), "join_url should be text"),
    ("POST events", on_event("assign", join_url="ftp://x"), "join_url should be an http or https address"),
    ("POST events", on_event("assign", seconds=5), "seconds is unknown"),
    ("POST events", on_event("delete", when="now"), "when is unknown"),
    ("POST events", on_event("move", start="soon", end="+1d"), f"start {WHEN}"),
    ("POST events", on_event("move", start="+1d", end="+9999999d"), f"end {WHEN}"),
    ("POST events", on_event("move", start="+2d", end="+1d"), ORDER),
    ("POST events", on_event("move", start="2026-06-05", end="+9d"), ORDER),
    ("POST events", on_event("conferencing"), "value is missing"),
    ("POST events", on_event("stall", seconds="long"), "seconds should be a number"),
    ("POST settings", {"speed": 1}, "speed is unknown"),
    ("POST settings", {"rate_window": "round"}, "rate_window should be 'sliding' or 'fixed'"),
    ("POST settings", {"page_size": 5, "rate_per_second": 0}, "rate_per_second should be at least 1"),
    ("POST settings", {"retry_schedule": []}, "retry_schedule should not be empty"),
    ("POST settings", {"retry_schedule": [5, "x"]}, "retry_schedule[1] should be a number"),
    ("POST settings", {"retry_schedule": [1e-7]}, "retry_schedule[0] should be at least 0.001"),
    ("POST settings", {"invalid_client_status": 500}, "invalid_client_status should be 400 or 401"),
    ("POST settings", {"client_secret": "CRN_marker"}, f"client_secret {SECRET}"),
    ("POST settings", {"client_id": "CRN_marker"}, f"client_id {SECRET}"),
    ("PUT scene", [], "the scene should be a JSON object"),
    ("PUT scene", {"acounts": []}, "acounts is unknown"),
    ("PUT scene", {"accounts": {}}, "accounts should be a list"),
    ("PUT scene", {"accounts": ["x"]}, "accounts[0] should be a JSON object"),
    ("PUT scene", {"accounts": [{"colour": "red"}]}, "accounts[0].colour is unknown"),
    ("PUT scene", {"accounts": [{"revoked": "no"}]}, "accounts[0].revoked should be true or false"),
    ("PUT scene", {"accounts": [{"access_token": "CRN_marker"}]}, f"accounts[0].access_token {SECRET}"),
    ("PUT scene", {"accounts": [{"account_id": "a"}, {"account_id": "a"}]}, "accounts[1]: there is an account a "),
    ("PUT scene", {"settings": {"client_secret": "CRN_marker"}}, f"settings: client_secret {SECRET}"),
    ("PUT scene", {"settings": {"speed": 1}}, "settings: speed is unknown"),
    ("PUT scene", {"outages": [5]}, "outages[0] should be text"),
    ("PUT scene", {"faults": [{"kind": "status", "when": 1}]}, "faults[0].when is unknown"),
    ("PUT scene", {"faults": [{"kind": "status", "account_id": "acc_1"}]}, "faults[0]: account_id should be that "),
    ("PUT scene", scene(calendar_id="cal_1"), f"{EVENT}: calendar_id should be that of a calendar of the account"),
    ("PUT scene", scene(body={"start": 5}), f"{EVENT}.body.start {WHEN}"),
    ("PUT scene", scene(body={"end": "+1h"}), f"{EVENT}: {ORDER}"),
    ("PUT scene", scene(body={"summary": ""}), f"{EVENT}: no valid upsert body: summary must be specified"),
    ("PUT scene", scene(written_at="lately"), f"{EVENT}.written_at {WHEN}"),
    ("PUT scene", scene(written_at="9999-12-31T23:59:59Z"), f"{EVENT}: written_at should not lie in the future"),
    ("PUT scene", scene(moved={"start": "+1d"}), f"{EVENT}.moved.end is missing"),
]  # fmt: skip


@pytest.mark.parametrize("request_line, body, sentence", CASES, ids=str)
async def test_wrong_input_is_told_field_by_field_and_changes_nothing(
    session: aiohttp.ClientSession, request_line: str, body: Any, sentence: str
) -> None:
    before = await whole_state(session)
    method, path = request_line.split()
    status, told = await refused(session, method, f"/control/{path}", json=body)
    assert (status, told[: len(sentence)]) == (400, sentence)
    assert "marker" not in told
    assert await whole_state(session) == before
    async with session.get("/v1/userinfo") as response:
        assert response.status == 200


@pytest.mark.parametrize("raw", [b"{nonsense", b"\xff\xfe", b'{"advance": 1} 2'], ids=repr)
async def test_what_is_not_json_is_told_so(session: aiohttp.ClientSession, raw: bytes) -> None:
    status, told = await refused(session, "POST", "/control/clock", data=raw)
    assert (status, told[:21]) == (400, "the body is not JSON:")


@pytest.mark.parametrize(
    "request_line, body, sentence",
    [
        ("POST accounts/nope", {"action": "revoke"}, "there is no account nope"),
        ("POST accounts/nope/profiles/pro_zoom", {"connected": True}, "there is no account nope"),
        ("POST accounts/acc_1/profiles/pro_no", {"connected": True}, "acc_1 has no profile pro_no"),
        ("DELETE accounts/acc_1/profiles/pro_no", None, "acc_1 has no conferencing profile pro_no"),
        ("POST events", on_event("delete") | {"event_id": "e2"}, "there is no event cal_1/e2"),
        ("GET nothing", None, "there is no control route /control/nothing"),
        ("GET state/", None, "there is no control route /control/state/"),
    ],
    ids=str,
)
async def test_what_is_not_there_is_named(
    session: aiohttp.ClientSession, request_line: str, body: Any, sentence: str
) -> None:
    method, path = request_line.split()
    assert await refused(session, method, f"/control/{path}", json=body) == (404, sentence)


async def test_control_itself_is_no_route_and_no_request_of_a_client(
    world: World, session: aiohttp.ClientSession
) -> None:
    assert await refused(session, "GET", "/control") == (404, "there is no control route /control")
    assert world.requests == []


async def test_a_wrong_method_is_told_the_right_ones(session: aiohttp.ClientSession) -> None:
    assert await refused(session, "PUT", "/control/faults") == (405, "/control/faults takes DELETE and POST, not PUT")
    async with session.delete("/control/state") as response:
        assert set(response.headers["Allow"].split(",")) >= {"GET"}
        assert json.loads(await response.read()) == {"error": "/control/state takes GET, not DELETE"}


async def test_a_body_that_is_too_large_is_refused_in_json(session: aiohttp.ClientSession) -> None:
    status, told = await refused(session, "PUT", "/control/scene", data=io.BytesIO(b" " * (1 << 21)))
    assert (status, told) == (413, "Request Entity Too Large")


@pytest.mark.parametrize("kind", ["html", "status"])
async def test_a_fault_may_name_the_type_of_its_content(session: aiohttp.ClientSession, kind: str) -> None:
    fault = {"kind": kind, "body": {"a": 1}, "headers": {"content-type": "text/plain"}}
    async with session.post("/control/faults", json=fault) as response:
        assert response.status == 200
    async with session.get("/v1/userinfo") as response:
        assert (response.status, response.content_type) == (502 if kind == "html" else 500, "text/plain")
