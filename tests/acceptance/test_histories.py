"""Random histories of people, an application, providers and runs, a few with a fixed seed (`make chaos` takes more)."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos.history import History
from tests.chaos.server import Server


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:coroutine 'Connection._cancel' was never awaited")
def test_whatever_happens_between_runs_the_end_is_consistent(server: str, template: str) -> None:
    class Here(History):
        pass

    Here.server = Server(server, template)
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=3,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
