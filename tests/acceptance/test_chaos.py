"""A few trials of the chaos suite (`make chaos`), with a fixed seed: whatever is done to runs, the promises hold."""

import pytest

from tests.chaos.server import Server
from tests.chaos.trial import Trial

SEED = 7
PATIENCE_S = 600
"""A busy machine may take long; nothing here is about time."""


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize(
    "scenario, number, rounds", [("kills", 0, 2), ("cut-postgres", 1, 1), ("cut-api", 2, 1), ("freeze", 3, 1)]
)
async def test_whatever_is_done_to_runs_the_promises_hold(
    server: str, template: str, scenario: str, number: int, rounds: int
) -> None:
    trial = await Trial(SEED, number, scenario, Server(server, template), rounds).run()
    assert trial.faults == [], f"python -m tests.chaos --seed {SEED} --trial {number} --rounds {rounds} {scenario}"
    assert trial.tally.done["repaired"] > 0
