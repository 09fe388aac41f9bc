"""What every request of a client passes before and after its handler.

In this order: conferencing that has come due is generated, the body is read, the bearer recognised, the request
recorded; latency; the rate limits; then the fault that strikes it, if any. Rate limits come before the check of the
bearer: refused credentials cost budget too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from reconciler.simulator import answers, control
from reconciler.simulator.accounts import Account
from reconciler.simulator.calls import CALL, Call
from reconciler.simulator.faults import HTML_PAGE, Fault
from reconciler.simulator.journal import RequestRecord, kind_of, redact, redact_query
from reconciler.simulator.loopback import is_loopback, names_loopback
from reconciler.simulator.world import World

_FORM = "application/x-www-form-urlencoded"
_BEARER = "bearer "
_LOOK_S = 0.005
"""How often a request that is held looks whether it may go on."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """The way in; `base_url` is set once the port is known, `closing` when the server goes down."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.base_url = ""
        self.closing = asyncio.Event()

    async def passing(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lead one request through."""
        if not names_loopback(request.headers.get("Host")):
            return _turned_away("this simulator answers to names of this machine only", answers.MISDIRECTED)
        self._world.settle()
        if control.concerns(request.path):
            if not self._is_own(request.headers.get("Origin")):
                return _turned_away("a page of another origin has no say here", answers.FORBIDDEN)
            return await _controlled(request, handler)
        call = await self._read(request)
        request[CALL] = call
        record = self._record(request, call)
        await self._loiter()
        response = await self._answer(request, handler, call, record)
        broken = request.transport is None or request.transport.is_closing()
        record.status = None if broken else response.status
        return response

    def _is_own(self, origin: str | None) -> bool:
        """Whether a request is from no browser's page, or from a page of ours."""
        return origin is None or URL(self.base_url).port == _port_here(origin)

    async def _read(self, request: web.Request) -> Call:
        header = request.headers.get("Authorization", "")
        token = header[len(_BEARER) :] if header.lower().startswith(_BEARER) else None
        account = self._world.tokens.bearer(token) if token else None
        query = list(request.query.items())
        return Call(self._world, account, token, query, await _body(request), self.base_url)

    def _record(self, request: web.Request, call: Call) -> RequestRecord:
        world = self._world
        kind = kind_of(request.method, request.rel_url.raw_path)
        entries = call.body.get("batch") if kind == "batch" and isinstance(call.body, dict) else None
        by_entry = isinstance(entries, list) and world.settings.batch_cost == "entries"
        cost = max(1, len(entries)) if by_entry and isinstance(entries, list) else 1
        if kind == "token" and not world.settings.count_token:
            cost = 0
        account = call.account or _named_account(world, call)
        record = RequestRecord(
            at=world.now(),
            arrived=time.monotonic(),
            kind=kind,
            method=request.method,
            path=request.path,
            query=redact_query(call.query),
            account_id=account.account_id if account else None,
            cost=cost,
            body=redact(call.body),
        )
        world.requests.append(record)
        return record

    async def _loiter(self) -> None:
        latency = self._world.settings.latency
        if latency:
            await asyncio.sleep(latency * (0.5 + self._world.jitter.random()))

    async def _answer(
        self, request: web.Request, handler: Handler, call: Call, record: RequestRecord
    ) -> web.StreamResponse:
        wait = self._world.limits.arrive(record.cost) if record.cost else None
        if wait is not None:
            return web.Response(status=answers.TOO_MANY, headers=self._world.limits.headers(wait))
        fault = self._world.faults.strike(request.path, record.account_id)
        if fault is not None:
            return await self._spoil(request, handler, call, fault)
        return await _handled(request, handler)

    async def _spoil(self, request: web.Request, handler: Handler, call: Call, fault: Fault) -> web.StreamResponse:
        """Answer as the fault will have it."""
        if not fault.after_commit:
            await self._wait(fault)
        call.drop = fault.kind == "drop_write"
        performed = fault.after_commit or fault.kind in {"delay", "hold", "truncate", "drop_write"}
        good = await _handled(request, handler) if performed else web.Response()
        if fault.after_commit:
            await self._wait(fault)
        match fault.kind:
            case "delay" | "drop_write":
                return good
            case "hold":
                return good if fault.lifted else _break_off(request)
            case "status":
                return _told(fault, answers.SERVER_ERROR)
            case "html":
                return _page(fault)
            case "reset":
                return _break_off(request)
            case "truncate":
                return await _truncated(request, good)
            case "hang":
                await self.closing.wait()
                return _break_off(request)

    async def _wait(self, fault: Fault) -> None:
        """Let its time pass, or wait until it is lifted."""
        await asyncio.sleep(fault.delay)
        if fault.kind != "hold":
            return
        fault.held += 1
        while not (fault.lifted or self.closing.is_set()):  # noqa: ASYNC110 - a fault is plain data, shown as it is
            await asyncio.sleep(_LOOK_S)
        fault.held -= 1
        self._world.settle()


def _port_here(origin: str) -> int | None:
    """The port of an origin on this machine; null of any other, and of what is none."""
    try:
        url = URL(origin)
        return url.port if url.scheme == "http" and is_loopback(url.host) else None
    except ValueError:
        return None


def _turned_away(why: str, status: int) -> web.Response:
    return web.json_response({"error": why}, status=status)


async def _controlled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return control.refusal(error, request)


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        # An unknown path or method: no error of ours, so it is recorded like any other answer.
        return web.Response(status=refusal.status)


async def _body(request: web.Request) -> Any:
    """The body as JSON or form; None where there is none or it is neither."""
    raw = await request.read()
    if request.content_type == _FORM:
        return dict((await request.post()).items())
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


def _named_account(world: World, call: Call) -> Account | None:
    """Whose tokens these are, expired ones and those in the body of a token request included."""
    named = call.token and world.tokens.holder(call.token)
    if not named and isinstance(call.body, dict):
        named = world.tokens.holder(str(call.body.get("refresh_token")))
    return named or None


def _told(fault: Fault, status: int) -> web.Response:
    body = fault.body
    if body is None or isinstance(body, str):
        return web.Response(status=fault.status or status, text=body, headers=fault.headers)
    return _dressed(fault, status, json.dumps(body), "application/json")


def _page(fault: Fault) -> web.Response:
    text = fault.body if isinstance(fault.body, str) else HTML_PAGE
    return _dressed(fault, answers.BAD_GATEWAY, text, "text/html")


def _dressed(fault: Fault, status: int, text: str, content_type: str) -> web.Response:
    """Content of a type, unless the fault's own headers name another."""
    headers = CIMultiDict({"Content-Type": f"{content_type}; charset=utf-8"})
    headers.update(fault.headers or {})
    return web.Response(status=fault.status or status, body=text.encode(), headers=headers)


def _break_off(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _truncated(request: web.Request, good: web.StreamResponse) -> web.StreamResponse:
    """Half of the body, under a header that promises all of it."""
    whole = good.body if isinstance(good, web.Response) else None
    content = whole if isinstance(whole, bytes) and whole else b'{"events": []}'
    headers = {"Content-Length": str(len(content)), "Content-Type": "application/json; charset=utf-8"}
    half = web.StreamResponse(status=good.status, headers=headers)
    await half.prepare(request)
    await half.write(content[: len(content) // 2])
    if request.transport is not None:
        request.transport.close()
    return half
