"""What a unit is loaded as: the rows that can be used as cases, each of the others as an error of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg

from reconciler.domain.casework import Case, Caseload, Unit, UnitError
from reconciler.domain.notice import Addressee
from reconciler.ports import Credentials, Loaded, Tokens
from reconciler.postgres.faults import (
    PUSHED_AT_NO_TIME,
    account_error,
    account_faults,
    at_most,
    body_fault,
    event_error,
    event_errors,
)
from reconciler.postgres.rows import Row, caseload_from, density_from, one_of_each

NO_ACCOUNT = UnitError("no_account", "events name an account that reconciler.accounts does not hold")

Pair = Callable[[Mapping[str, Any]], Tokens | None]
"""Opens the token pair of an account's row."""


CaseOf = Callable[[Row], Case]


def loaded_from(unit: Unit, rows: Sequence[asyncpg.Record], case_of: CaseOf, pair: Pair) -> Loaded | UnitError:
    """A unit as the statement `load` shows it; an error where the account's own row is missing or cannot be used."""
    first = rows[0]
    if not first["account_known"]:
        return NO_ACCOUNT
    account = first["account"]
    if faults := account_faults(account):
        return account_error(faults)
    cases, errors = usable_cases(rows, case_of)
    who = Credentials(unit.account_id, account["data_center"] or "us", pair(account))
    caseload: Caseload = caseload_from(unit, account, cases)
    return Loaded(caseload, who, density_from(first["density"]), at_most(errors))


def usable_cases(rows: Sequence[Row], case_of: CaseOf) -> tuple[list[Case], list[UnitError]]:
    """The events that can be judged, and all that cannot be used: that may be the body of one that can be judged."""
    faults = [event_errors(row) for row in rows]
    errors = list(dict.fromkeys(error for found in faults for error in found))
    usable = one_of_each([row for row, found in zip(rows, faults, strict=True) if not found])
    cases = [case_of(row) for row in usable]
    for case, row in zip(cases, usable, strict=True):
        if (what := body_fault(case.event.body.state)) is not None:
            errors.append(event_error(case.event.key, what))
        if row.get("pushed_at_no_time"):
            errors.append(event_error(case.event.key, PUSHED_AT_NO_TIME, "notifications"))
    return cases, errors


def nobodys(unit: Unit, rows: Sequence[asyncpg.Record]) -> Loaded:
    """The unit of the events whose account_id cannot be that of an account: nothing but their errors."""
    errors = [error for row in rows for error in event_errors(row)]
    caseload = Caseload(unit, Addressee(unit.account_id, None, None, None), "us", ())
    return Loaded(caseload, Credentials(unit.account_id, "us", None), errors=at_most(errors))
