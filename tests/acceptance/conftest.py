"""The running program, and a town for it to look after."""

import pytest

from reconciler.simulator import Simulator
from tests.acceptance.program import Program, Town, settings_for


@pytest.fixture
def program(database: str, cronofy: Simulator) -> Program:
    """The command line, set up for this test's database and Cronofy."""
    return Program(settings_for(database, cronofy.url))


@pytest.fixture
def town(database: str, cronofy: Simulator) -> Town:
    """An empty town; `move_in` writes its rows once everybody is there."""
    return Town(cronofy.world, database)
