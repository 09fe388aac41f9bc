"""A world described in JSON: what `PUT /control/scene` takes and a file may hold (docs/simulator.md has an example).

Times in `written_at`, `start`, `end` and `moved` may be relative to the present: `+2d`, `-90m`, `+3h`, `+30s`. What a
profile list leaves out counts as removed. Unknown keys are errors, so that a misspelt one does not pass unseen.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from reconciler.simulator.accounts import Account, CalendarProfile
from reconciler.simulator.events import Event
from reconciler.simulator.faults import Fault
from reconciler.simulator.times import parse, stamp
from reconciler.simulator.world import World

_RELATIVE = re.compile(r"([+-]\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class SceneError(ValueError):
    """The scene cannot be loaded; the message says why."""


def load_scene(world: World, scene: dict[str, Any]) -> None:
    """Add a scene to a world; SceneError where it makes no sense."""
    try:
        _allow(scene, "settings", "accounts", "outages", "faults")
        world.settings.change(scene.get("settings", {}))
        for row in scene.get("accounts", []):
            _account(world, row)
        for provider in scene.get("outages", []):
            world.outage(provider)
        for row in scene.get("faults", []):
            world.faults.add(Fault(**row))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SceneError(f"{type(error).__name__}: {error}") from error


def _account(world: World, row: dict[str, Any]) -> None:
    given = {
        "account_id",
        "name",
        "email",
        "access_token",
        "refresh_token",
        "data_center",
        "scope",
    }
    _allow(
        row,
        *given,
        "revoked",
        "licence",
        "default_profile_id",
        "calendar_profiles",
        "conferencing_profiles",
        "events",
    )
    account = world.add_account(**{name: row[name] for name in given & row.keys()})
    account.revoked = bool(row.get("revoked", False))
    account.licence = bool(row.get("licence", True))
    account.default_profile_id = row.get("default_profile_id")
    for profile in row.get("calendar_profiles", []):
        details = {name: value for name, value in profile.items() if name != "calendars"}
        _calendars(account.add_calendar_profile(**details), profile.get("calendars", []))
    for profile in row.get("conferencing_profiles", []):
        account.add_conferencing_profile(**profile)
    for event in row.get("events", []):
        _event(account, event)


def _calendars(profile: CalendarProfile, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        profile.add_calendar(**row)


def _event(account: Account, row: dict[str, Any]) -> None:
    _allow(
        row,
        "calendar_id",
        "body",
        "written_at",
        "assigned",
        "deleted",
        "moved",
        "forgotten",
        "conferencing",
        "external",
    )
    now = account.world.now()
    body = {**row["body"]}
    for end in ("start", "end"):
        body[end] = relative(body[end], now)
    if row.get("external"):
        account.world.add_external_event(account, row["calendar_id"], **body)
        return
    written = parse(relative(row["written_at"], now)).instant() if "written_at" in row else now
    event = account.world.write_event(account, row["calendar_id"], body, written)
    _befall(event, row, now)


def _befall(event: Event, row: dict[str, Any], now: datetime) -> None:
    if row.get("assigned"):
        event.assign()
    if "conferencing" in row:
        event.set_conferencing(row["conferencing"])
    if "moved" in row:
        event.move_by_user(relative(row["moved"]["start"], now), relative(row["moved"]["end"], now))
    if row.get("deleted"):
        event.delete_by_user()
    if row.get("forgotten"):
        event.forget()


def relative(value: Any, now: datetime) -> Any:
    """`+2d` as a time; anything else as it is."""
    found = _RELATIVE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    return stamp(now + timedelta(**{_UNITS[found[2]]: int(found[1])}))


def _allow(row: dict[str, Any], *names: str) -> None:
    unknown = sorted(row.keys() - set(names))
    if unknown:
        raise SceneError(f"unknown: {', '.join(unknown)}")
