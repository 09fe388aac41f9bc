"""A believable company group to try the reconciler on: three customers, 46 accounts, some 260 events.

Most are fine. Every cause of interface.md section 4 is planted at least once, as the first run should find it;
`event_missing` takes two listings in a row, so that event is `unexplained` at first and foretold for the second run in
`expected_second_run`. Rows are those of the application's relations in interface.md section 2. Events that are not
due (other kinds of conferencing, cancelled, past, of a parked account) are in `events` but not in `expected`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.simulator.cast import HALCYON, NORDLICHT, SAKURA
from reconciler.simulator.plots import TROUBLES, healthy
from reconciler.simulator.settings import Settings
from reconciler.simulator.stage import Key, Stage
from reconciler.simulator.world import World

# Limits no demonstration has to wait for.
PER_SECOND, PER_MINUTE = 1000, 60000

HEALTHY = (
    *((NORDLICHT, index, "zoom") for index in range(5)),
    (HALCYON, 13, "ms_teams"),
    (HALCYON, 14, None),
    (SAKURA, 0, None),
    (SAKURA, 1, "google_meet_api"),
    (SAKURA, 2, "zoom"),
    (SAKURA, 3, "ms_teams"),
)
EXPIRED_EVERY = 9


@dataclass(frozen=True)
class Company:
    """The company: Cronofy's side, the application's side, and what a first run should make of it."""

    world: World
    accounts: list[dict[str, Any]]
    events: list[dict[str, Any]]
    expected: dict[Key, str]
    expected_second_run: dict[Key, str]
    storyline: dict[str, str]


def company(now: datetime, seed: int = 7) -> Company:
    """Build it as it stands at `now`; the same moment and seed give the same company."""
    settings = Settings(rate_per_second=PER_SECOND, rate_per_minute=PER_MINUTE)
    stage = Stage(World(seed=seed, settings=settings, now=now), now, random.Random(f"company-{seed}"))
    for customer, index, provider in HEALTHY:
        healthy(stage, customer, index, provider)
    for trouble in TROUBLES:
        trouble(stage)
    _age_tokens(stage)
    return Company(
        world=stage.world,
        accounts=stage.accounts,
        events=stage.events,
        expected=stage.expected,
        expected_second_run=stage.expected_second_run,
        storyline=stage.storyline,
    )


def _age_tokens(stage: Stage) -> None:
    """Some access tokens have run out, and of some it is not known when they will."""
    for number, row in enumerate(stage.accounts):
        if number % EXPIRED_EVERY == 0:
            account = stage.world.accounts[row["account_id"]]
            account.expire_token()
            row["token_expires_at"] = account.token_expires_at if number else None
