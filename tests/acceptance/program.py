"""The product as a user meets it: the command line in a process of its own, and a town of people to try it on."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from reconciler.simulator import World
from reconciler.simulator.accounts import Account, Calendar, CalendarProfile, ConferencingProfile
from reconciler.simulator.events import Event
from tests.acceptance.processes import Process, start
from tests.waiting import A_BUSY_MACHINE_S

Key = tuple[str, str]
Row = dict[str, Any]

HOURS_AGO = timedelta(hours=2)
DAYS_AGO = timedelta(days=2)
FOR_EVER = 90 * 86_400.0
"""Seconds that no test lives to see, on the virtual clock."""


@contextmanager
def fresh_database(server: str, template: str) -> Iterator[str]:
    """The address of a new copy of a database, dropped at the end."""
    name = f"acceptance_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def query(dsn: str, sql: str, *arguments: object) -> list[Row]:
    """The rows of a statement, each by column name; none for a statement that gives none."""
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        cursor = connection.execute(sql.encode(), arguments)
        return cursor.fetchall() if cursor.description else []


# ---------------------------------------------------------------- the process


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def complaints(self) -> list[str]:
        """What it said to the user on stderr, without the log lines."""
        return [line for line in self.err.splitlines() if line.strip() and not line.startswith("{")]


@dataclass
class Running:
    """A process under way; its output is read all along."""

    process: Process
    _ended: "asyncio.Task[tuple[bytes, bytes]]"

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.alive:
            self.process.send_signal(number)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that it does."""
        give_up = time.monotonic() + A_BUSY_MACHINE_S
        while not condition():
            assert self.alive, await self.end()
            assert time.monotonic() < give_up, "it never came to that"
            await asyncio.sleep(0.01)

    async def end(self, within: float = A_BUSY_MACHINE_S) -> Done:
        """Wait until it ends."""
        try:
            async with asyncio.timeout(within):
                out, err = await asyncio.shield(self._ended)
        except TimeoutError:
            self.process.kill()
            out, err = await self._ended
            raise AssertionError(f"still running after {within} s: {err.decode()[-2000:]}") from None
        code = self.process.returncode
        assert code is not None
        return Done(code, out.decode(), err.decode())


@dataclass
class Program:
    """`python -m reconciler` with the settings for one database and one Cronofy."""

    settings: dict[str, str]

    def environment(self, env: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The process's whole environment: ours without its settings, then these, then `env`; null takes one away."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RECONCILER_")}
        merged: dict[str, str | None] = {**inherited, **self.settings, **(env or {})}
        return {k: v for k, v in merged.items() if v is not None}

    async def start(
        self, *words: str | bytes, env: Mapping[str, str | None] | None = None, cold: bool = False
    ) -> Running:
        """Start it; `cold`: in a new interpreter instead of a fork of one that has imported the program."""
        process = await start(words, self.environment(env), cold=cold)
        return Running(process, asyncio.create_task(process.communicate()))

    async def __call__(
        self, *words: str | bytes, env: Mapping[str, str | None] | None = None, cold: bool = False
    ) -> Done:
        """Run it to its end."""
        return await (await self.start(*words, env=env, cold=cold)).end()


def settings_for(dsn: str, url: str) -> dict[str, str]:
    """The settings under which the tests run it: allowances that nobody waits for."""
    return {
        "RECONCILER_DATABASE_URL": dsn,
        "RECONCILER_CRONOFY_URL": url,
        "RECONCILER_CRONOFY_CLIENT_ID": "sim-client",
        "RECONCILER_CRONOFY_CLIENT_SECRET": "sim-secret",
        "RECONCILER_RATE_PER_SECOND": "1000",
        "RECONCILER_RATE_PER_MINUTE": "60000",
    }


# ---------------------------------------------------------------- the town


@dataclass
class Planted:
    """One event, on both sides."""

    resident: "Resident"
    row: Row
    event: Event

    @property
    def key(self) -> Key:
        """Calendar and event id."""
        return self.row["calendar_id"], self.row["event_id"]

    @property
    def name(self) -> str:
        """As the command line writes it."""
        return "/".join(self.key)

    def asking_for(self, profile_id: str, **changes: Any) -> dict[str, Any]:
        """The stored body as a repair must send it."""
        body: dict[str, Any] = dict(self.row["body"])
        conferencing = body.get("conferencing") or {}
        return {**body, **changes, "conferencing": {**conferencing, "profile_id": profile_id}}


@dataclass
class Resident:
    """A person with a Cronofy account, a calendar profile, a calendar, and a row of the application's accounts."""

    town: "Town"
    account: Account
    profile: CalendarProfile
    calendar: Calendar
    row: Row
    planted: list[Planted] = field(default_factory=list)

    def connect(self, provider: str = "zoom", name: str | None = None, *, connected: bool = True) -> str:
        """Authorise a video provider; its profile's id."""
        return self.connection(provider, name, connected=connected).profile_id

    def connection(
        self, provider: str = "zoom", name: str | None = None, *, connected: bool = True
    ) -> ConferencingProfile:
        """Authorise a video provider."""
        return self.account.add_conferencing_profile(provider, profile_name=name, connected=connected)

    def event(
        self,
        asked: str | None,
        *,
        age: timedelta = HOURS_AGO,
        starts_in: timedelta | None = None,
        link: bool = False,
        stuck: bool = False,
        calendar: Calendar | None = None,
        event_id: str | None = None,
        body: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> Planted:
        """An event that asks for this conferencing, written so long ago. `stuck`: no link ever comes by itself."""
        town, where = self.town, calendar or self.calendar
        start = town.now + (starts_in or timedelta(days=3, minutes=30 * len(town.planted)))
        start = start.replace(microsecond=0)
        end = start + timedelta(minutes=30)
        whole: dict[str, Any] = {
            "event_id": event_id or f"evt-{len(town.planted):03d}",
            "summary": f"Meeting {len(town.planted)}",
            "start": _stamp(start),
            "end": _stamp(end),
            **({"conferencing": {"profile_id": asked}} if asked else {}),
            **(body or {}),
        }
        written_at = (town.now - age).replace(microsecond=0)
        made = town.world.write_event(self.account, where.calendar_id, whole, written_at)
        if link:
            made.assign()
        elif stuck:
            made.delay_generation(FOR_EVER)
        row = {
            "calendar_id": where.calendar_id,
            "event_id": whole["event_id"],
            "account_id": self.account.account_id,
            "starts_at": made.start.instant(),
            "ends_at": made.end.instant(),
            "profile_id": asked,
            "body": whole,
            "written_at": written_at,
            "cancelled_at": None,
            **columns,
        }
        planted = Planted(self, row, made)
        self.planted.append(planted)
        town.planted.append(planted)
        return planted


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Town:
    """People with their events, in the simulated Cronofy and in the application's two relations."""

    world: World
    dsn: str
    residents: list[Resident] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The present."""
        return datetime.now(UTC)

    def resident(
        self,
        name: str = "Ada Thorne",
        *,
        customer: str = "Nordlicht GmbH",
        manager: str = "Marta Kowalczyk",
        calendars: str = "google",
        integrated: bool | None = True,
        scope: str = "read_write",
        data_center: str = "us",
        **columns: Any,
    ) -> Resident:
        """Somebody new."""
        number = len(self.residents)
        account = self.world.add_account(
            name=name, email=f"resident{number}@town.example", scope=scope, data_center=data_center
        )
        profile = account.add_calendar_profile(calendars)
        calendar = profile.add_calendar(integrated=integrated)
        row = {
            "account_id": account.account_id,
            "data_center": data_center,
            "access_token": account.access_token,
            "refresh_token": account.refresh_token,
            "token_expires_at": None,
            "name": name,
            "email": account.email,
            "customer": customer,
            "account_manager": manager,
            "state": "active",
            "parked_reason": None,
            **columns,
        }
        resident = Resident(self, account, profile, calendar, row)
        self.residents.append(resident)
        return resident

    def move_in(self) -> None:
        """Write the rows as an application would, by plain INSERTs."""
        with psycopg.connect(self.dsn) as connection:
            for resident in self.residents:
                _insert(connection, "reconciler.accounts", resident.row)
            for planted in self.planted:
                row = dict(planted.row)
                row["body"] = Jsonb(row["body"]) if row["body"] is not None else None
                _insert(connection, "reconciler.events", row)

    # What the reconciler left behind.

    def query(self, sql: str, *arguments: object) -> list[Row]:
        """The rows of a statement."""
        return query(self.dsn, sql, *arguments)

    def states(self) -> dict[Key, Row]:
        """`event_states` by key."""
        return {(r["calendar_id"], r["event_id"]): r for r in self.query("SELECT * FROM reconciler.event_states")}

    def causes(self) -> dict[Key, str | None]:
        """The cause on record of each event."""
        return {key: row["cause"] for key, row in self.states().items()}

    def stories(self) -> dict[Key, list[str]]:
        """The tags of each event's audit entries, in order."""
        stories: dict[Key, list[str]] = {}
        for row in self.query(
            "SELECT calendar_id, event_id, tag FROM reconciler.audit_entries"
            " WHERE event_id IS NOT NULL ORDER BY entry_id"
        ):
            stories.setdefault((row["calendar_id"], row["event_id"]), []).append(row["tag"])
        return stories

    def notices(self, status: str = "queued") -> list[Row]:
        """The notices of a status."""
        return self.query("SELECT * FROM reconciler.notices WHERE status = %s ORDER BY created_at, kind", status)

    def rows(self) -> dict[Key, Row]:
        """`events` by key."""
        return {(r["calendar_id"], r["event_id"]): r for r in self.query("SELECT * FROM reconciler.events")}


def _insert(connection: "psycopg.Connection[Any]", relation: str, row: Mapping[str, Any]) -> None:
    marks = ", ".join(["%s"] * len(row))
    statement = f"INSERT INTO {relation} ({', '.join(row)}) VALUES ({marks})"  # noqa: S608 - our own names
    connection.execute(statement.encode(), list(row.values()))


def all_day(day: date) -> dict[str, str]:
    """The times of a whole day, as a body holds them."""
    return {"start": day.isoformat(), "end": (day + timedelta(days=1)).isoformat()}
