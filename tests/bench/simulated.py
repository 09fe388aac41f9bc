"""A simulated Cronofy in a process of its own: `python -m tests.bench.simulated SHAPE.json ROWS.json`.

SHAPE says how many accounts, events and due events; ROWS receives the application's rows for them.
"""

import asyncio
import json
import random
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.simulator import Settings, Simulator, World

NEVER = 1e9


@dataclass(frozen=True)
class Shape:
    """A population: per account `events` managed events (a range), of them `due` unsettled and `pending` unlinked."""

    accounts: int
    events: tuple[int, int]
    due: tuple[int, int]
    pending: int
    rate_per_second: int = 1_000_000
    rate_per_minute: int = 10_000_000
    page_size: int = 100
    days: int = 150
    seed: int = 7


def build(shape: Shape) -> tuple[World, dict[str, list[dict[str, Any]]]]:
    """The world, and the application's rows: accounts, events, and the states of those settled earlier."""
    rng = random.Random(shape.seed)
    settings = Settings(
        rate_per_second=shape.rate_per_second,
        rate_per_minute=shape.rate_per_minute,
        page_size=shape.page_size,
        generation_delay=NEVER,
        retry_schedule=(NEVER,),
    )
    world = World(seed=shape.seed, settings=settings)
    now = datetime.now(UTC).replace(microsecond=0)
    rows: dict[str, list[dict[str, Any]]] = {"accounts": [], "events": [], "settled": []}
    for number in range(shape.accounts):
        _account(world, shape, rng, number, now, rows)
    return world, rows


def _account(
    world: World, shape: Shape, rng: random.Random, number: int, now: datetime, rows: dict[str, list[dict[str, Any]]]
) -> None:
    account = world.add_account(name=f"Person {number}", email=f"p{number}@example.com")
    calendar = account.add_calendar_profile(provider_name="google").add_calendar()
    profile = account.add_conferencing_profile(provider_name="zoom")
    rows["accounts"].append(
        {
            "account_id": account.account_id,
            "access_token": account.access_token,
            "refresh_token": account.refresh_token,
            "token_expires_at": now + timedelta(hours=1),
            "customer": f"customer {number % 8}",
            "account_manager": f"manager {number % 5}",
        }
    )
    total = rng.randint(*shape.events)
    due = set(rng.sample(range(total), min(total, rng.randint(*shape.due))))
    for n in range(total):
        starts_at = now + timedelta(hours=2, minutes=rng.randrange(shape.days * 24 * 60))
        written_at = now - timedelta(days=2)
        body = {
            "event_id": f"event-{number}-{n}",
            "summary": f"Conversation {n}",
            "description": "What we want to talk about. " * 8,
            "start": starts_at.isoformat().replace("+00:00", "Z"),
            "end": (starts_at + timedelta(minutes=45)).isoformat().replace("+00:00", "Z"),
            "attendees": {"invite": [{"email": "guest@example.com", "display_name": "Guest"}]},
            "conferencing": {"profile_id": profile.profile_id},
        }
        event = world.write_event(account, calendar.calendar_id, body, written_at=written_at)
        if not (n in due and len([d for d in due if d <= n]) <= shape.pending):
            event.assign()
        row = {
            "calendar_id": calendar.calendar_id,
            "event_id": body["event_id"],
            "account_id": account.account_id,
            "starts_at": starts_at,
            "ends_at": starts_at + timedelta(minutes=45),
            "profile_id": profile.profile_id,
            "body": body,
            "written_at": written_at,
        }
        rows["events"].append(row)
        if n not in due:
            rows["settled"].append({k: row[k] for k in ("calendar_id", "event_id", "account_id", "written_at")})


def shape_from(text: str) -> Shape:
    """A shape as JSON wrote it."""
    fields: dict[str, Any] = json.loads(text)
    return Shape(**{**fields, "events": tuple(fields["events"]), "due": tuple(fields["due"])})


async def _serve(world: World) -> None:
    async with Simulator(world) as simulator:
        print(simulator.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    the_world, its_rows = build(shape_from(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(its_rows, default=str))
    asyncio.run(_serve(the_world))
