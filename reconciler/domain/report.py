"""What account managers are told: what is at risk, what waits for whom, what was repaired.

Facts go in as lines, a report comes out, grouped by account manager and customer.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from reconciler.domain.cause import Cause
from reconciler.domain.outage import Aftermath
from reconciler.domain.plural import many
from reconciler.domain.report_lines import Lines, Linked, Owner, said
from reconciler.domain.report_words import ABANDONED_TEXT, NOT_READ_TEXT, RUN_STATUS_TEXT, RepairStatus

SOON = timedelta(hours=24)
"""An event at risk that starts within this time is counted apart."""


@dataclass(frozen=True, slots=True)
class NotRead:
    """Events that were due and were not read, and their accounts. `why` is a word of `NOT_READ_TEXT`."""

    why: str
    events: int
    accounts: int


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The run that a report is about. What was due and read in all is null while it has no summary.

    `abandoned`: it is not at its end, but its process is gone. `accounts_unseen` it has not looked at, without leaving
    them to another run.
    `overtaken`: a later run has looked at events, perhaps at the same ones. `elsewhere`: how many events are at risk
    that the run did not touch. `outage`: what became of those that had waited for a provider, null if there were none.
    """

    run_id: UUID
    status: str
    dry_run: bool
    started_at: datetime
    finished_at: datetime | None = None
    reason: str | None = None
    accounts_due: int | None = None
    accounts_left: int | None = None
    accounts_unseen: int = 0
    accounts_read: int = 0
    events_read: int | None = None
    not_read: tuple[NotRead, ...] = ()
    abandoned: bool = False
    overtaken: bool = False
    elsewhere: int = 0
    outage: Aftermath | None = None

    @property
    def status_text(self) -> str:
        """How it ended, or how it stands."""
        if self.abandoned:
            return ABANDONED_TEXT
        if self.status == "partial" and self.accounts_unseen and self.accounts_due is not None:
            were = "were" if self.accounts_due > 1 else "was"
            return f"Ended early: {self.accounts_unseen:,} of {many(self.accounts_due, 'account')} {were} not looked at"
        return RUN_STATUS_TEXT.get(self.status, self.status)

    @property
    def read_text(self) -> str | None:
        """What it read of what was due; null while that is not known."""
        if self.events_read is None:
            return None
        text = f"It read {many(self.events_read, 'meeting')} in {many(self.accounts_read, 'account')}."
        parts = (
            f"{many(part.events, 'meeting')} in {many(part.accounts, 'account')} that {NOT_READ_TEXT[part.why]}"
            for part in self.not_read
        )
        return f"{text} Due, but not read: {'; '.join(parts)}." if self.not_read else text


@dataclass(frozen=True, slots=True)
class Period:
    """The time that a report is about; `until` is exclusive, a null `since` means from the beginning."""

    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Header:
    """What a report is about and when it was made.

    `seal` is the hash by which `audit verify --seal` finds the run in the trail; of a period, that of the newest run.
    """

    subject: RunFacts | Period
    generated_at: datetime
    managers: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    seal: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know in order not to misread it."""
        if isinstance(self.subject, Period):
            return ("What is at risk and what waits for a person is shown as it stands now, whatever the period.",)
        run = self.subject
        left = run.accounts_left or 0
        said = (
            (
                run.dry_run,
                "This was a trial run: nothing was changed. It shows what would be done; meetings that only need time,"
                " and those that have their link, are left out.",
            ),
            (
                run.status == "running" and not run.abandoned,
                "The run is still under way; this is what it has done so far.",
            ),
            (
                run.abandoned,
                "The run has not come to its end: its process is gone. This is what it had done by then; the next run"
                " makes up for what it left.",
            ),
            (
                run.status == "refused",
                "A safety limit held corrections back; they are shown as worked out, but not made.",
            ),
            (
                left > 0,
                f"{many(left, 'account was', 'accounts were')} not reached; the next run makes up for it.",
            ),
            (
                run.elsewhere > 0 and not run.dry_run,
                f"Besides, {many(run.elsewhere, 'meeting is', 'meetings are')} at risk that this run did not look at; a"
                " report on a period shows everything.",
            ),
            (
                run.overtaken,
                "Other runs have looked at events since: everything is shown as it stands now, and an event in which"
                " this run found nothing new may have moved to the report of a later one.",
            ),
        )
        return tuple(note for applies, note in said if applies)


@dataclass(frozen=True, slots=True)
class Tally:
    """The lines of a part of the report, counted.

    `soon` are those at risk that start within `SOON`; `repaired` leaves out those that take a repair back; `over` were
    deleted, have started, or ask for no link any more.
    """

    at_risk: int = 0
    soon: int = 0
    waiting: int = 0
    repaired: int = 0
    confirmed: int = 0
    linked: int = 0
    over: int = 0
    unread: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Tally)))


@dataclass(frozen=True, slots=True)
class CustomerSection:
    """One customer of an account manager; the lines soonest first. `name` is null for accounts without one."""

    name: str | None
    lines: Lines
    tally: Tally

    @property
    def title(self) -> str:
        """The customer's name, or that there is none."""
        return self.name or "No customer"


@dataclass(frozen=True, slots=True)
class ManagerSection:
    """One account manager with their customers, the one whose event at risk is soonest first."""

    name: str | None
    customers: tuple[CustomerSection, ...]

    @property
    def title(self) -> str:
        """The account manager's name, or that there is none."""
        return self.name or "No account manager"

    @property
    def tally(self) -> Tally:
        """All customers together."""
        return sum((customer.tally for customer in self.customers), Tally())


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report. Managers by name, accounts without one last."""

    header: Header
    managers: tuple[ManagerSection, ...]

    @property
    def tally(self) -> Tally:
        """Everything together."""
        return sum((manager.tally for manager in self.managers), Tally())

    @property
    def causes(self) -> tuple[tuple[Cause | None, int], ...]:
        """Why events are at risk, the most frequent cause first."""
        counted = Counter(
            line.cause for manager in self.managers for customer in manager.customers for line in customer.lines.at_risk
        )
        return tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0] or "")))

    @property
    def reasons(self) -> tuple[tuple[str, int], ...]:
        """The same by the lines' titles, as people are told."""
        counted = Counter(
            line.title for manager in self.managers for customer in manager.customers for line in customer.lines.at_risk
        )
        return tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


Group = tuple[str | None, str | None]
"""An account manager and a customer."""


class _Owned(Protocol):
    @property
    def owner(self) -> Owner: ...


_Line = TypeVar("_Line", bound=_Owned)


def fold(header: Header, lines: Lines) -> Report:
    """Group the lines by account manager and customer, soonest first."""
    at_risk = _grouped(sorted(lines.at_risk, key=lambda line: (line.starts_at, line.owner.person, line.key)))
    waiting = _grouped(sorted(lines.waiting, key=lambda line: _soonest(line.first_event_at, line.owner)))
    repaired = _grouped(
        sorted(lines.repaired, key=lambda line: (_soonest(line.starts_at, line.owner), line.repaired_at))
    )
    unread = _grouped(sorted(lines.unread, key=lambda line: _soonest(line.first_event_at, line.owner)))
    linked: dict[Group, list[Linked]] = {}
    for part in lines.linked:
        linked.setdefault((said(part.account_manager), said(part.customer)), []).append(part)
    managers: dict[str | None, list[CustomerSection]] = {}
    for group in {**at_risk, **waiting, **repaired, **unread, **linked}:
        of_customer = Lines(
            at_risk.get(group, ()),
            waiting.get(group, ()),
            repaired.get(group, ()),
            unread.get(group, ()),
            linked.get(group, ()),
        )
        manager, customer = group
        managers.setdefault(manager, []).append(_customer(customer, of_customer, header.generated_at))
    sections = (ManagerSection(name, tuple(sorted(parts, key=_urgency))) for name, parts in managers.items())
    return Report(header, tuple(sorted(sections, key=lambda section: _by_name(section.name))))


def _grouped(lines: Iterable[_Line]) -> dict[Group, list[_Line]]:
    groups: dict[Group, list[_Line]] = {}
    for line in lines:
        groups.setdefault((line.owner.account_manager, line.owner.customer), []).append(line)
    return groups


def _customer(name: str | None, lines: Lines, now: datetime) -> CustomerSection:
    tally = Tally(
        at_risk=len(lines.at_risk),
        soon=sum(line.starts_at <= now + SOON for line in lines.at_risk),
        waiting=len(lines.waiting),
        repaired=sum(line.status is not RepairStatus.UNDO for line in lines.repaired),
        confirmed=sum(line.status is RepairStatus.CONFIRMED for line in lines.repaired),
        linked=sum(line.events for line in lines.linked),
        over=sum(line.over for line in lines.linked),
        unread=len(lines.unread),
    )
    return CustomerSection(name, lines, tally)


def _soonest(moment: datetime | None, who: Owner) -> tuple[bool, float, str]:
    return (moment is None, moment.timestamp() if moment else 0, who.person)


def _urgency(section: CustomerSection) -> tuple[object, ...]:
    first = section.lines.at_risk[0].starts_at.timestamp() if section.lines.at_risk else float("inf")
    return (first, *_by_name(section.name))


def _by_name(name: str | None) -> tuple[bool, str, str]:
    return (name is None, (name or "").casefold(), name or "")
