"""A run cancelled at its suspension points, a fixed selection of them (`make chaos` takes every one)."""

import pytest

from tests.chaos.cancelled import try_at
from tests.chaos.server import Server

STRIDE = 12
"""Between two points that are tried there are others much like them."""


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:coroutine 'Connection._cancel' was never awaited")
async def test_wherever_a_run_is_cancelled_the_next_ones_finish_it(server: str, template: str) -> None:
    where = Server(server, template)
    with where.database() as dsn:
        whole = await try_at(0, dsn)
    assert whole.faults == []
    assert whole.points > 10 * STRIDE
    for point in range(1, whole.points, STRIDE):
        with where.database() as dsn:
            assert (await try_at(point, dsn)).faults == []
