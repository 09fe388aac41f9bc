"""The routes of Cronofy that are simulated, with their paths and answers as documented.

Each handler is a function of a `Call` and what the path says. Writes go through `write`, one by one, whether they come
alone or in a batch: the batch is many requests travelling together (cronofy-api.md section 7).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from reconciler.simulator import answers, identity, listing, oauth, upserts
from reconciler.simulator.accounts import SECRET_PREFIX, Account, Calendar
from reconciler.simulator.answers import ACCEPTED, FORBIDDEN, LOCKED, NOT_FOUND, SERVER_ERROR, UNPROCESSABLE
from reconciler.simulator.calls import CALL, Call
from reconciler.simulator.faults import Fault
from reconciler.simulator.upserts import error
from reconciler.simulator.world import World

BATCH_LIMIT = 50
_BATCH_METHODS = frozenset({"POST", "DELETE"})

Handler = Callable[[Call, Account, str], web.Response]
Outcome = tuple[int, Any]

_log = logging.getLogger(__name__)


def add_routes(app: web.Application) -> None:
    """Every path below Cronofy's root."""
    app.router.add_post("/oauth/token", _token)
    app.router.add_post("/oauth/token/revoke", _revoke)
    routes: list[tuple[str, str, Handler, str | None]] = [
        ("GET", "/v1/events", _events, "read_events"),
        ("GET", "/v1/events/pages/{id}", _page, "read_events"),
        ("GET", "/v1/userinfo", lambda _, account, __: answers.good(identity.userinfo(account)), None),
        ("GET", "/v1/account", lambda _, account, __: answers.good(identity.details(account)), None),
        ("GET", "/v1/profiles", lambda _, account, __: answers.good(identity.profiles(account)), None),
        (
            "GET",
            "/v1/calendars",
            lambda _, account, __: answers.good(identity.calendars(account)),
            "list_calendars",
        ),
        ("POST", "/v1/calendars/{id}/events", _upsert, "create_event"),
        ("DELETE", "/v1/calendars/{id}/events", _delete, "delete_event"),
        ("POST", "/v1/batch", _batch, None),
        ("POST", "/v1/conferencing_service_authorizations", _authorization, None),
    ]
    for method, path, handler, permission in routes:
        app.router.add_route(method, path, _with_bearer(handler, permission))


def _with_bearer(handler: Handler, permission: str | None) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Admit the bearer of a live token with that permission: 401 and 403 (section 9)."""

    async def serve(request: web.Request) -> web.StreamResponse:
        call = request[CALL]
        account = call.account
        if account is None or _wrong_data_center(call.world, account):
            _note_real_secret(call)
            return answers.unauthorized()
        if permission is not None and not account.may(permission):
            return answers.refused(call.world.settings, FORBIDDEN)
        return handler(call, account, request.match_info.get("id", ""))

    return serve


def _note_real_secret(call: Call) -> None:
    if call.token and call.token.startswith(SECRET_PREFIX):
        _log.warning("refused a bearer token that looks like a real secret")
        call.world.violation("a bearer token that looks like a real secret was sent to the simulator")


def _wrong_data_center(world: World, account: Account) -> bool:
    served = world.settings.data_center
    if served is None or account.data_center == served:
        return False
    world.violation(f"bearer token of data centre {account.data_center} sent to {served}")
    return True


async def _token(request: web.Request) -> web.StreamResponse:
    return oauth.token(request[CALL].world, request[CALL].body)


async def _revoke(request: web.Request) -> web.StreamResponse:
    return oauth.revoke(request[CALL].world, request[CALL].body)


def _events(call: Call, account: Account, _: str) -> web.Response:
    """Section 3."""
    for complaint in listing.complaints(account, call.query):
        call.world.violation(complaint)
    try:
        query = listing.read_query(call.query, call.world.now())
    except listing.Invalid as refusal:
        return answers.invalid(refusal.errors)
    return answers.good(call.world.pages.first(account, query, call.base_url))


def _page(call: Call, account: Account, page_id: str) -> web.Response:
    """Section 3.3: followed verbatim, with the same bearer."""
    found = call.world.pages.follow(page_id, call.base_url)
    if found is None:
        return answers.refused(call.world.settings, NOT_FOUND)
    owner, page = found
    if owner is not account:
        call.world.violation(f"a page of {owner.account_id} asked for with the token of {account.account_id}")
        return answers.refused(call.world.settings, NOT_FOUND)
    if call.query:
        call.world.violation("a next_page followed with a query of the client's own")
    return answers.good(page)


def _upsert(call: Call, account: Account, calendar_id: str) -> web.Response:
    return _as_answer(call.world, write(call.world, account, calendar_id, call.body, drop=call.drop))


def _delete(call: Call, account: Account, calendar_id: str) -> web.Response:
    return _as_answer(call.world, erase(call.world, account, calendar_id, call.body, drop=call.drop))


def _as_answer(world: World, outcome: Outcome) -> web.Response:
    status, errors = outcome
    if status == ACCEPTED:
        return answers.accepted()
    return answers.invalid(errors) if status == UNPROCESSABLE else answers.refused(world.settings, status)


def _authorization(call: Call, _account: Account, _: str) -> web.Response:
    """Section 10.4."""
    if not isinstance(call.body, dict) or not call.body.get("redirect_uri"):
        return answers.invalid(error("redirect_uri", "required", "redirect_uri must be specified"))
    url = f"https://app.cronofy.com/conferencing_services/{call.world.token(24)}"
    return answers.good({"authorization_request": {"url": url}})


def _batch(call: Call, account: Account, _: str) -> web.Response:
    """Section 7: 1 to 50 writes of one account, answered in the same order."""
    entries = call.body.get("batch") if isinstance(call.body, dict) else None
    if not isinstance(entries, list) or not entries:
        return answers.invalid(error("batch", "required", "batch must be specified"))
    if len(entries) > BATCH_LIMIT:
        call.world.violation(f"batch of {len(entries)} entries")
        return answers.invalid(error("batch", "too_long", f"a batch is limited to {BATCH_LIMIT} entries"))
    if not all(_supported(entry) for entry in entries):
        call.world.violation("batch with an entry that cannot be batched")
        return answers.invalid(error("batch", "not_recognized", "an entry is not supported"))
    rows = [_entry(call, account, entry) for entry in entries]
    return answers.good({"batch": rows}, answers.MULTI_STATUS)


def _supported(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("method") in _BATCH_METHODS
        and _calendar_of(entry.get("relative_url")) is not None
    )


def _calendar_of(relative_url: Any) -> str | None:
    match str(relative_url).split("/"):
        case ["", "v1", "calendars", calendar_id, "events"]:
            return unquote(calendar_id)
        case _:
            return None


def _entry(call: Call, account: Account, entry: dict[str, Any]) -> dict[str, Any]:
    fault = call.world.faults.strike_entry(unquote(entry["relative_url"]), account.account_id)
    if fault is not None and fault.kind == "status":
        return _spoilt_entry(fault)
    perform = write if entry["method"] == "POST" else erase
    calendar_id = _calendar_of(entry["relative_url"]) or ""
    drop = call.drop or fault is not None
    status, errors = perform(call.world, account, calendar_id, entry.get("data"), drop=drop)
    return {"status": status} if errors is None else {"status": status, "data": {"errors": errors}}


def _spoilt_entry(fault: Fault) -> dict[str, Any]:
    row: dict[str, Any] = {"status": fault.status or SERVER_ERROR}
    if fault.headers:
        row["headers"] = fault.headers
    if fault.body is not None:
        row["data"] = fault.body
    return row


def write(world: World, account: Account, calendar_id: str, body: Any, *, drop: bool = False) -> Outcome:
    """One upsert (section 6): its status, and the errors of a 422."""
    found = _writable(world, account, calendar_id, "create_event")
    if isinstance(found, int):
        return found, None
    event = world.events.get((calendar_id, str(body.get("event_id")))) if isinstance(body, dict) else None
    if isinstance(body, dict):
        for harm in upserts.harms(event, body, world.now()):
            world.violation(f"{harm}: {calendar_id}/{body.get('event_id')}")
    errors = upserts.shape_errors(body) or upserts.account_errors(found, body)
    if errors:
        return UNPROCESSABLE, errors
    if not drop:
        event = upserts.store(world, found, body, world.now())
    if event is not None:
        event.writes.append(copy.deepcopy(body))
    return ACCEPTED, None


def erase(world: World, account: Account, calendar_id: str, body: Any, *, drop: bool = False) -> Outcome:
    """One deletion by the application: accepted also when there is no such event (section 6.3)."""
    found = _writable(world, account, calendar_id, "delete_event")
    if isinstance(found, int):
        return found, None
    if not isinstance(body, dict) or not (body.get("event_id") or body.get("event_uid")):
        return UNPROCESSABLE, error("event_id", "required", "event_id must be specified")
    event = world.events.get((calendar_id, str(body.get("event_id"))))
    if event is not None and not drop:
        event.deleted, event.updated = True, world.now()
    return ACCEPTED, None


def _writable(world: World, account: Account, calendar_id: str, permission: str) -> Calendar | int:
    """The calendar, or the status that refuses the write (section 6.3)."""
    calendar = account.calendar(calendar_id)
    if calendar is None:
        if world.calendar(calendar_id) is not None:
            world.violation(f"bearer token of {account.account_id} used on a foreign calendar {calendar_id}")
        return NOT_FOUND
    if calendar.deleted:
        return NOT_FOUND
    if calendar.readonly or not account.may(permission):
        return FORBIDDEN
    return calendar if calendar.profile.connected else LOCKED
