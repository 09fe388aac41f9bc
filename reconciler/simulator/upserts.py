"""What an upsert may hold, what it does, and when sending it is harmful (cronofy-api.md section 6).

Errors have Cronofy's shape: field -> list of `{key, description}` (section 6.4). `omitted_fields` decides whether a
field left out of an update is cleared or kept; conferencing, url, attendees and recurrence are always kept (6.2).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.simulator import generation, times

if TYPE_CHECKING:
    from reconciler.simulator.accounts import Calendar
    from reconciler.simulator.events import Event
    from reconciler.simulator.world import World

Errors = dict[str, list[dict[str, str]]]
Problem = tuple[str, str, str]

SUMMARY_LIMIT, DESCRIPTION_LIMIT, REMINDERS_LIMIT = 1024, 4096, 5
ALWAYS_KEPT = ("url", "recurrence")
FORMS = ("none", "default", "integrated", "explicit", "8x8")


def error(field: str, key: str, description: str) -> Errors:
    """One 422 error."""
    return {field: [{"key": f"errors.{key}", "description": description}]}


def shape_errors(body: Any) -> Errors:
    """What is wrong with a body whatever account it is for."""
    if not isinstance(body, dict):
        return error("event", "required", "an event must be specified")
    problems = [*_identity(body), *_texts(body), *_span(body), *_extras(body), *_conferencing(body)]
    errors: Errors = {}
    for field, key, description in problems:
        errors.setdefault(field, []).append({"key": f"errors.{key}", "description": description})
    return errors


def account_errors(calendar: Calendar, body: dict[str, Any]) -> Errors:
    """What is wrong with its conferencing for this account and calendar (sections 6.4 and 10.1)."""
    asked = (body.get("conferencing") or {}).get("profile_id")
    field = "conferencing.profile_id"
    if asked == "integrated" and calendar.integrated is False:
        return error(field, "integrated_conferencing_not_available", "the calendar has no conferencing service")
    known = asked is None or asked in FORMS or calendar.account.conferencing_profile(asked) is not None
    settings = calendar.account.world.settings
    if not known and not (str(asked).startswith("pro_") and settings.unknown_profile == "late"):
        return error(field, "not_recognized", "profile_id is not recognized")
    return {}


def harms(event: Event | None, body: dict[str, Any], now: datetime) -> Iterator[str]:
    """Why a client should not have sent this, as far as Cronofy would still accept it."""
    if "event_id" in body and "event_uid" in body:
        yield "upsert with both event_id and event_uid"
    if event is None:
        return
    if event.conference.has_link():
        yield "upsert on an event that has a link"
    if event.deleted:
        yield "upsert on an event that was deleted"
    if event.forgotten:
        yield "upsert on an event that is no longer listed"
    if event.starts_at <= now:
        yield "upsert on an event whose start is past"
    missing = sorted(event.body.keys() - body.keys())
    if missing:
        yield f"partial upsert, without {', '.join(missing)}"


def store(world: World, calendar: Calendar, body: dict[str, Any], at: datetime) -> Event:
    """Take a valid upsert; a deleted or vanished event is recreated by it."""
    body = copy.deepcopy(body)
    tzid = body.get("tzid", times.UTC_ZONE)
    start, end = times.parse(body["start"], tzid), times.parse(body["end"], tzid)
    event_id = str(body["event_id"])
    event = world.events.get((calendar.calendar_id, event_id))
    if event is None:
        event = world.new_event(calendar, event_id, start, end, at)
    event.fields = _merged(event.fields, body, keep=world.settings.omitted_fields == "keep")
    event.body, event.updated = body, at
    event.deleted = event.forgotten = False
    event.place(start, end)
    world.webhooks.watch(event)
    if body.get("conferencing") is not None:
        generation.ask(event, body["conferencing"], at)
    return event


def _merged(old: dict[str, Any], body: dict[str, Any], *, keep: bool) -> dict[str, Any]:
    kept = dict(old) if keep else {name: old[name] for name in ALWAYS_KEPT if name in old}
    merged = {**kept, **body, "attendees": _attendees(old.get("attendees", []), body.get("attendees"))}
    return {name: value for name, value in merged.items() if value is not None}


def _attendees(current: list[dict[str, Any]], delta: Any) -> list[dict[str, Any]]:
    """Apply `{invite, remove}`; what is not named stays (section 6.1)."""
    delta = delta or {}
    gone = {guest["email"] for guest in delta.get("remove", [])}
    guests = {guest["email"]: guest for guest in current if guest["email"] not in gone}
    for invited in delta.get("invite", []):
        new = {
            "email": invited["email"],
            "display_name": invited.get("display_name"),
            "status": "needs_action",
        }
        guests.setdefault(invited["email"], new)
    return list(guests.values())


def _identity(body: dict[str, Any]) -> Iterator[Problem]:
    if not isinstance(body.get("event_id"), str) or not body["event_id"]:
        yield "event_id", "required", "event_id must be specified"


def _texts(body: dict[str, Any]) -> Iterator[Problem]:
    summary = body.get("summary")
    if not isinstance(summary, str) or not summary:
        yield "summary", "required", "summary must be specified"
    elif len(summary) > SUMMARY_LIMIT:
        yield "summary", "too_long", f"summary is limited to {SUMMARY_LIMIT} characters"
    description = body.get("description")
    if description is not None and not isinstance(description, str):
        yield "description", "not_recognized", "description must be a string"
    elif description and len(description) > DESCRIPTION_LIMIT:
        yield "description", "too_long", f"description is limited to {DESCRIPTION_LIMIT} characters"


def _span(body: dict[str, Any]) -> Iterator[Problem]:
    tzid = body.get("tzid", times.UTC_ZONE)
    try:
        times.zone(tzid)
    except ValueError:
        yield "tzid", "tzid_unrecognized", "tzid is not recognized"
        return
    ends: list[times.Moment] = []
    for name in ("start", "end"):
        if body.get(name) is None:
            yield name, "required", f"{name} must be specified"
            continue
        try:
            ends.append(times.parse(body[name], tzid))
        except ValueError:
            yield name, "not_recognized", f"{name} is not a date or time"
    if len(ends) < len(("start", "end")):
        return
    start, end = ends
    if start.all_day != end.all_day or start.instant() > end.instant():
        yield "end", "invalid_time_pair", "start and end must be both dates or both times, in order"


def _extras(body: dict[str, Any]) -> Iterator[Problem]:
    checks: dict[str, Callable[[Any], bool]] = {
        "location": lambda held: isinstance(held, dict),
        "reminders": lambda held: _objects(held) and len(held) <= REMINDERS_LIMIT,
        "subscriptions": _objects,
        "attendees": lambda held: (
            isinstance(held, dict) and all(_guests(held.get(name, [])) for name in ("invite", "remove"))
        ),
    }
    for name, valid in checks.items():
        if body.get(name) is not None and not valid(body[name]):
            yield name, "not_recognized", f"{name} is not recognized"


def _objects(held: Any) -> bool:
    return isinstance(held, list) and all(isinstance(item, dict) for item in held)


def _guests(held: Any) -> bool:
    return _objects(held) and all(isinstance(guest.get("email"), str) for guest in held)


def _conferencing(body: dict[str, Any]) -> Iterator[Problem]:
    asked = body.get("conferencing")
    if asked is None:
        return
    if not isinstance(asked, dict) or not isinstance(asked.get("profile_id"), str):
        yield "conferencing.profile_id", "required", "conferencing.profile_id must be specified"
    elif asked["profile_id"] == "explicit":
        if not isinstance(asked.get("provider_description"), str):
            yield "conferencing.provider_description", "required", "provider_description must be specified"
        if not str(asked.get("join_url", "")).startswith(("http://", "https://")):
            yield "conferencing.join_url", "required", "join_url must be an http or https address"
