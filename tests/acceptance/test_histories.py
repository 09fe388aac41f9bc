"""Random histories of people, an application, providers and runs, a few with a fixed seed (`make chaos` takes more)."""

import pytest

from tests.chaos.history import try_histories
from tests.chaos.server import Server


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:coroutine 'Connection._cancel' was never awaited")
def test_whatever_happens_between_runs_the_end_is_consistent(server: str, template: str) -> None:
    try_histories(Server(server, template), 3, steps=20)
