"""What the application may store and we cannot use. It costs the event, or the account, that it is stored for."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from asyncpg import Record

from reconciler.domain.casework import UnitError
from reconciler.domain.event import BodyState
from reconciler.domain.ids import EventKey
from reconciler.postgres.moments import is_usable, moment_in

UNUSABLE_ROW = "unusable_row"
MOST_ID_BYTES = 2500
"""What a row's ids may hold together: Postgres indexes no row of more than 2,704 bytes, and ours hold all of them.
`sql/fragments/unit_of.sql` has the same number."""
MOST_ERRORS = 20
"""So many rows of one account are named in a run, the others counted."""

EVENT_TIMES = ("starts_at", "ends_at", "written_at", "cancelled_at")

_SHOWN = 80
_NO_TIME = "is infinite or beyond the years 1 to 9999"
PUSHED_AT_NO_TIME = f"received_at {_NO_TIME}"
_BODY = {
    BodyState.NOT_AN_OBJECT: "body is not a JSON object",
    BodyState.ZONE_UNKNOWN: "body names a time zone that does not exist",
    BodyState.TOO_LARGE: "body is larger than 1 MB, or than 64 kB in what is read of it",
    BodyState.TWICE: "calendar_id and event_id are not unique: another row has the same, and other values",
}


def event_faults(row: Mapping[str, Any]) -> list[str]:
    """Why a row of `events` cannot be judged at all: a column each, and what is wrong with it."""
    found = [f"{name} is {'empty' if row[name] == '' else 'null'}" for name in _IDS if not row[name]]
    found += _too_long(row, _IDS) or _too_long(row, ("account_id", "profile_id"))
    found += [f"{name} is null" for name in ("starts_at", "written_at") if row[name] is None]
    found += [f"{name} {_NO_TIME}" for name in EVENT_TIMES if row[name] is not None and not is_usable(row[name])]
    return found


_IDS = ("account_id", "calendar_id", "event_id")


def _too_long(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    sizes = {name: len((row[name] or "").encode()) for name in names}
    if sum(sizes.values()) <= MOST_ID_BYTES:
        return []
    longest = max(sizes, key=lambda name: sizes[name])
    together = " and ".join(names) if len(names) == 2 else "the ids"  # noqa: PLR2004
    return [f"{longest} is too long ({together} may have {MOST_ID_BYTES} bytes together)"]


def body_fault(state: BodyState) -> str | None:
    """Why an event's body cannot be used, which does not keep the event from being judged."""
    return _BODY.get(state)


def account_faults(account: Mapping[str, Any]) -> list[str]:
    """Why a row of `accounts` cannot be used: its times as they are, or as Postgres writes them into JSON."""
    found = []
    if account["rows"] > 1:
        found.append("account_id is not unique: another row has the same")
    if account["state"] not in {"active", "parked"}:
        state = "null" if account["state"] is None else repr(account["state"][:_SHOWN])
        found.append(f"state is {state}, which is neither active nor parked")
    times = (name for name in ("token_expires_at", "updated_at") if account[name] is not None)
    return found + [f"{name} {_NO_TIME}" for name in times if not is_usable(_moment(account[name]))]


def _moment(stored: datetime | str) -> datetime | None:
    return moment_in(stored) if isinstance(stored, str) else stored


def event_errors(row: Record | Mapping[str, Any]) -> list[UnitError]:
    """The errors of an event with a row that cannot be judged."""
    return [_of_event((row["calendar_id"], row["event_id"]), what) for what in event_faults(dict(row))]


def event_error(key: EventKey, what: str, relation: str = "events") -> UnitError:
    """The error of an event of which something cannot be used."""
    return _of_event((key.calendar_id, key.event_id), what, relation)


def _of_event(key: Sequence[str | None], what: str, relation: str = "events") -> UnitError:
    return UnitError(UNUSABLE_ROW, f"reconciler.{relation}: {what} (event {'/'.join(map(_shown, key))})")


def _shown(text: str | None) -> str:
    if text is None:
        return "null"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def account_error(faults: Sequence[str]) -> UnitError:
    """The error of an account with a row that cannot be used."""
    return UnitError(UNUSABLE_ROW, f"reconciler.accounts: {'; '.join(faults)}")


def at_most(errors: Sequence[UnitError], number: int = MOST_ERRORS) -> tuple[UnitError, ...]:
    """The first errors, with one more for what is left."""
    if len(errors) <= number:
        return tuple(errors)
    left = len(errors) - number
    return (*errors[:number], UnitError(UNUSABLE_ROW, f"{left} more values of this account's events cannot be used"))
