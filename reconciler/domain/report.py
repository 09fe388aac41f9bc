"""What account managers are told: what is at risk, what waits for whom, what was repaired.

Facts go in as lines, a report comes out, grouped by account manager and customer. All wording is here, in tables that
no member of an enum may be missing from. Deliberately absent, so that no format can show them: join and relink links,
tokens, titles and bodies of events.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar
from uuid import UUID

from reconciler.domain.cause import Cause
from reconciler.domain.ids import DEFAULT, INTEGRATED, RETIRED_8X8, AccountId, EventKey, ProfileId, names_profile
from reconciler.domain.outage import Aftermath
from reconciler.domain.remedy import NoticeKind, ProviderChange

SOON = timedelta(hours=24)
"""An event at risk that starts within this time is counted apart."""


class Actor(StrEnum):
    """Who must act for an event to get its link."""

    NOBODY = "nobody"
    PERSON = "person"
    ACCOUNT_MANAGER = "account_manager"
    SUPPORT = "support"


class Step(StrEnum):
    """What happens next to an event at risk where nobody was sent a notice."""

    LOOK_AGAIN = "look_again"
    WAIT = "wait"
    CORRECTION_SENT = "correction_sent"
    CORRECTION_PLANNED = "correction_planned"
    CORRECTION_OPEN = "correction_open"
    AUTHORIZE = "authorize"
    CHECK_MEETING = "check_meeting"
    CHECK_CALENDAR = "check_calendar"
    SAVE_AGAIN = "save_again"
    ASK_SUPPORT = "ask_support"


class RepairStatus(StrEnum):
    """Whether a repair did what it was for."""

    CONFIRMED = "confirmed"
    AWAITING = "awaiting"
    REPEATED = "repeated"
    CLOSED = "closed"
    UNDONE = "undone"
    UNDO = "undo"


class Delivery(StrEnum):
    """How far an open notice has got; the words of `notices.status`."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"


# ---------------------------------------------------------------- wording

CAUSE_TITLE: dict[Cause, str] = {
    Cause.UNREADABLE: "Could not be checked",
    Cause.ACCOUNT_UNAUTHORIZED: "No access to the calendar",
    Cause.EVENT_DELETED: "Deleted or cancelled",
    Cause.EVENT_PAST: "Already started",
    Cause.ASSIGNED: "Has its link",
    Cause.EVENT_MISSING: "Not found in the calendar",
    Cause.CALENDAR_UNAVAILABLE: "Calendar cannot be used",
    Cause.CALENDAR_DISCONNECTED: "Calendar disconnected",
    Cause.SETTLING: "Link being made",
    Cause.PROVIDER_RETIRED: "Video service discontinued",
    Cause.PROFILE_REMOVED: "Video account removed",
    Cause.PROFILE_DISCONNECTED: "Video account disconnected",
    Cause.INTEGRATED_UNAVAILABLE: "Calendar offers no video",
    Cause.MISSING_MEETING_URL: "Calendar gives no link",
    Cause.PROVIDER_OUTAGE: "Video service down",
    Cause.CONFERENCING_ABSENT: "Video part missing",
    Cause.UNEXPLAINED: "No reason found yet",
}

CAUSE_TEXT: dict[Cause, str] = {
    Cause.UNREADABLE: "The calendar could not be checked this time.",
    Cause.ACCOUNT_UNAUTHORIZED: "We no longer have access to this person's calendar.",
    Cause.EVENT_DELETED: "The meeting was deleted or cancelled in the calendar.",
    Cause.EVENT_PAST: "The meeting has already started.",
    Cause.ASSIGNED: "The meeting has its video link.",
    Cause.EVENT_MISSING: "The meeting cannot be found in the calendar any more.",
    Cause.CALENDAR_UNAVAILABLE: "The calendar was deleted, or nothing can be written to it any more.",
    Cause.CALENDAR_DISCONNECTED: "The connection to the calendar is broken, for example after a password change.",
    Cause.SETTLING: "The meeting was booked or changed a moment ago; its link is still being made.",
    Cause.PROVIDER_RETIRED: "The meeting was booked with 8x8, a video service that no longer exists.",
    Cause.PROFILE_REMOVED: "The video account that the meeting was booked with has been removed.",
    Cause.PROFILE_DISCONNECTED: "The connection to the video account is broken, for example after a password change.",
    Cause.INTEGRATED_UNAVAILABLE: "The calendar's own video service was to be used, but the calendar offers none.",
    Cause.MISSING_MEETING_URL: "The calendar's own video service gives no link; most often a licence is missing.",
    Cause.PROVIDER_OUTAGE: "The video service has trouble making links at the moment.",
    Cause.CONFERENCING_ABSENT: "The meeting asks for a video link, but in the calendar it has no video part at all.",
    Cause.UNEXPLAINED: "Everything looks in order, and yet there is no link; no reason has been found so far.",
}

NOT_JUDGED_TITLE = "Not examined yet"
NOT_JUDGED_TEXT = "The meeting had no link when it was last seen; why has not been examined yet."


@dataclass(frozen=True, slots=True)
class NextStep:
    """Who must act, and what happens next."""

    actor: Actor
    text: str


NOTICE_TEXT: dict[NoticeKind, NextStep] = {
    NoticeKind.RELINK_CONFERENCING: NextStep(Actor.PERSON, "Connect the video account again."),
    NoticeKind.RELINK_CALENDAR: NextStep(Actor.PERSON, "Connect the calendar again."),
    NoticeKind.REAUTHORIZE_ACCOUNT: NextStep(Actor.PERSON, "Allow access to the calendar again."),
    NoticeKind.CONNECT_CONFERENCING: NextStep(Actor.PERSON, "Connect a video account; there is none to use instead."),
    NoticeKind.RESTORE_LICENCE: NextStep(
        Actor.ACCOUNT_MANAGER, "Have the licence for the calendar's own video service restored."
    ),
}

STEP_TEXT: dict[Step, NextStep] = {
    Step.LOOK_AGAIN: NextStep(Actor.NOBODY, "The next run looks at it again."),
    Step.WAIT: NextStep(Actor.NOBODY, "The link comes by itself; we keep checking."),
    Step.CORRECTION_SENT: NextStep(Actor.NOBODY, "The meeting was corrected; we keep checking for its new link."),
    Step.CORRECTION_PLANNED: NextStep(Actor.NOBODY, "A correction is worked out, but has not been made."),
    Step.CORRECTION_OPEN: NextStep(Actor.NOBODY, "A correction has not gone through yet; it will be tried again."),
    Step.AUTHORIZE: NOTICE_TEXT[NoticeKind.REAUTHORIZE_ACCOUNT],
    Step.CHECK_MEETING: NextStep(Actor.ACCOUNT_MANAGER, "Ask the person whether the meeting still stands."),
    Step.CHECK_CALENDAR: NextStep(Actor.ACCOUNT_MANAGER, "Agree with the person on a calendar that can be used."),
    Step.SAVE_AGAIN: NextStep(
        Actor.ACCOUNT_MANAGER, "It cannot be corrected automatically: have the meeting saved again."
    ),
    Step.ASK_SUPPORT: NextStep(Actor.SUPPORT, "It has gone on too long and was handed to support."),
}

ACTOR_TEXT: dict[Actor, str] = {
    Actor.NOBODY: "Nobody",
    Actor.PERSON: "The person",
    Actor.ACCOUNT_MANAGER: "Account manager",
    Actor.SUPPORT: "Support",
}

REPAIR_STATUS_TEXT: dict[RepairStatus, str] = {
    RepairStatus.CONFIRMED: "Confirmed: the link is there",
    RepairStatus.AWAITING: "Awaiting the new link",
    RepairStatus.REPEATED: "No link came; corrected again later",
    RepairStatus.CLOSED: "Over before a link was seen",
    RepairStatus.UNDONE: "Taken back later",
    RepairStatus.UNDO: "Takes an earlier correction back",
}

CHANGE_TEXT: dict[ProviderChange, str] = {
    ProviderChange.SAME: "Same service",
    ProviderChange.CHANGED: "Another service",
    ProviderChange.UNKNOWN: "Not known",
}

DELIVERY_TEXT: dict[Delivery, str] = {
    Delivery.QUEUED: "Not sent yet",
    Delivery.DELIVERED: "Sent",
    Delivery.FAILED: "Sending failed; it is tried again",
    Delivery.DEAD: "Could not be sent",
}

RUN_STATUS_TEXT: dict[str, str] = {
    "running": "Still under way",
    "completed": "Completed",
    "partial": "Finished, but some accounts could not be read or written",
    "stopped": "Stopped early",
    "refused": "Held back by a safety limit",
    "failed": "Failed",
}

UNREAD_TEXT: Mapping[str, str] = {
    "no_account": "The application does not list this account.",
    "write_in_doubt": "A correction was sent, but its answer was lost; the meeting is checked before anything else.",
    "write_failed": "A correction could not be sent.",
    "write_crossed_delete": "A meeting was deleted while it was corrected: it must be checked whether it is back.",
    "write_crossed_write": "A meeting was changed while it was corrected: it must be checked, or saved again.",
    "internal": "Something went wrong on our side.",
    "unknown_data_center": "The application does not say where the account is kept.",
    "malformed": "The calendar service gave no answer that could be used.",
    "rate_limited": "The calendar service was too busy.",
    "timeout": "The calendar service did not answer in time.",
    "unreachable": "The calendar service could not be reached.",
    "server_error": "The calendar service had a fault.",
}
UNREAD_OTHERWISE = "It could not be checked this time."

PROVIDER_TEXT: Mapping[str, str] = {
    "zoom": "Zoom",
    "go_to": "GoTo",
    "ms_teams": "Microsoft Teams",
    "ms_teams_for_business": "Microsoft Teams",
    "google_meet": "Google Meet",
    "google_meet_api": "Google Meet",
    "8x8": "8x8",
    "google": "Google Calendar",
    "exchange": "Exchange",
    "live_connect": "Outlook",
    "apple": "iCloud",
}
"""The list is open at Cronofy: a name that is not here is shown as it is."""

_ASKED_TEXT = {
    DEFAULT: "The person's usual video account",
    INTEGRATED: "The calendar's own video service",
    RETIRED_8X8: PROVIDER_TEXT["8x8"],
}

_STEPS = {
    "park": Step.AUTHORIZE,
    "report": Step.SAVE_AGAIN,
    "escalate": Step.ASK_SUPPORT,
    "wait": Step.WAIT,
}
_REPORTED = {
    Cause.EVENT_MISSING: Step.CHECK_MEETING,
    Cause.CALENDAR_UNAVAILABLE: Step.CHECK_CALENDAR,
}
_NOTICES = {kind.value: kind for kind in NoticeKind}


def provider_text(provider_name: str | None) -> str | None:
    """A provider's name as people know it."""
    return PROVIDER_TEXT.get(provider_name, provider_name) if provider_name else None


# ---------------------------------------------------------------- lines


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose calendar it is, and who answers for it."""

    account_id: AccountId
    person: str
    customer: str | None
    account_manager: str | None


def owner(
    account_id: str, name: str | None, email: str | None, customer: str | None, account_manager: str | None
) -> Owner:
    """An owner by the best name there is; blank texts count as none."""
    said = [_said(text) for text in (name, email, account_id)]
    person = next((text for text in said if text), "No account")
    return Owner(AccountId(account_id), person, _said(customer), _said(account_manager))


def _said(text: str | None) -> str | None:
    return (text or "").strip() or None


@dataclass(frozen=True, slots=True)
class AtRisk:
    """A future event without a link.

    `remedy` is the phrase of `event_states.remedy`; `corrected`: a repair was accepted and awaits its link;
    `planned`: the remedy was worked out in a run that did not carry it out.
    """

    owner: Owner
    key: EventKey
    starts_at: datetime
    cause: Cause | None
    remedy: str | None = None
    corrected: bool = False
    planned: bool = False

    @property
    def title(self) -> str:
        """The cause in two or three words."""
        return CAUSE_TITLE[self.cause] if self.cause else NOT_JUDGED_TITLE

    @property
    def explanation(self) -> str:
        """The cause in a sentence."""
        return CAUSE_TEXT[self.cause] if self.cause else NOT_JUDGED_TEXT

    @property
    def next_step(self) -> NextStep:
        """What is being done, or who must act."""
        words = (self.remedy or "").split()
        match words:
            case ["notify", kind, *_] if kind in _NOTICES:
                return NOTICE_TEXT[_NOTICES[kind]]
            case ["reupsert", *_] if self.planned:
                return STEP_TEXT[Step.CORRECTION_PLANNED]
            case ["reupsert", *_] if not self.corrected:
                return STEP_TEXT[Step.CORRECTION_OPEN]
            case ["reupsert" | "wait", *_] if self.corrected:
                return STEP_TEXT[Step.CORRECTION_SENT]
            case ["report", *_] if self.cause in _REPORTED:
                return STEP_TEXT[_REPORTED[self.cause]]
            case [word, *_]:
                return STEP_TEXT[_STEPS.get(word, Step.LOOK_AGAIN)]
            case _:
                return STEP_TEXT[Step.LOOK_AGAIN]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open notice: a person must do something. `events` are those still ahead that wait for it."""

    owner: Owner
    kind: NoticeKind
    provider_name: str | None
    events: int
    first_event_at: datetime | None
    since: datetime
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Asked:
    """The conferencing that an event asks for."""

    profile_id: ProfileId | None
    provider_name: str | None = None

    @property
    def text(self) -> str:
        """As people know it."""
        reserved = _ASKED_TEXT.get(self.profile_id) if self.profile_id else None
        return provider_text(self.provider_name) or reserved or "Service not known"

    @property
    def named(self) -> ProfileId | None:
        """The profile's own id, where it asks for one rather than by a reserved word."""
        return self.profile_id if self.profile_id and names_profile(self.profile_id) else None


@dataclass(frozen=True, slots=True)
class Repaired:
    """An accepted repair. `starts_at` is null where the application no longer holds the event."""

    owner: Owner
    key: EventKey
    starts_at: datetime | None
    repaired_at: datetime
    old: Asked
    new: Asked
    change: ProviderChange
    status: RepairStatus


@dataclass(frozen=True, slots=True)
class Unread:
    """An account that could not be read or written; its events stay due."""

    owner: Owner
    kind: str
    events: int
    first_event_at: datetime | None

    @property
    def explanation(self) -> str:
        """Why, in a sentence."""
        return UNREAD_TEXT.get(self.kind, UNREAD_OTHERWISE)


@dataclass(frozen=True, slots=True)
class Linked:
    """How many events of a customer have their link."""

    account_manager: str | None
    customer: str | None
    events: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Everything that a report is made of, in any order."""

    at_risk: Sequence[AtRisk] = ()
    waiting: Sequence[Waiting] = ()
    repaired: Sequence[Repaired] = ()
    unread: Sequence[Unread] = ()
    linked: Sequence[Linked] = ()


# ---------------------------------------------------------------- the report


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The run that a report is about. The numbers are null while it has no summary.

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
    events_read: int | None = None
    overtaken: bool = False
    elsewhere: int = 0
    outage: Aftermath | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """The time that a report is about; `until` is exclusive, a null `since` means from the beginning."""

    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Header:
    """What a report is about and when it was made."""

    subject: RunFacts | Period
    generated_at: datetime
    managers: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()

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
            (run.status == "running", "The run is still under way; this is what it has done so far."),
            (
                run.status == "refused",
                "A safety limit held corrections back; they are shown as worked out, but not made.",
            ),
            (
                left > 0,
                f"{left:,} {'accounts were' if left > 1 else 'account was'} not reached; the next run makes up for it.",
            ),
            (
                run.elsewhere > 0 and not run.dry_run,
                f"Besides, {_meetings(run.elsewhere)} at risk that this run did not look at; a report on a period shows"
                " everything.",
            ),
            (
                run.overtaken,
                "Other runs have looked at events since: everything is shown as it stands now, and an event in which"
                " this run found nothing new may have moved to the report of a later one.",
            ),
        )
        return tuple(note for applies, note in said if applies)


def _meetings(number: int) -> str:
    return f"{number:,} {'meetings are' if number > 1 else 'meeting is'}"


@dataclass(frozen=True, slots=True)
class Tally:
    """The lines of a part of the report, counted.

    `soon` are those at risk that start within `SOON`; `repaired` leaves out those that take a repair back.
    """

    at_risk: int = 0
    soon: int = 0
    waiting: int = 0
    repaired: int = 0
    confirmed: int = 0
    linked: int = 0
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
        linked.setdefault((_said(part.account_manager), _said(part.customer)), []).append(part)
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
