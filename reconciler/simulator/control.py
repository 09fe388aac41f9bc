"""The control routes below /control/: change the world while a client talks to it, and see what it asked.

JSON in and out; a request that makes no sense answers 400 with `{"error": "…"}`. Not part of Cronofy, not counted by
the rate limits, not recorded. Reference with examples: docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from reconciler.simulator.answers import BAD_REQUEST, NOT_FOUND
from reconciler.simulator.events import Event
from reconciler.simulator.faults import Fault
from reconciler.simulator.scenes import load_scene, relative
from reconciler.simulator.world import World

Body = dict[str, Any]


def add_routes(app: web.Application, world: World) -> None:
    """Every path below /control/."""

    def route(method: str, path: str, act: Callable[[World, Body, web.Request], Any]) -> None:
        app.router.add_route(method, f"/control/{path}", _answering(world, act))

    route("GET", "state", lambda w, _, __: state(w))
    route("GET", "requests", lambda w, _, __: {"requests": [record.as_json() for record in w.requests]})
    route("DELETE", "requests", lambda w, _, __: w.clear_requests())
    route("POST", "clock", _clock)
    route("POST", "faults", _add_fault)
    route("DELETE", "faults", lambda w, _, __: w.faults.clear())
    route("POST", "outage", lambda w, body, _: w.outage(str(_need(body, "provider")), bool(body.get("on", True))))
    route("PUT", "scene", _scene)
    route("POST", "accounts/{account}", _account)
    route("POST", "accounts/{account}/profiles/{profile}", _connect)
    route("DELETE", "accounts/{account}/profiles/{profile}", _remove_profile)
    route("POST", "events", _event)
    route("POST", "settings", _settings)


def _answering(
    world: World, act: Callable[[World, Body, web.Request], Any]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wrap an action: parse its body, turn its errors into 400 and 404, answer with what it returns."""

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json() if request.can_read_body else {}
            if not isinstance(body, dict):
                raise ValueError("the body must be a JSON object")  # noqa: TRY004, TRY301 - answered like bad JSON
            result = act(world, body, request)
        except LookupError as error:
            return _problem(f"not found: {error}", NOT_FOUND)
        except (TypeError, ValueError) as error:
            return _problem(str(error), BAD_REQUEST)
        return web.json_response({"ok": True} if result is None else result)

    return serve


def _need(body: Body, name: str) -> Any:
    if name not in body:
        raise ValueError(f"{name} is missing")
    return body[name]


def _problem(text: str, status: int) -> web.Response:
    return web.json_response({"error": text}, status=status)


def state(world: World) -> Body:
    """Counts, time, peaks and violations."""
    events = list(world.events.values())
    return {
        "now": world.now().isoformat(),
        "accounts": len(world.accounts),
        "events": len(events),
        "assigned": sum(event.conference.has_link() for event in events),
        "links_made": sum(event.links_made for event in events),
        "outages": sorted(world.outages),
        "faults": [asdict(fault) for fault in world.faults.active],
        "requests": len(world.requests),
        "peak_second": world.limits.peak_second,
        "peak_minute": world.limits.peak_minute,
        "refused": world.limits.refused,
        "settings": asdict(world.settings) | {"client_secret": "[redacted]"},
        "violations": world.violations,
    }


def _clock(world: World, body: Body, _: web.Request) -> Body:
    world.advance(float(_need(body, "advance")))
    return {"now": world.now().isoformat()}


def _add_fault(world: World, body: Body, _: web.Request) -> Body:
    world.faults.add(Fault(**body))
    return {"faults": len(world.faults.active)}


def _scene(world: World, body: Body, _: web.Request) -> Body:
    world.reset()
    load_scene(world, body)
    return {"accounts": len(world.accounts), "events": len(world.events)}


def _account(world: World, body: Body, request: web.Request) -> None:
    """`{"action": "revoke" | "authorize" | "expire_token" | "lose_licence" | "restore_licence"}`."""
    account = world.accounts[request.match_info["account"]]
    match body.get("action"):
        case "revoke":
            account.revoke()
        case "authorize":
            account.authorize()
        case "expire_token":
            account.expire_token()
        case "lose_licence":
            world.licence_lost(account)
        case "restore_licence":
            world.licence_lost(account, lost=False)
        case other:
            raise ValueError(f"no such action: {other}")


def _connect(world: World, body: Body, request: web.Request) -> None:
    account = world.accounts[request.match_info["account"]]
    change = account.reconnect if _need(body, "connected") else account.disconnect
    change(request.match_info["profile"])


def _remove_profile(world: World, _: Body, request: web.Request) -> None:
    account = world.accounts[request.match_info["account"]]
    account.remove_conferencing_profile(request.match_info["profile"])


def _event(world: World, body: Body, _: web.Request) -> Body:
    event = world.event(str(_need(body, "calendar_id")), str(_need(body, "event_id")))
    now = world.now()
    match body.get("action"):
        case "assign":
            event.assign(body.get("join_url"))
        case "delete":
            event.delete_by_user()
        case "move":
            event.move_by_user(relative(_need(body, "start"), now), relative(_need(body, "end"), now))
        case "forget":
            event.forget()
        case "clear":
            event.clear_conferencing()
        case "conferencing":
            event.set_conferencing(_need(body, "value"))
        case "stall":
            event.delay_generation(float(_need(body, "seconds")))
        case other:
            raise ValueError(f"no such action: {other}")
    return _described(event)


def _described(event: Event) -> Body:
    return {
        "calendar_id": event.calendar_id,
        "event_id": event.event_id,
        "deleted": event.deleted,
        "start": event.start.render(),
        "end": event.end.render(),
        "conferencing": event.conferencing,
    }


def _settings(world: World, body: Body, _: web.Request) -> Body:
    world.settings.change(body)
    return {"changed": sorted(body)}
