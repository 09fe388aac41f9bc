"""The control routes below /control/: change the world while a client talks to it, and see what it asked.

JSON in and out; a request that makes no sense answers 400, one that names nothing known 404, one with the wrong method
405, all with `{"error": "…"}`, and changes nothing. Not part of Cronofy, not counted by the rate limits, not recorded.
What the bodies may hold is declared in orders.py. Reference with examples: docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Literal

from aiohttp import web

from reconciler.simulator import orders
from reconciler.simulator.accounts import Account
from reconciler.simulator.answers import BAD_REQUEST, NOT_FOUND
from reconciler.simulator.events import Event
from reconciler.simulator.faults import Fault
from reconciler.simulator.intake import decode, in_order
from reconciler.simulator.scenes import replace_scene
from reconciler.simulator.world import World

CONTROL = "/control"
Json = dict[str, Any]
Path = dict[str, str]
Act = Callable[[World, bytes, Path], Json | None]


class Unknown(LookupError):
    """Something is named that is not there; the message says what."""


def add_routes(app: web.Application, world: World) -> None:
    """Every path below /control/."""

    def route(method: str, path: str, act: Act) -> None:
        app.router.add_route(method, f"{CONTROL}/{path}", _answering(world, act))

    route("GET", "state", _plain(state))
    route("GET", "requests", _plain(lambda w: {"requests": [record.as_json() for record in w.requests]}))
    route("DELETE", "requests", _plain(World.clear_requests))
    route("DELETE", "record", _plain(World.clear_record))
    route("GET", "webhooks", _plain(lambda w: {"webhooks": [hook.as_json() for hook in w.webhooks.record]}))
    route("POST", "clock", _clock)
    route("POST", "faults", _add_fault)
    route("DELETE", "faults", _plain(lambda w: w.faults.clear()))
    route("POST", "outage", _outage)
    route("PUT", "scene", _scene)
    route("POST", "accounts/{account}", _account)
    route("POST", "accounts/{account}/profiles/{profile}", _connect)
    route("DELETE", "accounts/{account}/profiles/{profile}", _remove_profile)
    route("POST", "events", _event)
    route("POST", "settings", _settings)


def concerns(path: str) -> bool:
    """Whether a path is one of control's, known or not."""
    return path == CONTROL or path.startswith(f"{CONTROL}/")


def refusal(error: web.HTTPException, request: web.Request) -> web.Response:
    """What aiohttp itself refuses, in the form of the control routes."""
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    match error:
        case web.HTTPNotFound():
            text = f"there is no control route {request.path}"
        case web.HTTPMethodNotAllowed():
            text = (
                f"{request.path} takes {' and '.join(sorted(error.allowed_methods - {'HEAD'}))}, not {request.method}"
            )
        case _:
            text = error.reason
    return _problem(text, error.status, headers)


def _answering(world: World, act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wrap an action: hand it the body, turn its errors into 400 and 404, answer with what it returns."""

    async def serve(request: web.Request) -> web.StreamResponse:
        raw = await request.read() or b"{}"
        try:
            result = act(world, raw, dict(request.match_info))
        except Unknown as error:
            return _problem(str(error), NOT_FOUND)
        except ValueError as error:
            return _problem(str(error), BAD_REQUEST)
        return web.json_response({"ok": True} if result is None else result)

    return serve


def _plain(act: Callable[[World], Json | None]) -> Act:
    """An action that takes no body."""

    def without(world: World, raw: bytes, _: Path) -> Json | None:
        decode(orders.Nothing, raw)
        return act(world)

    return without


def _problem(text: str, status: int, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=headers)


def state(world: World) -> Json:
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


def _clock(world: World, raw: bytes, _: Path) -> Json:
    world.advance(decode(orders.Pass, raw).advance)
    return {"now": world.now().isoformat()}


def _add_fault(world: World, raw: bytes, _: Path) -> Json:
    world.aim(decode(Fault, raw))
    return {"faults": len(world.faults.active)}


def _outage(world: World, raw: bytes, _: Path) -> None:
    order = decode(orders.Outage, raw)
    world.outage(order.provider, order.on)


def _scene(world: World, raw: bytes, _: Path) -> Json:
    replace_scene(world, raw)
    return {"accounts": len(world.accounts), "events": len(world.events)}


def _account(world: World, raw: bytes, path: Path) -> None:
    account = _known_account(world, path)
    match decode(orders.Fate, raw).action:
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


def _connect(world: World, raw: bytes, path: Path) -> None:
    account = _known_account(world, path)
    change = account.reconnect if decode(orders.Connection, raw).connected else account.disconnect
    try:
        change(path["profile"])
    except KeyError:
        raise Unknown(f"{account.account_id} has no profile {path['profile']}") from None


def _remove_profile(world: World, raw: bytes, path: Path) -> None:
    account = _known_account(world, path)
    decode(orders.Nothing, raw)
    try:
        account.remove_conferencing_profile(path["profile"])
    except KeyError:
        raise Unknown(f"{account.account_id} has no conferencing profile {path['profile']}") from None


def _known_account(world: World, path: Path) -> Account:
    account = world.accounts.get(path["account"])
    if account is None:
        raise Unknown(f"there is no account {path['account']}")
    return account


def _event(world: World, raw: bytes, _: Path) -> Json:
    deed = orders.read_deed(raw)
    event = world.events.get((deed.calendar_id, deed.event_id))
    if event is None:
        raise Unknown(f"there is no event {deed.calendar_id}/{deed.event_id}")
    _do(event, deed)
    return _described(event)


def _do(event: Event, deed: orders.AnyDeed) -> None:
    match deed:
        case orders.Assign():
            event.assign(deed.join_url)
        case orders.Move():
            event.move_by_user(*in_order(deed.start, deed.end, event.world.now()))
        case orders.Show():
            event.set_conferencing(deed.value)
        case orders.Stall():
            event.delay_generation(deed.seconds)
        case orders.Bare():
            _do_bare(event, deed.action)


def _do_bare(event: Event, action: Literal["delete", "forget", "clear"]) -> None:
    match action:
        case "delete":
            event.delete_by_user()
        case "forget":
            event.forget()
        case "clear":
            event.clear_conferencing()


def _described(event: Event) -> Json:
    return {
        "calendar_id": event.calendar_id,
        "event_id": event.event_id,
        "deleted": event.deleted,
        "start": event.start.render(),
        "end": event.end.render(),
        "conferencing": event.conferencing,
    }


def _settings(world: World, raw: bytes, _: Path) -> Json:
    values = decode(dict[str, Any], raw)
    world.settings.change(values)
    return {"changed": sorted(values)}
