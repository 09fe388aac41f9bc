"""What goes into one unit of work (an account with its due events) and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from reconciler.domain.audit import AuditEntry
from reconciler.domain.event import CalendarEvent
from reconciler.domain.evidence import Evidence, KnownProfile, Notified
from reconciler.domain.ids import AccountId, EventKey, ProfileId
from reconciler.domain.notice import Addressee, Notice, NoticeChanges
from reconciler.domain.pushed import PushedLink
from reconciler.domain.remedy import Remedy
from reconciler.domain.roster import Roster
from reconciler.domain.state import EventState
from reconciler.domain.times import EventTime


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is limited to. An empty scope is everything that is due; any other ignores `next_read_at`."""

    accounts: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    events: tuple[EventKey, ...] = ()
    causes: tuple[str, ...] = ()
    starting_before: datetime | None = None
    starting_after: datetime | None = None
    written_before: datetime | None = None
    written_after: datetime | None = None

    def as_json(self) -> dict[str, object]:
        """The limits that are set, as a plain JSON value."""
        out: dict[str, object] = {}
        for name in ("accounts", "customers", "managers", "providers", "profiles", "causes"):
            if getattr(self, name):
                out[name] = list(getattr(self, name))
        if self.events:
            out["events"] = [str(key) for key in self.events]
        for name in ("starting_before", "starting_after", "written_before", "written_after"):
            if getattr(self, name) is not None:
                out[name] = getattr(self, name).isoformat()
        return out


@dataclass(frozen=True, slots=True)
class Unit:
    """One account of a run's work. `deadline` is the soonest start among its due events.

    `weighed`: it has waited until all accounts were through, and what was answered of its own is believed.
    """

    run_id: UUID
    account_id: AccountId
    deadline: datetime
    attempt: int = 0
    weighed: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """A re-upsert of ours: when its answer was recorded, what it asked for, the outcome's name, the error keys."""

    at: datetime
    profile_id: ProfileId
    answer: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A due event with what is on record about it.

    `tried` are our last writes of it since the application wrote it, oldest first.
    `overtaken`: the application wrote it while a re-upsert of ours, based on the body before, was under way. Which of
    the two reached Cronofy last is not known. `perhaps`: whether it was still under way is not known either.
    `lost_doubt`: the profile of such a re-upsert of which nobody has said what came of it. `sent`: the times, start and
    end each, that our latest writes gave it. `pushed`: a link that Cronofy pushed and no look has seen. `to_look_at`:
    the ids of the notifications that no look has taken into account.
    """

    event: CalendarEvent
    state: EventState
    notified: tuple[Notified, ...] = ()
    overtaken: bool = False
    perhaps: bool = False
    tried: tuple[Tried, ...] = ()
    lost_doubt: ProfileId | None = None
    sent: tuple[tuple[EventTime, EventTime], ...] = ()
    pushed: PushedLink | None = None
    to_look_at: tuple[int, ...] = ()

    @property
    def written_at(self) -> datetime:
        """When the application wrote it: a time that the row was given on our own correction is none of its writes."""
        return self.state.stamped_from or self.event.written_at

    @property
    def doubt(self) -> ProfileId | None:
        """The profile of a write of ours that was intended and of which nobody has said what came of it."""
        return self.state.intended_profile if self.state.intended_at is not None else self.lost_doubt


@dataclass(frozen=True, slots=True)
class Caseload:
    """A unit's due events, soonest first, and what is on record about their account.

    `profiles` describes every conferencing profile ever listed; `listed_before` is how many the last roster held,
    null where there is none on record. `disconnected` says when those were first seen disconnected that the last roster
    showed so; `default_linked_at`: when an event that asked `default` last got a link, where any is disconnected.
    `to_look_at`: the ids of notifications about the account as a whole that this unit takes into account.
    """

    unit: Unit
    addressee: Addressee
    data_center: str
    cases: tuple[Case, ...]
    profiles: Mapping[ProfileId, KnownProfile] = field(default_factory=dict)
    listed_before: int | None = None
    open_notices: tuple[Notice, ...] = ()
    to_look_at: tuple[int, ...] = ()
    disconnected: Mapping[ProfileId, datetime] = field(default_factory=dict)
    default_linked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldCases:
    """An account's held evidence, to be judged at the end of the run."""

    caseload: Caseload
    evidence: Mapping[EventKey, Evidence]


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event judged: the evidence with its cause and remedy, as plans list it."""

    key: EventKey
    starts_at: datetime
    cause: str
    remedy: Remedy
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Correction:
    """The application's row after an accepted repair, unless the row's `written_at` is another by now.

    `refused`: why its database refused this correction at an earlier look, if it did.
    """

    key: EventKey
    profile_id: ProfileId
    written_at: datetime
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class UnitError:
    """Why an account, or an event of it, could not be read or written; it stays due.

    The message is stored and shown: beyond `LONGEST_MESSAGE` characters, which only long ids bring about, it is cut.
    """

    kind: str
    message: str

    def __post_init__(self) -> None:
        if len(self.message) > LONGEST_MESSAGE:
            object.__setattr__(self, "message", f"{self.message[:LONGEST_MESSAGE]}…")


LONGEST_MESSAGE = 1_000


Counts = dict[str, dict[str, int]]
"""Named counters in named groups: `events causes outcomes notices requests outage`."""


def added(one: Counts, other: Counts) -> Counts:
    """The sum of two sets of counters."""
    total = {group: dict(values) for group, values in one.items()}
    for group, values in other.items():
        mine = total.setdefault(group, {})
        for name, number in values.items():
            mine[name] = mine.get(name, 0) + number
    return total


@dataclass(frozen=True, slots=True)
class Observed:
    """How a service did in this unit, over the events that count towards an outage.

    `told`: of how many Cronofy has pushed that their provider fails.
    """

    overdue: int
    total: int
    told: int = 0


@dataclass(frozen=True, slots=True)
class UnitResult:
    """Everything one unit decided, to be recorded in a single transaction.

    `roster` is null where userinfo was not read; `roster_compared`: one with profiles was on record, `roster_lost`:
    this one has none. `access_lost`: Cronofy refused the account. `waits`: what rests on either was left until all
    accounts are through. `held` is evidence whose verdict waits for the end of the run. `refusal` says which limit of
    the account held back its repairs. `looked_at`: the ids of the notifications that were taken into account.
    `more_errors` are those beside `error`: of events with rows that cannot be used.
    """

    unit: Unit
    addressee: Addressee
    at: datetime
    states: tuple[EventState, ...] = ()
    corrections: tuple[Correction, ...] = ()
    entries: tuple[AuditEntry, ...] = ()
    notices: NoticeChanges = field(default_factory=NoticeChanges)
    roster: Roster | None = None
    roster_compared: bool = False
    roster_lost: bool = False
    access_lost: bool = False
    waits: bool = False
    held: tuple[tuple[EventKey, Evidence], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    park: str | None = None
    refusal: str | None = None
    error: UnitError | None = None
    more_errors: tuple[UnitError, ...] = ()
    counts: Counts = field(default_factory=dict)
    observed: Mapping[str, Observed] = field(default_factory=dict)
    looked_at: tuple[int, ...] = ()

    def with_errors(self, errors: Sequence[UnitError]) -> "UnitResult":
        """With further errors, of single events; what was wrong with the account stays the first."""
        if not errors:
            return self
        first, *more = (self.error, *errors) if self.error else errors
        return replace(self, error=first, more_errors=(*self.more_errors, *more))
