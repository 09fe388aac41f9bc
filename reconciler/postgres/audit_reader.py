"""The audit trail read back from Postgres, to tell a story or to prove the whole in flat memory.

Whoever may append to the trail may append nonsense: an entry that cannot be read is named, and the rest is read.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from reconciler.domain.audit import (
    OF_NO_ACCOUNT,
    VERDICTS,
    AuditEntry,
    AuditTag,
    BadEntry,
    Json,
    RunBooks,
    StoredEntry,
    Stray,
)
from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey
from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.statements import statements

_SQL = statements("audit")
_PAGE = 1000
_PATIENCE_S = 3600.0
"""How long a statement over the whole trail may take."""
_LONGEST = 60
_TAGS = {tag.value: tag for tag in AuditTag}
_CAUSES = {cause.value: cause for cause in Cause}


def json_object(text: str | None, name: str) -> Json | None:
    """The JSON object that a column holds; null where it holds none.

    Raises:
        ValueError: it holds something else, or what no program of ours writes.
    """
    if text is None:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(f"its {name} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is not a JSON object")  # noqa: TRY004 - one error for all that is unreadable
    return value


def _read(row: asyncpg.Record) -> StoredEntry | BadEntry:
    place = (row["chain"], row["seq"], row["prev_hash"], row["hash"])
    try:
        entry = AuditEntry(
            tag=_TAGS.get(row["tag"]) or _unknown("tag", row["tag"]),
            at=_at(row),
            run_id=row["run_id"],
            account_id=AccountId(row["account_id"]) if row["account_id"] is not None else None,
            key=_key(row),
            cause=_CAUSES.get(row["cause"]) or _unknown("cause", row["cause"]),
            remedy=row["remedy"],
            outcome=row["outcome"],
            evidence=json_object(row["evidence"], "evidence"),
            before=json_object(row["before"], "before"),
            after=json_object(row["after"], "after"),
        )
    except ValueError as error:
        return BadEntry(row["entry_id"], row["run_id"], row["tag"], *place, str(error))
    return StoredEntry(row["entry_id"], entry, *place)


def _unknown(name: str, word: str | None) -> Any:
    if word is None:
        return None
    raise ValueError(f"its {name} {word[:_LONGEST]!r} is unknown")


def _at(row: asyncpg.Record) -> Any:
    if row["at"] is None:
        raise ValueError("its time is out of range")
    return row["at"]


def _key(row: asyncpg.Record) -> EventKey | None:
    calendar_id, event_id = row["calendar_id"], row["event_id"]
    if (calendar_id is None) != (event_id is None):
        raise ValueError("it names half an event")
    return EventKey(CalendarId(calendar_id), EventId(event_id)) if event_id is not None else None


class AuditReader:
    """Reads the trail."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def of_event(self, key: EventKey) -> Sequence[StoredEntry | BadEntry]:
        """One event's whole story, oldest first."""
        with speaking_plainly():
            return [_read(r) for r in await self._pool.fetch(_SQL["of_event"], key.calendar_id, key.event_id)]

    @asynccontextmanager
    async def whole(self) -> AsyncIterator["WholeTrail"]:
        """The trail as it stands at one moment, whatever is written meanwhile."""
        with speaking_plainly():
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield WholeTrail(connection)


class WholeTrail:
    """Implements `pipeline.prove.Trail` on one snapshot of the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def in_chains(self) -> AsyncIterator[StoredEntry | BadEntry]:
        """Every entry, chain by chain in order."""
        async for row in self._connection.cursor(_SQL["in_chains"], prefetch=_PAGE):
            yield _read(row)

    async def judged(self, run_id: UUID | None) -> AsyncIterator[StoredEntry | BadEntry]:
        """Every entry that states a verdict or holds an event's evidence, of one run or of all."""
        verdicts, others = [tag.value for tag in VERDICTS], [tag.value for tag in OF_NO_ACCOUNT]
        async for row in self._connection.cursor(_SQL["judged"], run_id, verdicts, others, prefetch=_PAGE):
            yield _read(row)

    async def books(self) -> Sequence[RunBooks]:
        """Every run on record, oldest first."""
        return [_books(row) for row in await self._fetch("books")]

    async def strays(self) -> Sequence[Stray]:
        """Entries that belong to nothing on record; the first hundred and one."""
        return [Stray(**row) for row in await self._fetch("strays")]

    async def unsealed(self) -> Sequence[tuple[UUID, int]]:
        """Runs whose books are open, and how many of their entries no seal covers."""
        return [(row["run_id"], row["entries"]) for row in await self._fetch("unsealed")]

    async def seal_before(self, run_id: UUID, entry_id: int) -> tuple[int, str]:
        """How many entries of a run stand before an entry, and a digest over the last of them in each chain."""
        row = await self._connection.fetchrow(_SQL["seal"], run_id, entry_id, timeout=_PATIENCE_S)
        return (row["entries"], row["digest"]) if row else (0, "")

    async def _fetch(self, name: str) -> list[asyncpg.Record]:
        return await self._connection.fetch(_SQL[name], timeout=_PATIENCE_S)


def _books(row: asyncpg.Record) -> RunBooks:
    try:
        begun = json_object(row["begun"], "beginning")
    except ValueError:
        begun = None
    return RunBooks(row["run_id"], row["status"], row["finished_at"], begun, row["seal"])
