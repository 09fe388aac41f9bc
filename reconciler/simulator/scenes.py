"""A world described in JSON: what `PUT /control/scene` takes and a file may hold (script.py says what, as types).

Times in `written_at`, `start`, `end` and `moved` may be relative to the present: `+2d`, `-90m`, `+3h`, `+30s`. What a
profile list leaves out counts as removed. What a scene tells of is history: nobody is notified of it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, TypeVar

from reconciler.simulator.accounts import Account
from reconciler.simulator.events import Event
from reconciler.simulator.intake import Wrong, decode, in_order, relative
from reconciler.simulator.script import AccountRow, EventRow, Scene, Span
from reconciler.simulator.times import parse
from reconciler.simulator.world import World

T = TypeVar("T")


class SceneError(Wrong):
    """The scene cannot be loaded; the message says why."""


def load_scene(world: World, scene: dict[str, Any]) -> None:
    """Add a scene to a world; SceneError where it makes no sense."""
    load_text(world, json.dumps(scene))


def load_text(world: World, text: str | bytes) -> None:
    """The same from JSON."""
    _load(world, _read(text))


def replace_scene(world: World, text: str | bytes) -> None:
    """Begin a world anew with a scene; one that makes no sense changes nothing."""
    scene = _read(text)
    _load(World(world.seed, copy.copy(world.settings), world.now()), scene)
    world.reset()
    _load(world, scene)


def _read(text: str | bytes) -> Scene:
    try:
        return decode(Scene, text)
    except Wrong as error:
        raise SceneError(str(error).replace("the body", "the scene", 1)) from None


def _load(world: World, scene: Scene) -> None:
    _within("settings", world.settings.change, scene.settings)
    with world.history():
        for number, row in enumerate(scene.accounts):
            _account(world, row, f"accounts[{number}]")
    for provider in scene.outages:
        world.outage(provider)
    for number, fault in enumerate(scene.faults):
        _within(f"faults[{number}]", world.aim, fault)


def _account(world: World, row: AccountRow, place: str) -> None:
    given = row.model_dump(include={"name", "email", "access_token", "refresh_token", "data_center", "scope"})
    account = _within(place, world.add_account, row.account_id, **given)
    account.revoked, account.licence = row.revoked, row.licence
    account.default_profile_id = row.default_profile_id
    for held in row.calendar_profiles:
        profile = account.add_calendar_profile(**held.model_dump(exclude={"calendars"}))
        for calendar in held.calendars:
            _within(place, profile.add_calendar, **calendar.model_dump())
    for service in row.conferencing_profiles:
        account.add_conferencing_profile(**service.model_dump())
    for number, event in enumerate(row.events):
        _within(f"{place}.events[{number}]", _event, account, event)


def _event(account: Account, row: EventRow) -> None:
    if account.calendar(row.calendar_id) is None:
        raise SceneError("calendar_id should be that of a calendar of the account")
    world, now = account.world, account.world.now()
    body = row.body.model_dump(exclude_unset=True)
    body["start"], body["end"] = _span(row.body, account)
    if row.external:
        world.add_external_event(account, row.calendar_id, **body)
        return
    written = now if row.written_at is None else parse(relative(row.written_at, now)).instant()
    if written > now:
        raise SceneError("written_at should not lie in the future")
    event = world.write_event(account, row.calendar_id, body, written)
    _befall(event, row)


def _befall(event: Event, row: EventRow) -> None:
    if row.assigned:
        event.assign()
    if "conferencing" in row.model_fields_set:
        event.set_conferencing(row.conferencing)
    if row.moved is not None:
        event.move_by_user(*_span(row.moved, event.account))
    if row.deleted:
        event.delete_by_user()
    if row.forgotten:
        event.forget()


def _span(row: Span, account: Account) -> tuple[Any, Any]:
    return in_order(row.start, row.end, account.world.now())


def _within(place: str, act: Callable[..., T], *given: Any, **more: Any) -> T:
    """Do it; what is wrong with it is told with its place in the scene."""
    try:
        return act(*given, **more)
    except ValueError as error:
        raise SceneError(f"{place}: {error}") from None
