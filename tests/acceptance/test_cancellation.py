"""A run cancelled at its suspension points, a fixed selection of them (`make chaos` takes every one)."""

import pytest

from tests.chaos.cancelled import try_everywhere
from tests.chaos.server import Server

STRIDE = 12
"""Between two points that are tried there are others much like them."""


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:coroutine 'Connection._cancel' was never awaited")
async def test_wherever_a_run_is_cancelled_the_next_ones_finish_it(server: str, template: str) -> None:
    tried = await try_everywhere(Server(server, template), STRIDE)
    assert tried.faults == []
    assert tried.points > 10
