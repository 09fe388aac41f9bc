"""Webhooks of subscriptions, from the simulator to a real receiver that checks their signature."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from reconciler.simulator import Settings, Simulator, World, courier
from reconciler.simulator.courier import sign
from tests.waiting import until

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SECRET = "a-made-up-secret"
BOTH = ("conferencing_assigned", "conferencing_failing")
ASSIGNED, FAILING = BOTH


class Receiver:
    """An application's endpoint: it takes what is signed rightly, in the order of arrival."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.forged = 0
        self.answer = 200
        self.hangs = False
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        content = await request.read()
        told = base64.b64decode(request.headers["Cronofy-HMAC-SHA256"], validate=True)
        if not hmac.compare_digest(told, hmac.new(SECRET.encode(), content, hashlib.sha256).digest()):
            self.forged += 1
        assert request.content_type == "application/json"
        self.got.append(json.loads(content))
        if self.hangs:
            await asyncio.Event().wait()
        return web.Response(status=self.answer, headers={"Location": f"{self.url}&again=1"})

    def told(self) -> list[tuple[str, str | None]]:
        """Interaction and subtype of each."""
        rows = [body["notification"]["interactions"][0] for body in self.got]
        return [(row["type"], row.get("subtype")) for row in rows]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?x=1"
    yield made
    await runner.cleanup()
    assert made.forged == 0


class Office:
    """One person with a calendar, and a client that writes into it."""

    def __init__(self, world: World, session: aiohttp.ClientSession) -> None:
        self.world = world
        self.session = session
        (self.account,) = world.accounts.values()

    async def write(self, uri: str | None, event_id: str = "e1", asked: str = "pro_zoom", **more: Any) -> None:
        body: dict[str, Any] = {
            "event_id": event_id,
            "summary": "Gespräch",
            "start": "2026-06-03T09:00:00Z",
            "end": "2026-06-03T10:00:00Z",
            "conferencing": {"profile_id": asked},
        }
        if uri is not None:
            interactions = [{"type": wanted} for wanted in BOTH]
            body["subscriptions"] = [{"type": "webhook", "uri": uri, "interactions": interactions}]
        async with self.session.post("/v1/calendars/cal_1/events", json=body | more) as response:
            assert response.status == 202

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, f"/control/{path}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def advance(self, seconds: float) -> None:
        await self.control("POST", "clock", {"advance": seconds})

    async def webhooks(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.control("GET", "webhooks"))["webhooks"]
        return rows

    async def done(self, count: int) -> list[dict[str, Any]]:
        """The record, once so many are done with and none is on its way."""
        async with asyncio.timeout(60):
            while True:
                rows = await self.webhooks()
                if len(rows) >= count and all(row["outcome"] != "waiting" for row in rows):
                    assert len(rows) == count
                    return rows
                await asyncio.sleep(0.005)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    world = World(settings=Settings(client_secret=SECRET, generation_delay=60), now=NOW)
    account = world.add_account("acc_1", access_token="access")
    account.add_calendar_profile().add_calendar("cal_1")
    account.add_conferencing_profile(profile_id="pro_zoom")
    headers = {"Authorization": "Bearer access"}
    async with Simulator(world) as sim, aiohttp.ClientSession(sim.url, headers=headers) as session:
        yield Office(world, session)


async def test_a_link_is_told_with_the_full_event_and_a_signature(office: Office, receiver: Receiver) -> None:
    await office.write(receiver.url)
    assert await office.webhooks() == []
    await office.advance(70)
    (row,) = await office.done(1)
    (got,) = receiver.got
    assert got["notification"] == {"type": "event_subscription", "interactions": [{"type": ASSIGNED}]}
    event = got["event"]
    written = office.world.event("cal_1", "e1")
    assert event == written.as_read()
    assert (event["event_id"], event["summary"], event["conferencing"]["provider_name"]) == ("e1", "Gespräch", "zoom")
    assert (row["outcome"], row["status"], row["error"], row["body"]) == ("answered", 200, None, got)
    assert (row["uri"], row["interaction"], row["event_id"]) == (receiver.url, ASSIGNED, "e1")
    assert row["at"] == (written.updated + timedelta(seconds=60)).isoformat()


async def test_a_link_is_told_when_its_time_comes_though_nobody_asks_for_anything(
    office: Office, receiver: Receiver
) -> None:
    office.world.settings.generation_delay = 0.1
    await office.write(receiver.url)
    await until(lambda: receiver.got)


Step = tuple[str, str, Any]
ACCOUNT, PROFILE = "accounts/acc_1", "accounts/acc_1/profiles/pro_zoom"
OUTAGE = {"provider": "zoom"}
LOSE, RESTORE = {"action": "lose_licence"}, {"action": "restore_licence"}


@pytest.mark.parametrize(
    "asked, broken, mended, subtype",
    [
        ("pro_zoom", ("POST", "outage", OUTAGE | {"on": True}), ("POST", "outage", OUTAGE | {"on": False}), None),
        ("pro_zoom", ("POST", PROFILE, {"connected": False}), ("POST", PROFILE, {"connected": True}), None),
        ("integrated", ("POST", ACCOUNT, LOSE), ("POST", ACCOUNT, RESTORE), "missing_meeting_url"),
    ],
    ids=["outage", "disconnected", "licence"],
)
async def test_a_failure_is_told_and_the_link_once_its_reason_is_gone(
    office: Office, receiver: Receiver, asked: str, broken: Step, mended: Step, subtype: str | None
) -> None:
    await office.write(receiver.url, asked=asked)
    await office.control(*broken)
    await office.advance(70)
    await office.done(1)
    assert receiver.told() == [(FAILING, subtype)]
    assert receiver.got[0]["event"]["conferencing"] == {"pending": True}
    await office.control(*mended)
    await office.advance(60)
    await office.done(2)
    assert receiver.told() == [(FAILING, subtype), (ASSIGNED, None)]


async def test_a_removed_profile_is_told_as_missing(office: Office, receiver: Receiver) -> None:
    await office.write(receiver.url)
    await office.control("DELETE", PROFILE)
    await office.advance(70)
    await office.done(1)
    office.account.add_conferencing_profile(profile_id="pro_new")
    await office.write(receiver.url, asked="pro_new")
    await office.advance(70)
    await office.done(2)
    assert receiver.told() == [(FAILING, "profile_missing"), (ASSIGNED, None)]


async def test_every_failing_attempt_is_told_and_a_jump_over_several_once(office: Office, receiver: Receiver) -> None:
    office.account.disconnect("pro_zoom")
    await office.write(receiver.url)
    for seconds, count in ((70, 1), (60, 2), (300, 3), (7 * 3600, 4)):
        await office.advance(seconds)
        await office.done(count)
    assert receiver.told() == [(FAILING, None)] * 4


async def test_interactions_may_be_one_object(office: Office, receiver: Receiver) -> None:
    await office.control("POST", "settings", {"webhook_interactions": "object"})
    await office.write(receiver.url)
    office.account.remove_conferencing_profile("pro_zoom")
    await office.advance(70)
    await office.done(1)
    assert receiver.got[0]["notification"]["interactions"] == {"type": FAILING, "subtype": "profile_missing"}


async def fail_then_link(office: Office, uri: str) -> None:
    """Two things to tell about one event: a failure, and the link a minute later."""
    office.account.disconnect("pro_zoom")
    await office.write(uri)
    await office.advance(70)
    office.account.reconnect("pro_zoom")
    await office.advance(60)


async def test_each_may_come_twice(office: Office, receiver: Receiver) -> None:
    await office.control("POST", "settings", {"webhook_mode": "duplicate"})
    await fail_then_link(office, receiver.url)
    rows = await office.done(4)
    assert [name for name, _ in receiver.told()] == [FAILING, FAILING, ASSIGNED, ASSIGNED]
    assert receiver.got[0] == receiver.got[1]
    assert [row["status"] for row in rows] == [200] * 4


async def test_each_may_be_lost(office: Office, receiver: Receiver) -> None:
    await office.control("POST", "settings", {"webhook_mode": "drop"})
    await fail_then_link(office, receiver.url)
    rows = await office.done(2)
    assert [(row["outcome"], row["sent_at"]) for row in rows] == [("dropped", None)] * 2
    assert [row["interaction"] for row in rows] == [FAILING, ASSIGNED]
    assert receiver.got == []


async def test_the_earlier_may_come_after_the_later(office: Office, receiver: Receiver) -> None:
    await office.control("POST", "settings", {"webhook_mode": "reorder"})
    await fail_then_link(office, receiver.url)
    rows = await office.done(2)
    assert [name for name, _ in receiver.told()] == [ASSIGNED, FAILING]
    assert receiver.got[1]["event"]["conferencing"] == {"pending": True}
    assert rows[0]["sent_at"] > rows[1]["sent_at"]


async def test_one_that_nothing_follows_comes_after_its_delay(office: Office, receiver: Receiver) -> None:
    await office.control("POST", "settings", {"webhook_mode": "reorder", "webhook_delay": 100})
    await office.write(receiver.url)
    await office.write(receiver.url, "e2")
    await office.advance(70)
    assert [row["outcome"] for row in await office.webhooks()] == ["waiting"] * 2
    await office.advance(100)
    await office.done(2)
    assert [body["event"]["event_id"] for body in receiver.got] == ["e1", "e2"]
    office.world.event("cal_1", "e1").assign("https://meet.example.com/anew")
    await office.advance(200)
    await office.done(3)
    assert receiver.got[-1]["event"]["conferencing"]["join_url"] == "https://meet.example.com/anew"


async def test_each_may_be_late_and_tells_what_was(office: Office, receiver: Receiver) -> None:
    await office.control("POST", "settings", {"webhook_mode": "delay", "webhook_delay": 3600})
    await fail_then_link(office, receiver.url)
    assert [row["outcome"] for row in await office.webhooks()] == ["waiting"] * 2
    await office.control("POST", "events", {"calendar_id": "cal_1", "event_id": "e1", "action": "delete"})
    await office.advance(3600)
    await office.done(2)
    assert [name for name, _ in receiver.told()] == [FAILING, ASSIGNED]
    assert [body["event"]["deleted"] for body in receiver.got] == [False, False]


async def test_a_share_of_them_is_struck_as_the_seed_will_have_it(receiver: Receiver) -> None:
    async def outcomes(seed: int) -> list[str]:
        world = World(
            seed, Settings(client_secret=SECRET, generation_delay=60, webhook_mode="drop", webhook_share=0.5), NOW
        )
        account = world.add_account(access_token="access")
        account.add_calendar_profile().add_calendar("cal_1")
        account.add_conferencing_profile(profile_id="pro_zoom")
        headers = {"Authorization": "Bearer access"}
        async with Simulator(world) as sim, aiohttp.ClientSession(sim.url, headers=headers) as session:
            office = Office(world, session)
            for number in range(12):
                await office.write(receiver.url, f"e{number}")
            await office.advance(70)
            return [row["outcome"] for row in await office.done(12)]

    first, again, other = [await outcomes(seed) for seed in (1, 1, 2)]
    assert first == again != other
    assert set(first) == {"answered", "dropped"}


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/hook",
        "http://127.0.0.1@example.com/hook",
        "http://localhost.example.com/hook",
        "http://10.0.0.1/hook",
        "ftp://127.0.0.1/hook",
        "http://[::1",
        "hook",
    ],
)
async def test_nothing_is_sent_beyond_this_machine(office: Office, uri: str) -> None:
    await office.write(uri)
    await office.advance(70)
    (row,) = await office.webhooks()
    assert (row["outcome"], row["sent_at"]) == ("refused", None)
    assert row["error"] == "the simulator sends to loopback only"
    assert office.world.event("cal_1", "e1").join_url


async def test_a_redirect_is_not_followed(office: Office, receiver: Receiver) -> None:
    receiver.answer = 307
    await office.write(receiver.url)
    await office.advance(70)
    assert [row["status"] for row in await office.done(1)] == [307]
    assert len(receiver.got) == 1


async def test_what_a_receiver_does_is_recorded_and_harms_nothing(office: Office, receiver: Receiver) -> None:
    receiver.answer = 500
    await office.write(receiver.url)
    await office.write("http://127.0.0.1:9/nobody", "e2")
    await office.advance(70)
    refusing, absent = await office.done(2)
    assert (refusing["outcome"], refusing["status"]) == ("answered", 500)
    assert (absent["outcome"], absent["status"]) == ("failed", None)
    assert absent["error"].startswith("no connection, or it broke: ")
    receiver.answer = 200
    await office.write(receiver.url, "e3")
    await office.advance(70)
    assert (await office.done(3))[-1]["status"] == 200
    assert len(receiver.got) == 2


async def test_a_receiver_that_takes_too_long_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(settings=Settings(client_secret=SECRET, generation_delay=60), now=NOW)
    world.add_account(access_token="access").add_calendar_profile().add_calendar("cal_1")
    monkeypatch.setattr(courier, "PATIENCE_S", 0.05)
    receiver.hangs = True
    headers = {"Authorization": "Bearer access"}
    async with Simulator(world) as sim, aiohttp.ClientSession(sim.url, headers=headers) as session:
        office = Office(world, session)
        await office.write(receiver.url, asked="integrated")
        await office.advance(70)
        (row,) = await office.done(1)
    assert (row["outcome"], row["error"]) == ("failed", "no answer within 0.05 seconds")


async def test_a_receiver_that_hangs_holds_up_neither_the_api_nor_the_end(receiver: Receiver) -> None:
    world = World(settings=Settings(client_secret=SECRET, generation_delay=60), now=NOW)
    world.add_account(access_token="access").add_calendar_profile().add_calendar("cal_1")
    receiver.hangs = True
    headers = {"Authorization": "Bearer access"}
    async with asyncio.timeout(60), Simulator(world) as sim, aiohttp.ClientSession(sim.url, headers=headers) as session:
        office = Office(world, session)
        await office.write(receiver.url, asked="integrated")
        await office.advance(70)
        await until(lambda: receiver.got)
        async with session.get("/v1/userinfo") as response:
            assert response.status == 200
        assert [row["outcome"] for row in await office.webhooks()] == ["waiting"]


async def test_only_who_subscribed_to_it_is_told(office: Office, receiver: Receiver) -> None:
    def wanting(*interactions: Any, **more: Any) -> dict[str, Any]:
        return {"type": "webhook", "uri": receiver.url, "interactions": list(interactions)} | more

    subscriptions = [
        wanting({"type": FAILING}),
        wanting({"type": ASSIGNED}, {"type": "something_new"}),
        wanting({"type": ASSIGNED}, type="pigeon"),
        wanting({"type": ASSIGNED}, uri=5),
        wanting(interactions={"type": ASSIGNED}),
        wanting("conferencing_assigned", {"type": 5}),
    ]
    await office.write(None, subscriptions=subscriptions)
    await office.write(None, "e2")
    await office.write(receiver.url, "e3")
    await office.write(None, "e3", subscriptions=[])
    await office.advance(70)
    await office.done(1)
    assert (receiver.told(), receiver.got[0]["event"]["event_id"]) == ([(ASSIGNED, None)], "e1")


async def test_what_a_scene_says_happened_is_told_to_nobody(office: Office, receiver: Receiver) -> None:
    hook = {"type": "webhook", "uri": receiver.url, "interactions": [{"type": wanted} for wanted in BOTH]}

    def event(event_id: str, **more: Any) -> dict[str, Any]:
        body = {"event_id": event_id, "summary": "s", "start": "+2d", "end": "+3d", "subscriptions": [hook]}
        return {"calendar_id": "cal_2", "body": body | {"conferencing": {"profile_id": "pro_zoom"}}, **more}

    account = {
        "account_id": "acc_2",
        "calendar_profiles": [{"calendars": [{"calendar_id": "cal_2"}]}],
        "conferencing_profiles": [{"profile_id": "pro_zoom", "connected": False}],
        "events": [event("linked", assigned=True), event("failing", written_at="-2h")],
    }
    await office.control("PUT", "scene", {"accounts": [account]})
    await office.advance(70)
    assert await office.webhooks() == []
    await office.control("POST", "accounts/acc_2/profiles/pro_zoom", {"connected": True})
    await office.advance(3600)
    await office.done(1)
    assert [body["event"]["event_id"] for body in receiver.got] == ["failing"]


async def test_the_record_forgets_what_is_done_with(office: Office, receiver: Receiver) -> None:
    await office.write(receiver.url)
    await office.advance(70)
    await office.done(1)
    await office.control("POST", "settings", {"webhook_mode": "delay"})
    await office.write(receiver.url, "e2")
    await office.advance(70)
    assert len(await office.webhooks()) == 2
    await office.control("DELETE", "record")
    assert [row["outcome"] for row in await office.webhooks()] == ["waiting"]
    await office.advance(300)
    await office.done(1)
    await office.control("PUT", "scene", {})
    assert await office.webhooks() == []


def test_the_signature_is_that_of_the_published_vectors() -> None:
    content = b'{"example":"well-known"}'
    assert sign("pDY0Oi7TJSP2hfNmZNkm5", content) == "6r2/HjBkqymGegX0wOfifieeUXbbHwtV/LohHS+jv6c="
