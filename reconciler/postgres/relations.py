"""What must be known of the application's two relations before anything is sent: that its answer can be recorded.

The catalogs tell of columns, types and privileges; whether a view can be updated and its rows locked, only planning the
statements themselves does. Nothing is executed, and no trigger fires.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import asyncpg

from reconciler.ports import WrongConfiguration
from reconciler.postgres.failures import speaking_plainly
from reconciler.postgres.pool import Connection, Pool
from reconciler.postgres.statements import statements

_SQL = statements("relations")
_CASES, _TOKENS = statements("cases"), statements("tokens")

_TEXT, _WORD, _MOMENT, _JSON = "text", "text or an enum", "timestamptz", "jsonb"
_MOST_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a run needs: of what type, and whether the run reads it and writes it."""

    type: str = _TEXT
    read: bool = True
    written: bool = False


_RELATIONS: Mapping[str, Mapping[str, Column]] = {
    "accounts": {
        "account_id": Column(),
        "data_center": Column(_WORD),
        "access_token": Column(written=True),
        "refresh_token": Column(written=True),
        "token_expires_at": Column(_MOMENT, written=True),
        "name": Column(read=False),
        "email": Column(),
        "customer": Column(),
        "account_manager": Column(),
        "state": Column(_WORD, written=True),
        "parked_reason": Column(read=False, written=True),
        "updated_at": Column(_MOMENT, written=True),
    },
    "events": {
        "calendar_id": Column(),
        "event_id": Column(),
        "account_id": Column(),
        "starts_at": Column(_MOMENT),
        "ends_at": Column(_MOMENT),
        "profile_id": Column(written=True),
        "body": Column(_JSON, written=True),
        "written_at": Column(_MOMENT),
        "cancelled_at": Column(_MOMENT),
    },
}

_USES: Mapping[str, Sequence[str]] = {
    "accounts": (_TOKENS["load"], _TOKENS["lock"], _TOKENS["save"], _CASES["park"]),
    "events": tuple(_CASES[name] for name in ("load", "still_writable", "unchanged", "rows_to_correct", "correct")),
}
"""The statements by which a run reads, locks and writes each relation."""


async def check_relations(pool: Pool) -> None:
    """See that both relations can be read and written as a run does it.

    Raises:
        WrongConfiguration: they cannot; the message names relation, column and what to change.
        DatabaseUnreachable: see `pool`.
    """
    with speaking_plainly():
        async with pool.acquire() as connection:
            faults = faults_of([dict(row) for row in await connection.fetch(_SQL["shape"], list(_RELATIONS))])
            if not faults:
                faults = [why for name in _RELATIONS if (why := await _refusal(connection, name)) is not None]
    if faults:
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise WrongConfiguration("; ".join(faults[:_MOST_FAULTS]) + more)


def faults_of(columns: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong by the catalogs; `columns` are the rows of `shape`, ordered by relation."""
    faults: list[str] = []
    for name, group in groupby(columns, key=lambda row: row["relation"]):
        rows = list(group)
        relation = f"reconciler.{name}"
        if rows[0]["kind"] is None:
            faults.append(f"{relation} is missing: run `reconciler migrate`, or create your view of that name")
        elif not rows[0]["reachable"]:
            faults.append(f"the database role lacks a privilege: USAGE on the schema of {relation}; see sql/roles.sql")
        elif rows[0]["kind"] == "m":
            faults.append(f"{relation} is a materialized view: make it a table or an updatable view")
        else:
            there = {row["column"]: row for row in rows}
            for column, wanted in _RELATIONS[name].items():
                if (why := _fault(f"{relation}.{column}", there.get(column), wanted)) is not None:
                    faults.append(why)
    return faults


def _fault(where: str, row: Mapping[str, Any] | None, wanted: Column) -> str | None:
    if row is None:
        return f"{where} is missing: run `reconciler migrate`, or give your table or view this column"
    if not _fits(row, wanted.type):
        return f"{where} is of type {row['type']}, which must be {wanted.type}: {_remedy(wanted)}"
    if wanted.read and not row["readable"]:
        return f"the database role lacks a privilege: SELECT on {where}; grant it (sql/roles.sql)"
    if wanted.written and not row["writable"]:
        return f"the database role lacks a privilege: UPDATE on {where}; grant it (sql/roles.sql)"
    return None


def _fits(row: Mapping[str, Any], wanted: str) -> bool:
    match wanted:
        case "timestamptz":
            return bool(row["type"] == "timestamp with time zone")
        case "jsonb":
            return bool(row["type"] == "jsonb")
        case "text":
            return bool(row["category"] == "S")
        case _:
            return row["category"] in {"S", "E"}


def _remedy(wanted: Column) -> str:
    if wanted.written:
        return "change the type of the column itself, or let the view convert it and take it by an INSTEAD OF trigger"
    if wanted.type == _MOMENT:
        return "change the column's type, or let your view say in which zone it is (… AT TIME ZONE 'UTC')"
    return "change the column's type, or let your view convert it"


async def _refusal(connection: Connection, name: str) -> str | None:
    """Why Postgres would not carry out a statement on a relation, in one line; null where it would."""
    for sql in _USES[name]:
        parameters = max((int(number) for number in re.findall(r"\$(\d+)", sql)), default=0)
        try:
            await connection.fetch(f"EXPLAIN {sql}", *[None] * parameters)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError):
            raise  # of ours: the columns of this relation are there
        except asyncpg.InsufficientPrivilegeError as error:
            return f"the database role lacks a privilege for reconciler.{name}: {error}; grant it (sql/roles.sql)"
        except (
            asyncpg.FeatureNotSupportedError,
            asyncpg.ObjectNotInPrerequisiteStateError,
            asyncpg.SyntaxOrAccessError,
            asyncpg.DataError,
        ) as error:
            why = f"{error} ({error.detail})" if getattr(error, "detail", None) else str(error)
            return (
                f"reconciler.{name} must be a table or an updatable view, and is not: {' '.join(why.split())} Show the"
                " columns of one table as they are, or give the view an INSTEAD OF UPDATE trigger"
            )
    return None
