"""A report as CSV: one row per line of the report, for spreadsheets.

UTF-8 with a byte order mark, which Excel needs. A text that a spreadsheet would take for a formula is prefixed with an
apostrophe; control and direction-changing characters are shown as escapes, tabs and line breaks stay. Times are UTC, as
their columns' names say, in the form that spreadsheets read.
"""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from reconciler.domain.report import CustomerSection, ManagerSection, Report
from reconciler.domain.report_lines import AtRisk, Owner, Repaired, Unread, Waiting
from reconciler.domain.report_words import (
    ACTOR_TEXT,
    CHANGE_TEXT,
    DELIVERY_TEXT,
    NOTICE_TEXT,
    REPAIR_STATUS_TEXT,
    NextStep,
    provider_text,
)
from reconciler.domain.visible import visible

COLUMNS = (
    "kind", "account_manager", "customer", "person", "account_id", "calendar_id", "event_id", "start_utc", "events",
    "reason", "explanation", "who_acts", "next_step", "status", "since_utc", "provider", "old_profile", "old_provider",
    "new_profile", "new_provider", "provider_change",
)  # fmt: skip

_UNSEEN = r"\s\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"
_FORMULA = re.compile(rf"[\t\r\n]|[{_UNSEEN}]*[{_SIGNS}]")
"""A sign that begins a formula, in full width, small or as itself; spreadsheets skip blanks and what is not seen."""

Row = dict[str, str | int | None]


def render(report: Report) -> bytes:
    """The file's content."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for manager in report.managers:
        for customer in manager.customers:
            for row in _rows(manager, customer):
                writer.writerow({name: safe(value) for name, value in row.items()})
    return out.getvalue().encode("utf-8-sig")


def safe(value: str | int | None) -> str | int:
    """A cell that no spreadsheet takes for a formula, without what moves a cursor or turns text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    shown = visible(value, keep="\t\r\n")
    return f"'{shown}" if _FORMULA.match(value) else shown


def _rows(manager: ManagerSection, customer: CustomerSection) -> Iterator[Row]:
    lines = customer.lines
    for at_risk in lines.at_risk:
        yield {"kind": "at_risk", **_whose(at_risk.owner), **_at_risk(at_risk)}
    for waiting in lines.waiting:
        yield {"kind": "waiting", **_whose(waiting.owner), **_waiting(waiting)}
    for repaired in lines.repaired:
        yield {"kind": "repaired", **_whose(repaired.owner), **_repaired(repaired)}
    for unread in lines.unread:
        yield {"kind": "unread", **_whose(unread.owner), **_unread(unread)}
    for kind, events in (("linked", customer.tally.linked), ("over", customer.tally.over)):
        if events:
            yield {"kind": kind, "account_manager": manager.name, "customer": customer.name, "events": events}


def _whose(owner: Owner) -> Row:
    return {
        "account_manager": owner.account_manager,
        "customer": owner.customer,
        "person": owner.person,
        "account_id": owner.account_id,
    }


def _at_risk(line: AtRisk) -> Row:
    return {
        "calendar_id": line.key.calendar_id,
        "event_id": line.key.event_id,
        "start_utc": _utc(line.starts_at),
        "reason": line.cause.value if line.cause else None,
        "explanation": line.explanation,
        **_next(line.next_step),
    }


def _waiting(line: Waiting) -> Row:
    return {
        "start_utc": _utc(line.first_event_at),
        "events": line.events,
        "reason": line.kind.value,
        **_next(NOTICE_TEXT[line.kind]),
        "status": DELIVERY_TEXT[line.delivery],
        "since_utc": _utc(line.since),
        "provider": provider_text(line.provider_name),
    }


def _repaired(line: Repaired) -> Row:
    return {
        "calendar_id": line.key.calendar_id,
        "event_id": line.key.event_id,
        "start_utc": _utc(line.starts_at),
        "status": REPAIR_STATUS_TEXT[line.status],
        "since_utc": _utc(line.repaired_at),
        "old_profile": line.old.profile_id,
        "old_provider": line.old.text,
        "new_profile": line.new.profile_id,
        "new_provider": line.new.text,
        "provider_change": CHANGE_TEXT[line.change],
    }


def _unread(line: Unread) -> Row:
    return {
        "start_utc": _utc(line.first_event_at),
        "events": line.events,
        "reason": line.kind,
        "explanation": line.explanation,
    }


def _next(step: NextStep) -> Row:
    return {"who_acts": ACTOR_TEXT[step.actor], "next_step": step.text}


def _utc(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else None
