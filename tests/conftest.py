"""What all tests share: a server per session, a migrated database per test, and the simulator."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from reconciler.postgres.migrate import migrate
from reconciler.simulator import Simulator, World
from tests.postgres_servers import postgres_server

_NUMBERS = itertools.count()

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # a busy machine is no fault


def with_database(dsn: str, name: str) -> str:
    """The same server's address with another database."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A running Postgres server's address."""
    with postgres_server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """The name of a migrated database that others are copied from."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_reconciler")
    migrate(with_database(server, "template_reconciler"))
    return "template_reconciler"


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """A database without our schema."""
    yield from _database(server, "template1")


@pytest.fixture
def database(server: str, template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    yield from _database(server, template)


def _database(server: str, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_NUMBERS)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        yield with_database(server, name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
async def cronofy() -> AsyncIterator[Simulator]:
    """A simulated Cronofy with an empty world and wide limits."""
    world = World(seed=1)
    world.settings.rate_per_second, world.settings.rate_per_minute = 100_000, 1_000_000
    async with Simulator(world) as simulator:
        yield simulator
