"""A report as one HTML file that needs nothing else: no scripts, nothing fetched; for light and dark screens and A4."""

from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from reconciler.domain.plural import many
from reconciler.domain.report import SOON, Period, Report
from reconciler.domain.report_words import (
    ACTOR_TEXT,
    CHANGE_TEXT,
    DELIVERY_TEXT,
    NOTICE_TEXT,
    REPAIR_STATUS_TEXT,
    RepairStatus,
    provider_text,
)
from reconciler.domain.visible import visible


def render(report: Report) -> bytes:
    """The file's content."""
    reasons, subject = report.reasons, report.header.subject
    return (
        _template()
        .render(
            report=report,
            header=report.header,
            subject=subject,
            of_period=isinstance(subject, Period),
            knows_links=isinstance(subject, Period) or not subject.dry_run,
            total=report.tally,
            soon_by=report.header.generated_at + SOON,
            bars=reasons,
            most=max((number for _, number in reasons), default=1),
        )
        .lstrip()
        .encode()
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("reconciler.reporting"),
        autoescape=True,
        finalize=_finished,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"when": _when, "iso": _iso, "provider": provider_text, "many": many}
    environment.globals |= {
        "actors": ACTOR_TEXT,
        "changes": CHANGE_TEXT,
        "deliveries": DELIVERY_TEXT,
        "notices": NOTICE_TEXT,
        "statuses": REPAIR_STATUS_TEXT,
        "CONFIRMED": RepairStatus.CONFIRMED,
    }
    return environment.get_template("report.html.j2")


def _finished(value: object) -> object:
    """A text from outside without what moves a cursor or turns text; the page's own parts are text already escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _when(moment: datetime) -> str:
    """A moment in UTC, in English whatever the locale; the zone is said beside it."""
    utc = moment.astimezone(UTC)
    return f"{_DAYS[utc.weekday()]} {utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
