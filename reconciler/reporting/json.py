"""A report as one JSON document, for programs: the enums' own words, and texts beside them."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from reconciler.domain.report import CustomerSection, Header, ManagerSection, Period, Report
from reconciler.domain.report_lines import Asked, AtRisk, Owner, Repaired, Unread, Waiting
from reconciler.domain.report_words import NOTICE_TEXT, NextStep

Json = dict[str, Any]


def render(report: Report) -> bytes:
    """The file's content."""
    document = {
        **_header(report.header),
        "totals": asdict(report.tally),
        "causes": {cause.value if cause else "not_judged": number for cause, number in report.causes},
        "account_managers": [_manager(manager) for manager in report.managers],
    }
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _header(header: Header) -> Json:
    subject = header.subject
    out: Json = {"generated_at": _iso(header.generated_at)}
    if isinstance(subject, Period):
        out["period"] = {"since": _iso(subject.since), "until": _iso(subject.until)}
    else:
        moments = {"started_at": _iso(subject.started_at), "finished_at": _iso(subject.finished_at)}
        out["run"] = {**asdict(subject), "run_id": str(subject.run_id), **moments}
    filters = {"account_managers": list(header.managers), "customers": list(header.customers)}
    return {**out, "filters": filters, "notes": list(header.notes), "seal": header.seal}


def _manager(manager: ManagerSection) -> Json:
    return {
        "name": manager.name,
        "totals": asdict(manager.tally),
        "customers": [_customer(customer) for customer in manager.customers],
    }


def _customer(customer: CustomerSection) -> Json:
    lines = customer.lines
    return {
        "name": customer.name,
        "totals": asdict(customer.tally),
        "at_risk": [_at_risk(line) for line in lines.at_risk],
        "waiting": [_waiting(line) for line in lines.waiting],
        "repaired": [_repaired(line) for line in lines.repaired],
        "unread": [_unread(line) for line in lines.unread],
    }


def _whose(owner: Owner) -> Json:
    return {"person": owner.person, "account_id": owner.account_id}


def _at_risk(line: AtRisk) -> Json:
    return {
        **_whose(line.owner),
        "calendar_id": line.key.calendar_id,
        "event_id": line.key.event_id,
        "starts_at": _iso(line.starts_at),
        "cause": line.cause,
        "explanation": line.explanation,
        **_next(line.next_step),
    }


def _waiting(line: Waiting) -> Json:
    return {
        **_whose(line.owner),
        "kind": line.kind,
        **_next(NOTICE_TEXT[line.kind]),
        "provider_name": line.provider_name,
        "events": line.events,
        "first_event_at": _iso(line.first_event_at),
        "since": _iso(line.since),
        "status": line.delivery,
    }


def _repaired(line: Repaired) -> Json:
    return {
        **_whose(line.owner),
        "calendar_id": line.key.calendar_id,
        "event_id": line.key.event_id,
        "starts_at": _iso(line.starts_at),
        "repaired_at": _iso(line.repaired_at),
        "old": _asked(line.old),
        "new": _asked(line.new),
        "provider_change": line.change,
        "status": line.status,
    }


def _unread(line: Unread) -> Json:
    return {
        **_whose(line.owner),
        "kind": line.kind,
        "explanation": line.explanation,
        "events": line.events,
        "first_event_at": _iso(line.first_event_at),
    }


def _asked(asked: Asked) -> Json:
    return {"profile_id": asked.profile_id, "provider_name": asked.provider_name}


def _next(step: NextStep) -> Json:
    return {"who_acts": step.actor, "next_step": step.text}


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
