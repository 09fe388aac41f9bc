"""Writes what came of a unit back to the application's own rows; what its database refuses costs that alone.

A trigger, a constraint, a rule, a lock or a second row of the same key may stand in the way. Each attempt has a
savepoint of its own, sees the rows before and after, and believes only what it sees.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Correction, UnitError, UnitResult
from reconciler.domain.ids import EventKey
from reconciler.postgres.guarded import STATEMENT_S, NotAsWanted, guarded
from reconciler.postgres.pool import Connection
from reconciler.postgres.rows import key_of
from reconciler.postgres.statements import statements

_SQL = statements("cases")

_ALL_S = 30.0
"""How long all corrections of a unit may take, each by itself."""

_NOT_TRIED = "the connection to Postgres was lost over it"


@dataclass(slots=True)
class Corrected:
    """What came of corrections.

    `overtaken`: the application wrote or cancelled the event meanwhile. `refused`: why its database would not.
    `stamped`: the `written_at` that the row was given on our correction.
    """

    overtaken: list[Correction] = field(default_factory=list)
    refused: dict[EventKey, str] = field(default_factory=dict)
    stamped: dict[EventKey, datetime] = field(default_factory=dict)

    def add(self, other: "Corrected") -> None:
        """With what came of others."""
        self.overtaken += other.overtaken
        self.refused |= other.refused
        self.stamped |= other.stamped


@dataclass(slots=True)
class WrittenBack:
    """What came of a unit's write-back: events that the application wrote meanwhile, and what was refused."""

    overtaken: tuple[EventKey, ...] = ()
    entries: list[AuditEntry] = field(default_factory=list)
    error: UnitError | None = None


async def write_back(connection: Connection, result: UnitResult, *, untried: bool = False) -> WrittenBack:
    """Correct the rows of accepted repairs, and park the account if so decided.

    `untried`: corrections cost the connection, and are left to a later look.
    """
    done = WrittenBack()
    if untried:
        corrected = Corrected(refused={one.key: _NOT_TRIED for one in result.corrections})
    else:
        corrected = await _correct_all(connection, result.corrections)
    await _mark(connection, result, corrected)
    done.overtaken = tuple(one.key for one in corrected.overtaken if one.refused is None)
    told = [one for one in result.corrections if corrected.refused.get(one.key) not in {None, one.refused}]
    for one in told:
        after = {"profile_id": one.profile_id, "reason": corrected.refused[one.key]}
        done.entries.append(_entry(result, one.key, after))
    if told:
        more = f" (and {len(told) - 1} more of the account)" if len(told) > 1 else ""
        done.error = UnitError(
            "correction_refused",
            f"Cronofy accepted the repair of {told[0].key}{more}, but profile_id and body in its row of"
            f" reconciler.events could not be corrected: {corrected.refused[told[0].key]}; the event is not written"
            " again for that: let the reconciler update these two columns",
        )
    if result.park is not None and (why := _NOT_TRIED if untried else await _park(connection, result, result.park)):
        done.entries.append(_entry(result, None, {"state": "parked", "reason": why}))
        done.error = UnitError(
            "parking_refused",
            f"its row in reconciler.accounts could not be parked: {why}; let the reconciler update state,"
            " parked_reason and updated_at",
        )
    return done


def _entry(result: UnitResult, key: EventKey | None, after: dict[str, Any]) -> AuditEntry:
    unit = result.unit
    return AuditEntry(
        AuditTag.CORRECTION_REFUSED, result.at, unit.run_id, unit.account_id, key, before=None, after=after
    )


async def _mark(connection: Connection, result: UnitResult, corrected: Corrected) -> None:
    """Note in our own rows what became of the application's."""
    overtaken = [one.key for one in corrected.overtaken if one.refused is None]
    if overtaken:
        await connection.execute(
            _SQL["mark_overtaken"],
            result.at,
            [key.calendar_id for key in overtaken],
            [key.event_id for key in overtaken],
        )
    refused, stamped = corrected.refused, corrected.stamped
    passed = {one.key for one in corrected.overtaken}
    marked = [
        one
        for one in result.corrections
        if one.key not in passed and (one.refused or one.key in refused or one.key in stamped)
    ]
    if marked:
        await connection.execute(
            _SQL["mark_corrected"],
            [one.key.calendar_id for one in marked],
            [one.key.event_id for one in marked],
            [one.profile_id if one.key in refused else None for one in marked],
            [refused.get(one.key) for one in marked],
            [stamped.get(one.key) for one in marked],
        )


async def _park(connection: Connection, result: UnitResult, reason: str) -> str | None:
    """Park the account; why the application's database refuses, null where it does not."""
    account_id = result.unit.account_id

    async def work() -> None:
        await connection.execute(_SQL["park"], account_id, reason, timeout=STATEMENT_S)
        if await connection.fetchval(_SQL["still_active"], account_id):
            raise NotAsWanted

    return await guarded(connection, work)


async def _correct_all(connection: Connection, wanted: Sequence[Correction]) -> Corrected:
    """Correct rows, all at once, or each by itself where the database does not take them together.

    In the caller's transaction, which stands whatever is refused.
    """
    if not wanted:
        return Corrected()
    why, done = await _attempt(connection, wanted)
    if why is None:
        return done
    if len(wanted) == 1:
        return Corrected(refused={wanted[0].key: why})
    loop = asyncio.get_running_loop()
    give_up, done = loop.time() + _ALL_S, Corrected()
    for one in wanted:
        if loop.time() > give_up:
            done.refused[one.key] = "it was not tried, as others took too long"
            continue
        why, its = await _attempt(connection, [one])
        done.add(its if why is None else Corrected(refused={one.key: why}))
    return done


async def _attempt(connection: Connection, some: Sequence[Correction]) -> tuple[str | None, Corrected]:
    done = Corrected()

    async def work() -> None:
        done.add(await _correct(connection, some))

    return await guarded(connection, work), done


async def _correct(connection: Connection, some: Sequence[Correction]) -> Corrected:
    done = Corrected()
    wanted = []
    before = await _rows(connection, some)
    for one in some:
        rows = before.get(one.key, ())
        if len(rows) > 1:
            done.refused[one.key] = f"reconciler.events holds this calendar_id and event_id {len(rows)} times"
        elif not rows or _is_overtaken(rows[0], one):
            done.overtaken.append(one)
        elif not _says(rows[0], one):
            wanted.append(one)
    if not wanted:
        return done
    await connection.execute(
        _SQL["correct"],
        [c.key.calendar_id for c in wanted],
        [c.key.event_id for c in wanted],
        [c.profile_id for c in wanted],
        [c.written_at for c in wanted],
        timeout=STATEMENT_S,
    )
    after = await _rows(connection, wanted)
    for one in wanted:
        rows = after.get(one.key, ())
        if len(rows) != 1 or not _says(rows[0], one):
            raise NotAsWanted
        if rows[0]["written_at"] != one.written_at:
            done.stamped[one.key] = rows[0]["written_at"]
    return done


async def _rows(connection: Connection, some: Sequence[Correction]) -> Mapping[EventKey, Sequence[Mapping[str, Any]]]:
    found = await connection.fetch(
        _SQL["rows_to_correct"],
        [c.key.calendar_id for c in some],
        [c.key.event_id for c in some],
        timeout=STATEMENT_S,
    )
    rows: dict[EventKey, list[Mapping[str, Any]]] = {}
    for row in found:
        rows.setdefault(key_of(row), []).append(dict(row))
    return rows


def _is_overtaken(row: Mapping[str, Any], wanted: Correction) -> bool:
    return bool(row["written_at"] != wanted.written_at or row["cancelled_at"] is not None or not row["usable"])


def _says(row: Mapping[str, Any], wanted: Correction) -> bool:
    return bool(row["profile_id"] == row["asked"] == wanted.profile_id)
