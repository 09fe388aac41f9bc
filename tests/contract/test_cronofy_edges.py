"""The client against a server that answers exactly what a test says, over real HTTP."""

import asyncio
import gzip
import itertools
import json
import logging
import threading
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web

from reconciler.cronofy.client import ClientSettings, CronofyClient, open_session
from reconciler.cronofy.grants import finish
from reconciler.cronofy.pacing import Pacer
from reconciler.cronofy.wire.listing import Page, read_page
from reconciler.domain.evidence import Found
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.outcome import Applied, InDoubt, Rejected, Unsent
from reconciler.ports import (
    AccountUnauthorized,
    AccountUnreadable,
    ApiUnreachable,
    CalendarApi,
    ClientRejected,
    Credentials,
    Tokens,
    UpsertRequest,
    Window,
)
from tests.fakes import FakeBudget, FakeClock, FakeMeter, FakeSleep, FakeTokenStore

JANE = AccountId("acc_jane")
CALENDAR = CalendarId("cal_a@b")
EVENTS, USERINFO, TOKEN, BATCH = "/v1/events", "/v1/userinfo", "/oauth/token", "/v1/batch"
UPSERT = "/v1/calendars/cal_a%40b/events"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Reply = web.StreamResponse | Handler | tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    bearer: str | None
    body: bytes
    headers: Any


@dataclass
class Server:
    """Answers each path with its replies in turn; the last one stays."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    replies: dict[str, list[Reply]] = field(default_factory=dict)

    def on(self, path: str, *replies: Reply) -> None:
        self.replies[path] = list(replies)

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def bearers(self) -> list[str | None]:
        return [asked.bearer for asked in self.asked if asked.path != TOKEN]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        bearer = request.headers.get("Authorization")
        self.asked.append(Asked(request.method, path, bearer, await request.read(), request.headers.copy()))
        left = self.replies[path]
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, web.StreamResponse):
            return reply
        if not isinstance(reply, tuple):
            return await reply(request)
        status, body, *headers = reply
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=dict(headers[0]) if headers else None)


@dataclass
class Bench:
    """A client and everything it touches."""

    server: Server
    client: CronofyClient
    settings: ClientSettings
    store: FakeTokenStore
    budget: FakeBudget
    meter: FakeMeter
    clock: FakeClock
    sleep: FakeSleep
    who: Credentials


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = web.ServerRunner(web.Server(made.handle, access_log=None), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def a_client(settings: ClientSettings, session: aiohttp.ClientSession, tokens: Tokens | None) -> Bench:
    store = FakeTokenStore({JANE: tokens} if tokens else {})
    budget, meter, clock, sleep = FakeBudget(), FakeMeter(), FakeClock(), FakeSleep()
    client = CronofyClient(session, settings, store, budget, meter, clock, sleep=sleep, chance=lambda: 0.5)
    who = Credentials(JANE, "us", tokens)
    return Bench(Server(), client, settings, store, budget, meter, clock, sleep, who)


@pytest.fixture
def timeout() -> float:
    """Longer than a busy machine ever keeps an answer back."""
    return 30.0


hasty = pytest.mark.parametrize("timeout", [0.2])
"""For what meets an answer that never comes."""


@pytest.fixture
async def bench(server: Server, timeout: float) -> AsyncIterator[Bench]:
    settings = ClientSettings("id", "secret", server.url, timeout=timeout, max_response_bytes=200_000)
    async with open_session(settings) as session:
        made = a_client(settings, session, Tokens("access-1", "refresh-1", None))
        made.server = server
        yield made


def an_event(n: int = 1, **other: Any) -> dict[str, Any]:
    return {
        "calendar_id": CALENDAR,
        "event_id": f"evt-{n}",
        "start": "2026-03-09T09:00:00Z",
        "end": "2026-03-09T10:00:00Z",
        **other,
    }


def a_page(*events: Any, next_page: str | None = None) -> dict[str, Any]:
    return {"pages": {"current": 1, "total": 1, "next_page": next_page}, "events": list(events)}


def an_upsert(n: int = 1, body: str | None = None) -> UpsertRequest:
    text = body or f'{{"event_id":"evt-{n}","summary":"Gespräch","rate":1.10}}'
    return UpsertRequest(EventKey(CALENDAR, EventId(f"evt-{n}")), text, ProfileId("pro_new"), None)


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


def test_the_client_is_a_calendar_api(bench: Bench) -> None:
    api: CalendarApi = bench.client
    assert api is bench.client


# ---------------------------------------------------------------- requests as they leave


async def test_a_request_carries_our_name_and_the_token_and_no_cookie(bench: Bench) -> None:
    cookie = {"Set-Cookie": "session=1; Path=/"}
    bench.server.on(EVENTS, (200, a_page(), cookie))
    await bench.client.list_events(bench.who, None)
    await bench.client.list_events(bench.who, None)
    asked = bench.server.asked[1]
    assert asked.bearer == "Bearer access-1"
    assert asked.headers["User-Agent"].startswith("reconciler/")
    assert "Cookie" not in asked.headers


async def test_every_page_is_read_and_counted(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, a_page(an_event(1), next_page=f"{bench.server.url}/p2")))
    bench.server.on("/p2", (200, a_page(an_event(2))))
    listing = await bench.client.list_events(bench.who, None)
    assert [key.event_id for key in listing.events] == ["evt-1", "evt-2"]
    assert all(isinstance(read, Found) for read in listing.events.values())
    assert listing.page_size == 1
    assert bench.meter.counts == {"events": 2}
    assert bench.budget.spent == 2


async def test_the_allowance_is_waited_for(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, a_page()))
    bench.budget.waits = [3.5]
    await bench.client.list_events(bench.who, None)
    assert bench.sleep.slept == [3.5]
    assert bench.budget.reserved == [1]


async def test_who_waited_through_a_429_asks_for_a_new_place() -> None:
    budget, meter = FakeBudget([1.0, 2.0]), FakeMeter()
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if seconds == 1.0:
            await pacer.hold(9.0)

    pacer = Pacer(budget, meter, sleep, lambda: 0.0)
    await pacer.pace("events")
    assert slept == [1.0, 2.0]
    assert budget.reserved == [1, 1]
    assert meter.counts == {"events": 1, "refused": 1}


async def test_a_hold_of_another_process_is_heard() -> None:
    budget, meter = FakeBudget([1.0, 2.0]), FakeMeter()

    async def sleep(seconds: float) -> None:
        budget.holds_of_others += int(seconds == 1.0)

    await Pacer(budget, meter, sleep, lambda: 0.0).pace("events")
    assert budget.reserved == [1, 1]


async def test_who_misses_a_place_takes_another_but_not_for_ever() -> None:
    budget, meter, moments = FakeBudget([0.1] * 3), FakeMeter(), iter([0.0, 0.0, 0.2, 0.2, 0.2, 0.3])
    await Pacer(budget, meter, FakeSleep(), lambda: next(moments)).pace("events")
    assert budget.reserved == [1, 1]
    late = itertools.count()
    await Pacer(budget, meter, FakeSleep(), lambda: float(next(late))).pace("events")
    assert meter.counts == {"events": 2}


# ---------------------------------------------------------------- paging


@pytest.mark.parametrize("foreign", ["https://evil.example/p2", "http://127.0.0.1:1/p2"])
async def test_a_foreign_next_page_never_sees_a_token(bench: Bench, foreign: str) -> None:
    bench.server.on(EVENTS, (200, a_page(next_page=foreign)))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "foreign_next_page"
    assert bench.server.paths() == [EVENTS]


async def test_no_token_reaches_another_port_of_the_same_machine(bench: Bench) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    other = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    bench.server.on(EVENTS, (200, a_page(next_page=f"http://127.0.0.1:{port}/p2")))
    bench.server.on(USERINFO, (302, "", {"Location": f"http://127.0.0.1:{port}/x"}))
    async with other:
        for call in (bench.client.list_events(bench.who, None), bench.client.userinfo(bench.who)):
            with pytest.raises(AccountUnreadable):
                await call
        await asyncio.sleep(0.05)
    assert heard == []


async def test_redirects_are_not_followed(bench: Bench) -> None:
    bench.server.on(EVENTS, (301, "", {"Location": "/elsewhere"}))
    bench.server.on(UPSERT, (307, "", {"Location": "/elsewhere"}))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "redirected"
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [
        InDoubt("Cronofy (127.0.0.1) answered 307 to POST /v1/calendars/CALENDAR_ID/events")
    ]
    assert bench.server.paths() == [EVENTS, UPSERT]


async def test_pages_that_lead_back_are_a_loop(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, a_page(next_page=f"{bench.server.url}/p2")))
    bench.server.on("/p2", (200, a_page(next_page=f"{bench.server.url}/p3")))
    bench.server.on("/p3", (200, a_page(next_page=f"{bench.server.url}/p2")))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "paging_loop"
    assert len(bench.server.asked) == 3


async def endless_pages(bench: Bench, shown: Callable[[int], dict[str, Any] | None]) -> list[int]:
    """Make every page lead to another one; what has been read."""
    read: list[int] = []

    async def another(_: web.Request) -> web.StreamResponse:
        number = len(read)
        read.append(number)
        bench.server.on(f"/p{number}", another)
        event = shown(number)
        return web.json_response(a_page(*([event] if event else []), next_page=f"{bench.server.url}/p{number}"))

    bench.server.on(EVENTS, another)
    return read


FOREIGN = {"event_uid": "evt_external_1", "calendar_id": "cal_1"}
SOME_DAYS = Window(date(2026, 3, 1), date(2026, 4, 1))
ENDLESS: dict[str, tuple[Callable[[int], dict[str, Any] | None], int]] = {
    "another event each": (an_event, 35),
    "the wanted one at another time each": (lambda n: an_event(0, start=f"2026-03-{n + 1:02d}"), 35),
    "always the same": (lambda _: an_event(1), 4),
    "two in turn": (lambda n: an_event(n % 2), 5),
    "events of others": (lambda _: FOREIGN, 10),
    "nothing": (lambda _: None, 3),
}


@pytest.mark.parametrize("shows", ENDLESS)
async def test_pages_without_end_are_a_loop_too(bench: Bench, shows: str) -> None:
    shown, pages = ENDLESS[shows]
    read = await endless_pages(bench, shown)
    wanted = [EventKey(CALENDAR, EventId("evt-0"))]
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, SOME_DAYS, wanted=wanted, expected=50)
    assert raised.value.kind == "paging_loop"
    assert len(read) == pages


async def test_pages_of_all_time_without_end_are_a_loop_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.cronofy.client.MOST_PAGES_OF_ALL_TIME", 40)
    read = await endless_pages(bench, an_event)
    with pytest.raises(AccountUnreadable):
        await bench.client.list_events(bench.who, None, wanted=())
    assert len(read) == 40


async def test_an_account_of_many_events_that_are_not_due_is_read_to_the_end(bench: Bench) -> None:
    last = 99
    bench.server.on(EVENTS, (200, a_page(an_event(0), next_page=f"{bench.server.url}/p1")))
    for n in range(1, last + 1):
        following = f"{bench.server.url}/p{n + 1}" if n < last else None
        bench.server.on(f"/p{n}", (200, a_page(*(an_event(10 * n + i) for i in range(10)), next_page=following)))
    wanted = [EventKey(CALENDAR, EventId(f"evt-{n}")) for n in (0, 10 * last)]
    listing = await bench.client.list_events(bench.who, SOME_DAYS, wanted=wanted, expected=990)
    assert list(listing.events) == wanted


async def test_the_occurrences_of_a_series_are_read_to_the_end(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, a_page(an_event(1), next_page=f"{bench.server.url}/p1")))
    for n in range(1, 20):
        page = a_page(an_event(1, start=f"2026-03-{n:02d}"), next_page=f"{bench.server.url}/p{n + 1}")
        bench.server.on(f"/p{n}", (200, page))
    bench.server.on("/p20", (200, a_page(an_event(2))))
    assert len((await bench.client.list_events(bench.who, None)).events) == 2


async def test_pages_of_what_is_not_ours_are_read_to_the_end(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, a_page(FOREIGN, next_page=f"{bench.server.url}/p1")))
    for n in range(1, 6):
        bench.server.on(f"/p{n}", (200, a_page(FOREIGN, next_page=f"{bench.server.url}/p{n + 1}")))
    bench.server.on("/p6", (200, a_page(an_event(1))))
    assert len((await bench.client.list_events(bench.who, None)).events) == 1


async def test_a_page_that_is_gone_starts_the_listing_again_once(bench: Bench) -> None:
    bench.server.on(
        EVENTS,
        (200, a_page(an_event(1), next_page=f"{bench.server.url}/old")),
        (200, a_page(an_event(2), next_page=f"{bench.server.url}/new")),
    )
    bench.server.on("/old", (404, ""))
    bench.server.on("/new", (200, a_page(an_event(3))))
    listing = await bench.client.list_events(bench.who, None)
    assert [key.event_id for key in listing.events] == ["evt-2", "evt-3"]
    bench.server.on("/new", (404, ""))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "page_expired"


async def test_a_listing_larger_than_can_be_held_is_given_up(bench: Bench) -> None:
    read = await endless_pages(bench, lambda n: an_event(n, description="x" * 150_000))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "answer_too_large"
    assert len(read) == 22


# ---------------------------------------------------------------- failures of a read


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_server_errors_are_tried_again_with_growing_waits(bench: Bench, status: int) -> None:
    bench.server.on(EVENTS, (status, "<html>"), (status, ""), (200, a_page()))
    await bench.client.list_events(bench.who, None)
    assert bench.sleep.slept == [0.25, 0.5]
    assert bench.meter.counts == {"events": 3, "retried": 2}
    assert bench.budget.spent == 3


async def test_attempts_are_bounded(bench: Bench) -> None:
    bench.server.on(EVENTS, (500, "marker"))
    with pytest.raises(AccountUnreadable, match="500") as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "server_error"
    assert str(raised.value) == "Cronofy (127.0.0.1) answered 500 to GET /v1/events, 4 attempts"
    assert len(bench.server.asked) == 4


@pytest.mark.parametrize(
    "header, held",
    [
        ("7", 7.0),
        ("60", 60.0),
        ("999999999", 30.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30.0),
        ("-1", 7.5),
        ("soon", 7.5),
        ("Mon, 02 Mar 2026 09:00:20 GMT", 20.0),
        (None, 7.5),
    ],
)
async def test_a_429_holds_everybody_as_long_as_it_says(bench: Bench, header: str | None, held: float) -> None:
    headers = {"Date": "Mon, 02 Mar 2026 09:00:00 GMT"}
    if header:
        headers["Retry-After"] = header
    bench.server.on(EVENTS, (429, "", headers), (200, a_page()))
    await bench.client.list_events(bench.who, None)
    assert bench.budget.holds == [held]
    assert bench.sleep.slept == [held]
    assert bench.meter.counts == {"events": 2, "retried": 1, "refused": 1}


async def test_a_date_is_by_our_clock_where_the_server_does_not_say_its_own(bench: Bench) -> None:
    headers = {"Retry-After": "Mon, 02 Mar 2026 09:00:15 GMT", "Date": "nonsense"}
    bench.server.on(EVENTS, (503, "", headers), (200, a_page()))
    await bench.client.list_events(bench.who, None)
    assert bench.sleep.slept == [15.0]
    assert bench.budget.holds == []


async def test_pauses_grow_while_429s_go_on_and_end(bench: Bench) -> None:
    bench.server.on(EVENTS, (429, ""))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "rate_limited"
    assert bench.budget.holds == [7.5, 15.0, 30.0, 45.0]


@pytest.mark.parametrize("status, holds", [(429, [30.0, 30.0]), (503, [])])
async def test_a_senseless_retry_after_costs_two_timeouts(bench: Bench, status: int, holds: list[float]) -> None:
    bench.server.on(EVENTS, (status, "", {"Retry-After": "9" * 400}))
    with pytest.raises(AccountUnreadable):
        await bench.client.list_events(bench.who, None)
    assert bench.budget.holds == holds
    assert bench.sleep.slept == [30.0]
    assert len(bench.server.asked) == 2


@hasty
async def test_a_hanging_account_costs_two_timeouts(bench: Bench) -> None:
    bench.server.on(EVENTS, hang)
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "timeout"
    assert len(bench.server.asked) == 2


async def test_a_broken_connection_is_tried_again(bench: Bench) -> None:
    bench.server.on(EVENTS, reset, reset, (200, a_page()))
    assert (await bench.client.list_events(bench.who, None)).page_size is None
    assert bench.meter.counts["events"] == 3


async def test_no_attempt_is_made_behind_the_allowance(bench: Bench) -> None:
    bench.server.on(USERINFO, (200, {"cronofy.data": {}}))
    bench.server.on(EVENTS, reset, (200, a_page()))
    await bench.client.userinfo(bench.who)
    await bench.client.list_events(bench.who, None)
    assert len(bench.server.asked) == bench.budget.spent == 3


async def test_a_truncated_answer_is_tried_again(bench: Bench) -> None:
    async def truncated(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"events":')
        assert request.transport is not None
        request.transport.close()
        return response

    bench.server.on(EVENTS, truncated, (200, a_page(an_event())))
    assert len((await bench.client.list_events(bench.who, None)).events) == 1


async def test_an_endless_body_is_cut_off(bench: Bench) -> None:
    bench.server.on(EVENTS, endless)
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "answer_too_large"
    assert len(bench.server.asked) == 1


async def test_a_body_announced_as_too_large_is_not_read(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, " " * 300_000))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "answer_too_large"


async def test_a_packed_body_that_unpacks_without_end_is_cut_off(bench: Bench) -> None:
    async def bomb(_: web.Request) -> web.StreamResponse:
        response = web.Response(body=b" " * 20_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    bench.server.on(EVENTS, bomb)
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "answer_too_large"


MANY = 300_000


@pytest.mark.parametrize("element", ["{}", "[]", '""', "1", '{"conferencing":{}}'])
async def test_a_small_answer_of_very_many_elements_is_not_decoded(bench: Bench, element: str) -> None:
    settings = replace(bench.settings, max_response_bytes=8 * 1024 * 1024)
    elements = ",".join([element] * MANY)
    bench.server.on(EVENTS, packed(f'{{"events":[{elements}]}}'.encode(), "gzip"))
    roster = f'{{"cronofy.data":{{"conferencing_profiles":[{elements}]}}}}'
    bench.server.on(USERINFO, packed(roster.encode(), "gzip"))
    async with open_session(settings) as session:
        client = a_client(settings, session, bench.who.tokens).client
        for call in (client.list_events(bench.who, None), client.userinfo(bench.who)):
            with pytest.raises(AccountUnreadable, match="200000 elements") as raised:
                await call
            assert raised.value.kind == "answer_too_large"


def packed(body: bytes, coding: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=packed_bytes(coding, body), headers={"Content-Encoding": coding})

    return answer


def packed_bytes(coding: str, body: bytes) -> bytes:
    if coding == "gzip":
        return gzip.compress(body)
    return zlib.compress(body) if coding == "deflate" else body


async def test_only_what_can_be_unpacked_piece_by_piece_is_asked_for(bench: Bench) -> None:
    page = json.dumps(a_page(an_event())).encode()
    for coding in ("gzip", "deflate", "identity"):
        bench.server.on(EVENTS, packed(page, coding))
        assert len((await bench.client.list_events(bench.who, None)).events) == 1
    assert {asked.headers["Accept-Encoding"] for asked in bench.server.asked} == {"gzip, deflate"}
    for coding in ("br", "zstd"):
        bench.server.on(EVENTS, packed(page, coding))
        with pytest.raises(AccountUnreadable):
            await bench.client.list_events(bench.who, None)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_what_unpacks_to_more_than_is_read_is_cut_off_while_it_is_unpacked(bench: Bench, coding: str) -> None:
    halves = [packed_bytes(coding, b" " * 10_000_000) for _ in range(2)]

    async def bomb(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"".join(halves), headers={"Content-Encoding": coding})

    bench.server.on(EVENTS, bomb)
    tracemalloc.start()
    try:
        with pytest.raises(AccountUnreadable) as raised:
            await bench.client.list_events(bench.who, None)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert raised.value.kind == "answer_too_large"


async def test_decoding_what_is_large_leaves_the_loop_to_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    began, other_work_done, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def read_slowly(body: bytes) -> Page:
        loop.call_soon_threadsafe(began.set)
        assert other_work_done.wait(20), "nobody else had a turn while an answer was decoded"
        return read_page(body)

    monkeypatch.setattr("reconciler.cronofy.client.read_page", read_slowly)
    bench.server.on(EVENTS, (200, a_page(an_event(description="x" * 190_000))))
    reading = asyncio.create_task(bench.client.list_events(bench.who, None))
    await began.wait()
    other_work_done.set()
    assert len((await reading).events) == 1


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


@hasty
async def test_a_body_that_comes_drop_by_drop_costs_two_timeouts(bench: Bench) -> None:
    bench.server.on(USERINFO, drip)
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.userinfo(bench.who)
    assert raised.value.kind == "timeout"
    assert len(bench.server.asked) == 2


async def rough(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lines: bytes) -> None:
    """Answer with such lines without end, whatever is asked."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        while True:
            writer.write(lines)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"x" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n",
        b"x" * 65_536,
    ],
)
async def test_headers_without_end_cost_that_account_alone(lines: bytes) -> None:
    async with await asyncio.start_server(lambda r, w: rough(r, w, lines), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = ClientSettings("id", "secret", url, timeout=0.5)
        async with open_session(settings) as session:
            made = a_client(settings, session, Tokens("access-1", "refresh-1", None))
            with pytest.raises(AccountUnreadable) as raised:
                await made.client.userinfo(made.who)
            assert raised.value.kind in {"connection_lost", "timeout"}


async def test_an_error_with_an_endless_body_is_still_that_error(bench: Bench) -> None:
    async def endless_error(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=403)
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    async def silent_error(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=422)
        await response.prepare(request)
        await asyncio.sleep(3600)
        return response

    bench.server.on(EVENTS, endless_error)
    bench.server.on(UPSERT, silent_error)
    with pytest.raises(AccountUnauthorized):
        await bench.client.list_events(bench.who, None)
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [Rejected(422)]


@pytest.mark.parametrize("body", ["<html>marker</html>", "", '{"events":"marker"}'])
async def test_an_answer_of_another_shape_costs_that_account_alone(bench: Bench, body: str) -> None:
    bench.server.on(EVENTS, (200, body))
    bench.server.on(USERINFO, (200, body))
    for call in (bench.client.list_events(bench.who, None), bench.client.userinfo(bench.who)):
        with pytest.raises(AccountUnreadable) as raised:
            await call
        assert raised.value.kind == "malformed"
        assert "marker" not in str(raised.value)


HALF_AN_EMOJI = "Lunch \ud83d"


async def test_half_an_emoji_costs_nothing_but_itself_in_any_answer(bench: Bench) -> None:
    bench.server.on(EVENTS, (401, ""), (200, a_page(an_event(1, summary=HALF_AN_EMOJI), an_event(2))))
    bench.server.on(TOKEN, (200, {**NEW_PAIR, "scope": HALF_AN_EMOJI}))
    profile = {"profile_id": "pro_1", "profile_name": HALF_AN_EMOJI, "profile_connected": True}
    bench.server.on(USERINFO, (200, {"name": HALF_AN_EMOJI, "cronofy.data": {"conferencing_profiles": [profile]}}))
    bench.server.on(UPSERT, (422, {"errors": {"start": [{"key": "errors.required", "description": HALF_AN_EMOJI}]}}))
    listing = await bench.client.list_events(bench.who, None)
    assert all(isinstance(event, Found) for event in listing.events.values())
    assert [tokens.refresh for tokens in bench.store.saved] == ["refresh-2"]
    (read,) = (await bench.client.userinfo(bench.who)).conferencing
    assert read.profile_name == "Lunch \ufffd"
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [Rejected(422, ("errors.required",))]


async def test_403_asks_for_the_person_and_other_refusals_name_their_status(bench: Bench) -> None:
    errors = {"errors": {"from": [{"key": "errors.invalid", "description": "marker"}]}}
    bench.server.on(EVENTS, (403, "marker"), (422, errors))
    with pytest.raises(AccountUnauthorized, match="403: scope or permission missing"):
        await bench.client.list_events(bench.who, None)
    with pytest.raises(AccountUnreadable, match=r"422 to GET /v1/events \(errors.invalid\)"):
        await bench.client.list_events(bench.who, None)


# ---------------------------------------------------------------- Cronofy away


async def test_nobody_listening_stops_the_run_within_seconds() -> None:
    settings = ClientSettings("id", "secret", "http://127.0.0.1:9", timeout=0.2)
    async with open_session(settings) as session:
        bench = a_client(settings, session, Tokens("access-1", "refresh-1", None))
        with pytest.raises(ApiUnreachable) as raised:
            await bench.client.list_events(bench.who, None)
        assert str(raised.value) == (
            "Cronofy cannot be reached: no connection to Cronofy (127.0.0.1) for GET /v1/events: connection refused,"
            " 4 attempts; check RECONCILER_CRONOFY_URL and the network"
        )
        assert sum(bench.sleep.slept) < 3.5
        with pytest.raises(ApiUnreachable):
            await bench.client.upsert(bench.who, [an_upsert()])


async def test_a_name_that_does_not_exist_stops_the_run_too() -> None:
    class Nowhere(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[aiohttp.abc.ResolveResult]:
            raise OSError(f"marker {host} {port} {family}")

        async def close(self) -> None:
            pass

    settings = ClientSettings("id", "secret", "https://nowhere.invalid", timeout=2.0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Nowhere())) as session:
        bench = a_client(settings, session, Tokens("access-1", "refresh-1", None))
        with pytest.raises(ApiUnreachable, match=r"\(nowhere\.invalid\) for GET /v1/userinfo: its name is not "):
            await bench.client.userinfo(bench.who)


async def test_one_broken_account_among_healthy_ones_stops_nothing(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, a_page()))
    bench.server.on(USERINFO, (500, ""))
    for _ in range(3):
        await bench.client.list_events(bench.who, None)
        with pytest.raises(AccountUnreadable):
            await bench.client.userinfo(bench.who)


async def test_500s_for_everybody_stop_the_run_but_lose_no_outcome(bench: Bench) -> None:
    bench.server.on(EVENTS, (500, ""))
    bench.server.on(UPSERT, (500, ""))
    *others, bob = [Credentials(AccountId(f"acc_{n}"), "us", Tokens("access-2", None, None)) for n in range(6)]
    for who in others:
        with pytest.raises(AccountUnreadable):
            await bench.client.list_events(who, None)
    with pytest.raises(ApiUnreachable):
        await bench.client.list_events(bob, None)
    assert await bench.client.upsert(bob, [an_upsert()]) == [
        InDoubt("Cronofy (127.0.0.1) answered 500 to POST /v1/calendars/CALENDAR_ID/events")
    ]


# ---------------------------------------------------------------- tokens

NEW_PAIR = {"token_type": "bearer", "access_token": "access-2", "expires_in": 3600, "refresh_token": "refresh-2"}


def only(*fresh: str) -> Handler:
    """401 to any token that is not one of these."""

    async def answer(request: web.Request) -> web.StreamResponse:
        known = request.headers["Authorization"] in {f"Bearer {access}" for access in fresh}
        return web.json_response(a_page()) if known else web.Response(status=401)

    return answer


def seconds_left(bench: Bench, seconds: float, refresh: str | None = "refresh-1") -> Credentials:
    tokens = Tokens("access-1", refresh, bench.clock.now() + timedelta(seconds=seconds))
    bench.store.stored[JANE] = tokens
    return Credentials(JANE, "us", tokens)


async def test_a_401_is_mended_by_a_refresh_and_the_new_pair_is_used_from_then_on(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(TOKEN, (200, NEW_PAIR))
    await bench.client.list_events(bench.who, None)
    await bench.client.list_events(bench.who, None)
    assert bench.server.paths() == [EVENTS, TOKEN, EVENTS, EVENTS]
    assert bench.meter.counts == {"events": 3, "token": 1}
    assert json.loads(bench.server.asked[1].body) == {
        "client_id": "id",
        "client_secret": "secret",
        "grant_type": "refresh_token",
        "refresh_token": "refresh-1",
    }
    assert bench.server.asked[1].bearer is None
    assert bench.store.stored[JANE] == Tokens("access-2", "refresh-2", bench.clock.now() + timedelta(hours=1))


async def test_a_pair_that_somebody_stored_in_the_meantime_is_taken_first(bench: Bench) -> None:
    bench.store.stored[JANE] = Tokens("access-9", "refresh-9", None)
    bench.server.on(EVENTS, only("access-9"))
    await bench.client.list_events(bench.who, None)
    assert bench.server.bearers() == ["Bearer access-1", "Bearer access-9"]
    assert bench.store.saved == []


async def test_a_stored_pair_that_does_not_work_either_is_refreshed_once(bench: Bench) -> None:
    bench.store.stored[JANE] = Tokens("access-9", "refresh-9", None)
    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(TOKEN, (200, NEW_PAIR))
    await bench.client.list_events(bench.who, None)
    assert bench.server.bearers() == ["Bearer access-1", "Bearer access-9", "Bearer access-2"]


async def test_refreshed_tokens_that_are_refused_end_it(bench: Bench) -> None:
    bench.server.on(EVENTS, (401, ""))
    bench.server.on(UPSERT, (401, ""))
    bench.server.on(TOKEN, (200, {**NEW_PAIR, "access_token": "access-1"}))
    with pytest.raises(AccountUnauthorized, match="401"):
        await bench.client.list_events(bench.who, None)
    assert bench.server.paths() == [EVENTS, TOKEN, EVENTS]
    (outcome,) = await bench.client.upsert(bench.who, [an_upsert()])
    assert isinstance(outcome, Unsent)


async def test_a_token_about_to_end_is_refreshed_ahead(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(TOKEN, (200, NEW_PAIR))
    await bench.client.list_events(seconds_left(bench, 59), None)
    assert bench.server.paths() == [TOKEN, EVENTS]


async def test_a_token_that_lasts_is_left_alone(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-1"))
    await bench.client.list_events(seconds_left(bench, 61), None)
    assert bench.server.paths() == [EVENTS]


async def test_a_token_that_nothing_can_refresh_is_used_to_its_end(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-1"))
    await bench.client.list_events(seconds_left(bench, 5, refresh=None), None)
    assert bench.server.paths() == [EVENTS]


@pytest.mark.parametrize("access", ["", "with\r\nnewline", "ümlaut"])
async def test_a_missing_or_unusable_access_token_is_refreshed(bench: Bench, access: str) -> None:
    tokens = Tokens(access, "refresh-1", None)
    bench.store.stored[JANE] = tokens
    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(TOKEN, (200, NEW_PAIR))
    await bench.client.list_events(Credentials(JANE, "us", tokens), None)
    assert bench.server.paths() == [TOKEN, EVENTS]


@pytest.mark.parametrize("tokens", [None, Tokens("", None, None), Tokens("", "", None)])
async def test_no_tokens_ask_for_the_person(bench: Bench, tokens: Tokens | None) -> None:
    who = Credentials(JANE, "us", tokens)
    with pytest.raises(AccountUnauthorized, match="no token is stored"):
        await bench.client.list_events(who, None)
    assert await bench.client.upsert(who, [an_upsert()]) == [Unsent("no token is stored", unauthorized=True)]
    assert bench.server.asked == []


async def test_tokens_taken_out_of_the_store_meanwhile_are_none(bench: Bench) -> None:
    bench.store.stored.clear()
    bench.server.on(EVENTS, (401, ""))
    with pytest.raises(AccountUnauthorized, match="no token is stored"):
        await bench.client.list_events(bench.who, None)


async def test_without_a_refresh_token_a_401_is_final(bench: Bench) -> None:
    tokens = Tokens("access-1", None, None)
    bench.store.stored[JANE] = tokens
    bench.server.on(EVENTS, (401, ""))
    with pytest.raises(AccountUnauthorized, match="no refresh token"):
        await bench.client.list_events(Credentials(JANE, "us", tokens), None)


async def test_an_answer_without_refresh_token_keeps_the_old_one(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(TOKEN, (200, {"access_token": "access-2"}))
    await bench.client.list_events(bench.who, None)
    assert bench.store.stored[JANE] == Tokens("access-2", "refresh-1", None)


@pytest.mark.parametrize("access", [None, 5, "access\0", "access-\ud83d", "access\nx"], ids=repr)
async def test_a_refresh_token_is_stored_also_where_the_access_token_beside_it_is_of_no_use(
    bench: Bench, access: Any
) -> None:
    bench.server.on(EVENTS, only("access-3"))
    bench.server.on(
        TOKEN,
        (200, {"access_token": access, "refresh_token": "refresh-2", "expires_in": 3600}),
        (200, {"access_token": "access-3", "refresh_token": "refresh-3"}),
    )
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "token_unusable"
    assert bench.store.stored[JANE] == Tokens("access-1", "refresh-2", None)
    assert bench.server.paths() == [EVENTS, TOKEN]
    await bench.client.list_events(bench.who, None)
    assert b"refresh-2" in bench.server.asked[-2].body
    assert bench.store.stored[JANE] == Tokens("access-3", "refresh-3", None)


async def test_a_new_pair_is_stored_before_it_is_used(bench: Bench) -> None:
    async def events(request: web.Request) -> web.StreamResponse:
        access = request.headers["Authorization"].removeprefix("Bearer ")
        if access == "access-1":
            return web.Response(status=401)
        assert bench.store.stored[JANE].access == access
        return web.json_response(a_page())

    bench.server.on(EVENTS, events)
    bench.server.on(TOKEN, (200, NEW_PAIR))
    await bench.client.list_events(bench.who, None)
    assert [tokens.refresh for tokens in bench.store.saved] == ["refresh-2"]


async def test_a_pair_the_application_stored_during_the_refresh_stands(bench: Bench) -> None:
    async def token(_: web.Request) -> web.StreamResponse:
        bench.store.stored[JANE] = Tokens("access-app", "refresh-app", None)
        return web.json_response(NEW_PAIR)

    bench.server.on(EVENTS, only("access-app"))
    bench.server.on(TOKEN, token)
    await bench.client.list_events(bench.who, None)
    assert bench.store.stored[JANE].access == "access-app"


async def test_many_waiters_share_one_refresh(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(USERINFO, (200, {"cronofy.data": {}}))
    bench.server.on(TOKEN, (200, NEW_PAIR))
    await asyncio.gather(*(bench.client.list_events(bench.who, None) for _ in range(12)))
    assert bench.server.paths().count(TOKEN) == 1


async def test_who_hears_the_401_after_others_have_refreshed_takes_their_tokens(bench: Bench) -> None:
    arrived = asyncio.Event()

    async def userinfo(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer access-2":
            return web.json_response({"cronofy.data": {}})
        await arrived.wait()
        return web.Response(status=401)

    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(USERINFO, userinfo)
    bench.server.on(TOKEN, (200, NEW_PAIR))
    late = asyncio.create_task(bench.client.userinfo(bench.who))
    await bench.client.list_events(bench.who, None)
    arrived.set()
    await late
    assert bench.server.paths().count(TOKEN) == 1


async def test_many_waiters_share_one_failure(bench: Bench) -> None:
    bench.server.on(EVENTS, (401, ""))
    bench.server.on(TOKEN, (400, {"error": "invalid_grant"}))
    calls = [bench.client.list_events(seconds_left(bench, 10), None) for _ in range(12)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, AccountUnauthorized) for result in results)
    assert bench.server.paths().count(TOKEN) == 1


async def test_an_older_pair_that_a_caller_still_holds_is_not_used_again(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-2", "access-3"))
    bench.server.on(TOKEN, (200, NEW_PAIR))
    await bench.client.list_events(bench.who, None)
    await bench.client.list_events(bench.who, None)
    await bench.client.list_events(Credentials(JANE, "us", Tokens("access-3", "refresh-3", None)), None)
    assert bench.server.bearers()[2:] == ["Bearer access-2", "Bearer access-3"]


async def test_accounts_beyond_those_remembered_are_read_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cronofy.grants.REMEMBERED_ACCOUNTS", 2)
    bench.server.on(EVENTS, (200, a_page()))
    for n in range(5):
        await bench.client.list_events(Credentials(AccountId(f"acc_{n}"), "us", Tokens("a", None, None)), None)
    assert len(bench.client._grants._grants) == 2


async def test_invalid_grant_asks_for_the_person_after_a_second_look_at_the_store(bench: Bench) -> None:
    bench.server.on(EVENTS, (401, ""))
    bench.server.on(TOKEN, (400, {"error": "invalid_grant"}))
    with pytest.raises(AccountUnauthorized, match="invalid_grant"):
        await bench.client.list_events(bench.who, None)
    assert bench.server.paths() == [EVENTS, TOKEN]
    assert bench.sleep.slept == [0.5]


@pytest.mark.parametrize("access, asked", [("access-9", 1), ("access-1", 2)])
async def test_invalid_grant_with_another_pair_in_the_store_tries_that_one(
    bench: Bench, access: str, asked: int
) -> None:
    async def token(_: web.Request) -> web.StreamResponse:
        if json.loads(bench.server.asked[-1].body)["refresh_token"] == "refresh-9":
            return web.json_response({**NEW_PAIR, "access_token": "access-9"})
        bench.store.stored[JANE] = Tokens(access, "refresh-9", None)
        return web.json_response({"error": "invalid_grant"}, status=400)

    bench.server.on(EVENTS, only("access-9"))
    bench.server.on(TOKEN, token)
    await bench.client.list_events(bench.who, None)
    assert bench.server.paths().count(TOKEN) == asked


async def test_the_other_pair_is_tried_once_only(bench: Bench) -> None:
    async def token(_: web.Request) -> web.StreamResponse:
        bench.store.stored[JANE] = Tokens("", "refresh-9", None)
        return web.json_response({"error": "invalid_grant"}, status=400)

    bench.server.on(EVENTS, (401, ""))
    bench.server.on(TOKEN, token)
    with pytest.raises(AccountUnauthorized, match="invalid_grant"):
        await bench.client.list_events(bench.who, None)
    assert bench.server.paths().count(TOKEN) == 2


@pytest.mark.parametrize("lost", [reset, (500, ""), (502, "<html>"), (200, "<html>"), (200, {"access_token": "é"})])
async def test_a_refresh_whose_answer_was_lost_is_repeated_but_never_blamed_on_the_person(
    bench: Bench, lost: Reply
) -> None:
    bench.server.on(EVENTS, (401, ""))
    bench.server.on(TOKEN, lost, (400, {"error": "invalid_grant"}))
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "token_in_doubt"
    with pytest.raises(AccountUnauthorized):
        await bench.client.list_events(bench.who, None)


@hasty
async def test_a_lost_answer_followed_by_a_pair_is_no_doubt(bench: Bench) -> None:
    bench.server.on(EVENTS, only("access-2"))
    bench.server.on(TOKEN, hang, (200, NEW_PAIR))
    await bench.client.list_events(bench.who, None)
    assert bench.meter.counts["token"] == 2


@pytest.mark.parametrize("passing", [(429, ""), (503, "")])
async def test_a_refresh_that_was_put_off_is_repeated_without_doubt(bench: Bench, passing: tuple[int, Any]) -> None:
    bench.server.on(EVENTS, (401, ""))
    bench.server.on(TOKEN, passing, (400, {"error": "invalid_grant"}))
    with pytest.raises(AccountUnauthorized):
        await bench.client.list_events(bench.who, None)


@hasty
async def test_a_token_endpoint_that_does_not_answer_makes_a_write_unsent_not_doubtful(bench: Bench) -> None:
    bench.server.on(TOKEN, hang)
    (outcome,) = await bench.client.upsert(seconds_left(bench, 5), [an_upsert()])
    assert outcome == Unsent("Cronofy (127.0.0.1) did not answer POST /oauth/token in time, 2 attempts")


@pytest.mark.parametrize("reply", [(400, {"error": "invalid_client"}), (401, {"error": "invalid_client"}), (401, "")])
async def test_bad_client_credentials_stop_the_run(bench: Bench, reply: tuple[int, Any]) -> None:
    bench.server.on(EVENTS, (401, ""))
    bench.server.on(TOKEN, reply)
    with pytest.raises(ClientRejected, match="RECONCILER_CRONOFY_CLIENT_ID"):
        await bench.client.list_events(bench.who, None)
    bench.server.on(UPSERT, (401, ""))
    with pytest.raises(ClientRejected):
        await bench.client.upsert(bench.who, [an_upsert()])


@pytest.mark.parametrize("reply", [(400, {"error": "invalid_request"}), (403, "marker"), (302, "")])
async def test_any_other_refusal_of_a_refresh_costs_the_account_this_run(bench: Bench, reply: tuple[int, Any]) -> None:
    bench.server.on(EVENTS, (401, ""))
    bench.server.on(TOKEN, reply)
    with pytest.raises(AccountUnreadable) as raised:
        await bench.client.list_events(bench.who, None)
    assert raised.value.kind == "token_refused"
    assert "marker" not in str(raised.value)


async def test_a_cancelled_refresh_still_stores_the_new_pair(bench: Bench) -> None:
    asked = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.sleep(0.05)
        return web.json_response(NEW_PAIR)

    bench.server.on(TOKEN, slow)
    task = asyncio.create_task(bench.client.list_events(seconds_left(bench, 5), None))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.store.stored[JANE].refresh == "refresh-2"
    assert bench.server.paths() == [TOKEN]


async def test_finishing_has_a_deadline_and_gives_way_to_a_second_cancel() -> None:
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("x")

    task = asyncio.create_task(finish(forever(), 0.02))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["x"]

    task = asyncio.create_task(finish(forever(), 60))
    for _ in range(2):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["x", "x"]


async def test_finishing_passes_on_what_the_work_raises() -> None:
    async def failing() -> None:
        raise AccountUnauthorized("x")

    async def given_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(AccountUnauthorized):
        await finish(failing(), 1)
    with pytest.raises(asyncio.CancelledError):
        await finish(given_up(), 1)


# ---------------------------------------------------------------- writing


async def test_one_write_goes_out_alone_byte_for_byte(bench: Bench) -> None:
    bench.server.on(UPSERT, (202, ""))
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [Applied()]
    (asked,) = bench.server.asked
    assert asked.method == "POST"
    assert asked.headers["Content-Type"] == "application/json; charset=utf-8"
    assert asked.body.decode() == (
        '{"event_id":"evt-1","summary":"Gespräch","rate":1.10,"conferencing":{"profile_id":"pro_new"}}'
    )
    assert bench.meter.counts == {"upsert": 1}


FORBIDDEN = Unsent("403: scope or permission missing", unauthorized=True)


async def test_nothing_to_write_asks_nothing(bench: Bench) -> None:
    assert await bench.client.upsert(bench.who, []) == []
    assert bench.server.asked == []


@pytest.mark.parametrize(
    "status, outcome",
    [(402, Rejected(402)), (404, Rejected(404)), (423, Rejected(423)), (418, Rejected(418))],
)
async def test_refusals_are_final(bench: Bench, status: int, outcome: Rejected) -> None:
    bench.server.on(UPSERT, (status, "<html>"))
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [outcome]
    assert len(bench.server.asked) == 1


async def test_a_write_that_is_forbidden_asks_for_the_person(bench: Bench) -> None:
    bench.server.on(UPSERT, (403, "<html>"))
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [FORBIDDEN]
    bench.server.on(BATCH, (403, ""), (207, {"batch": [{"status": 403}, {"status": 403}]}))
    assert await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)]) == [FORBIDDEN, FORBIDDEN]
    assert await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)]) == [FORBIDDEN, FORBIDDEN]


async def test_a_write_that_is_forbidden_beside_one_that_is_not_is_a_matter_of_its_calendar(bench: Bench) -> None:
    bench.server.on(BATCH, (207, {"batch": [{"status": 403}, {"status": 202}]}))
    assert await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)]) == [Rejected(403), Applied()]


async def test_a_422_brings_its_keys(bench: Bench) -> None:
    errors = {"errors": {"conferencing.profile_id": [{"key": "errors.not_recognized", "description": "x"}]}}
    bench.server.on(UPSERT, (422, errors))
    (outcome,) = await bench.client.upsert(bench.who, [an_upsert()])
    assert outcome == Rejected(422, ("errors.not_recognized",))
    assert outcome.about_profile


@hasty
@pytest.mark.parametrize("reply", [hang, reset, (500, ""), (502, "<html>"), (504, "")])
async def test_a_write_whose_answer_was_lost_is_in_doubt_and_not_sent_again(bench: Bench, reply: Reply) -> None:
    bench.server.on(UPSERT, reply)
    bench.server.on(BATCH, reply)
    (outcome,) = await bench.client.upsert(bench.who, [an_upsert()])
    assert isinstance(outcome, InDoubt)
    both = await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)])
    assert [type(outcome) for outcome in both] == [InDoubt, InDoubt]
    assert len(bench.server.asked) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_write_that_was_put_off_is_sent_again(bench: Bench, status: int) -> None:
    bench.server.on(UPSERT, (status, "", {"Retry-After": "2"}), (202, ""))
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [Applied()]
    assert bench.sleep.slept == [2.0]
    bench.server.on(UPSERT, (status, ""))
    (outcome,) = await bench.client.upsert(bench.who, [an_upsert()])
    assert isinstance(outcome, Unsent)
    assert len(bench.server.asked) == 2 + 4


async def test_a_401_to_a_write_is_mended_by_a_refresh(bench: Bench) -> None:
    bench.server.on(UPSERT, (401, ""), (202, ""))
    bench.server.on(BATCH, (401, ""), (207, {"batch": [{"status": 202}] * 2}))
    bench.server.on(TOKEN, (200, NEW_PAIR), (200, {**NEW_PAIR, "access_token": "access-3"}))
    assert await bench.client.upsert(bench.who, [an_upsert()]) == [Applied()]
    assert await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)]) == [Applied(), Applied()]


async def test_many_writes_travel_in_batches_of_fifty(bench: Bench) -> None:
    sizes = []

    async def batch(_: web.Request) -> web.StreamResponse:
        entries = json.loads(bench.server.asked[-1].body)["batch"]
        sizes.append(len(entries))
        assert {entry["relative_url"] for entry in entries} == {UPSERT}
        assert entries[0]["data"]["conferencing"] == {"profile_id": "pro_new"}
        return web.json_response({"batch": [{"status": 202}] * len(entries)}, status=207)

    bench.server.on(BATCH, batch)
    bench.server.on(UPSERT, (202, ""))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(101)])
    assert outcomes == [Applied()] * 101
    assert sizes == [50, 50]
    assert bench.meter.counts == {"batch": 2, "upsert": 1}
    assert bench.budget.reserved == [50, 50, 1]
    assert b"Gespr\xc3\xa4ch" in bench.server.asked[0].body
    assert b'"rate":1.10' in bench.server.asked[0].body


async def test_every_entry_of_a_batch_has_its_own_outcome(bench: Bench) -> None:
    errors = {"errors": {"summary": [{"key": "errors.required"}]}}
    statuses = [
        {"status": 202},
        {"status": 422, "data": errors},
        {"status": 402},
        {"status": 500},
        {"status": 401},
        {"status": 302},
    ]
    bench.server.on(BATCH, (207, {"batch": statuses}))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(6)])
    assert outcomes == [
        Applied(),
        Rejected(422, ("errors.required",)),
        Rejected(402),
        InDoubt("Cronofy (127.0.0.1) answered 500 to POST /v1/batch"),
        Unsent("Cronofy (127.0.0.1) answered 401 to POST /v1/batch"),
        InDoubt("Cronofy (127.0.0.1) answered 302 to POST /v1/batch"),
    ]


async def test_an_entry_of_a_batch_that_cannot_be_read_leaves_itself_alone_in_doubt(bench: Bench) -> None:
    said = {"status": 202, "data": {"description": HALF_AN_EMOJI}}
    bench.server.on(BATCH, (207, {"batch": [said, {"status": HALF_AN_EMOJI}, said]}))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(3)])
    assert outcomes == [Applied(), InDoubt("the answer to this entry of a batch cannot be read"), Applied()]
    assert len(bench.server.asked) == 1


@pytest.mark.parametrize("status, held", [(429, 1), (503, 0)])
async def test_entries_that_were_put_off_are_sent_again_alone(bench: Bench, status: int, held: int) -> None:
    bench.server.on(
        BATCH,
        (207, {"batch": [{"status": 202}, {"status": status}, {"status": 422}, {"status": status}]}),
        (207, {"batch": [{"status": 202}, {"status": status}]}),
    )
    bench.server.on(UPSERT, (202, ""))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(4)])
    assert outcomes == [Applied(), Applied(), Rejected(422), Applied()]
    second = json.loads(bench.server.asked[1].body)["batch"]
    assert [entry["data"]["event_id"] for entry in second] == ["evt-1", "evt-3"]
    assert bench.server.paths() == [BATCH, BATCH, UPSERT]
    assert len(bench.budget.holds) == 2 * held
    assert bench.meter.counts["retried"] == 2


async def test_entries_put_off_for_ever_are_unsent_and_the_others_keep_their_outcome(bench: Bench) -> None:
    bench.server.on(BATCH, (207, {"batch": [{"status": 202}, {"status": 429}, {"status": 503}]}))
    bench.server.on(BATCH, *bench.server.replies[BATCH], (207, {"batch": [{"status": 429}, {"status": 503}]}))
    first, *others = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(3)])
    assert first == Applied()
    assert [type(outcome) for outcome in others] == [Unsent, Unsent]
    assert len(bench.server.asked) == 4


async def test_an_answer_lost_on_the_second_sending_leaves_the_first_answers_alone(bench: Bench) -> None:
    bench.server.on(BATCH, (207, {"batch": [{"status": 202}, {"status": 429}, {"status": 429}]}), reset)
    first, *others = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(3)])
    assert first == Applied()
    assert [type(outcome) for outcome in others] == [InDoubt, InDoubt]


@pytest.mark.parametrize(
    "answer",
    [
        {"batch": [{"status": 202}]},
        {"batch": [{"status": 202}] * 3},
        {"batch": []},
        {"batch": [{"status": "202"}] * 2},
        {},
        "<html>",
        "",
        " " * 300_000,
    ],
    ids=lambda answer: repr(answer)[:30],
)
async def test_an_answer_that_does_not_fit_the_batch_leaves_all_in_doubt(bench: Bench, answer: Any) -> None:
    bench.server.on(BATCH, (207, answer))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)])
    assert [type(outcome) for outcome in outcomes] == [InDoubt, InDoubt]
    assert len(bench.server.asked) == 1


async def test_a_batch_refused_as_a_whole_is_sent_entry_by_entry(bench: Bench) -> None:
    bench.server.on(BATCH, (422, {"errors": {"batch": [{"key": "errors.invalid"}]}}))
    bench.server.on(UPSERT, (202, ""), (404, ""))
    assert await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)]) == [Applied(), Rejected(404)]


@pytest.mark.parametrize("status", [402, 423])
async def test_a_refusal_of_the_account_is_one_of_every_entry(bench: Bench, status: int) -> None:
    bench.server.on(BATCH, (status, ""))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(1), an_upsert(2)])
    assert outcomes == [Rejected(status), Rejected(status)]


async def test_a_body_that_cannot_be_sent_keeps_the_others_from_nothing(bench: Bench) -> None:
    bench.server.on(UPSERT, (202, ""))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(1, body="[]"), an_upsert(2)])
    assert outcomes == [Unsent("the stored body cannot be sent as it is"), Applied()]


@pytest.mark.parametrize("calendar_id", ["", ".", ".."])
async def test_a_calendar_id_that_leads_elsewhere_is_not_asked(bench: Bench, calendar_id: str) -> None:
    upsert = replace(an_upsert(), key=EventKey(CalendarId(calendar_id), EventId("evt-1")))
    assert await bench.client.upsert(bench.who, [upsert]) == [Unsent("no calendar has such an id")]
    assert bench.server.asked == []


async def test_what_was_written_before_the_account_failed_is_not_forgotten(bench: Bench) -> None:
    bench.server.on(BATCH, (207, {"batch": [{"status": 202}] * 50}), (401, ""))
    bench.server.on(TOKEN, (400, {"error": "invalid_grant"}))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(60)])
    assert outcomes == [Applied()] * 50 + [Unsent("invalid_grant", unauthorized=True)] * 10


async def test_what_was_written_before_the_run_had_to_stop_is_not_forgotten(bench: Bench) -> None:
    bench.server.on(BATCH, (207, {"batch": [{"status": 202}] * 50}), (401, ""))
    bench.server.on(TOKEN, (400, {"error": "invalid_client"}))
    outcomes = await bench.client.upsert(bench.who, [an_upsert(n) for n in range(60)])
    assert outcomes[:50] == [Applied()] * 50
    assert {type(outcome) for outcome in outcomes[50:]} == {Unsent}


async def test_a_write_that_never_connected_is_unsent(bench: Bench) -> None:
    bench.server.on(EVENTS, (200, a_page()))
    await bench.client.list_events(bench.who, None)
    gone = a_client(replace(bench.settings, base_url="http://127.0.0.1:9"), bench.client._transport._session, None)
    gone.client._transport._breaker.answered("127.0.0.1")
    (outcome,) = await gone.client.upsert(bench.who, [an_upsert()])
    assert outcome == Unsent(
        "no connection to Cronofy (127.0.0.1) for POST /v1/calendars/CALENDAR_ID/events: connection refused, 4 attempts"
    )
    assert gone.meter.counts == {"upsert": 4, "retried": 3}


# ---------------------------------------------------------------- secrets


@hasty
async def test_no_secret_gets_into_a_log_or_an_error(
    bench: Bench, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = Tokens("marker-access", "marker-refresh", None)
    who = Credentials(JANE, "us", tokens)
    profile = {"profile_id": "pro_1", "profile_connected": False, "profile_relink_url": "https://marker-relink"}
    url = f"{bench.server.url}/p2?marker-query"
    bench.store.stored[JANE] = tokens
    bench.server.on(
        EVENTS,
        (200, a_page(an_event(conferencing={"join_url": "https://marker-join"}), next_page=url)),
        (200, "marker-body"),
        (500, "marker-body"),
    )
    bench.server.on("/p2", (200, a_page(an_event(2, start="marker-start"))), reset)
    bench.server.on(USERINFO, (200, {"cronofy.data": {"conferencing_profiles": [profile]}}), (401, "marker-body"))
    bench.server.on(TOKEN, hang, (400, {"error": "invalid_grant", "error_description": "marker-body"}))
    bench.server.on(UPSERT, hang)
    shown: list[str] = []
    write = an_upsert(1, '{"event_id":"evt-1","summary":"marker-body"}')
    with structlog.testing.capture_logs() as logged:
        for _ in range(4):
            try:
                await bench.client.list_events(who, None)
            except (AccountUnreadable, AccountUnauthorized) as error:
                shown.append("".join(traceback.format_exception(error)) + repr(error.__context__))
            try:
                await bench.client.userinfo(who)
            except (AccountUnreadable, AccountUnauthorized) as error:
                shown.append("".join(traceback.format_exception(error)) + repr(error.__context__))
            shown.append(repr(await bench.client.upsert(who, [write])))
    assert {entry["event"] for entry in logged if entry["log_level"] != "debug"} == {"relink_withheld"}
    everything = repr(logged) + caplog.text + "".join(shown) + "".join(capsys.readouterr()) + repr(who)
    assert "marker" not in everything
    for expected in ("AccountUnreadable", "AccountUnauthorized", "InDoubt"):
        assert expected in everything or any(expected in text for text in shown)
    assert "marker" not in repr(an_upsert(1, '{"event_id":"evt-1","summary":"marker"}'))
