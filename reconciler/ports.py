"""What the pipeline needs of the world, as small protocols, and the failures that cross them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, Protocol
from uuid import UUID

from reconciler.domain.audit import AuditEntry
from reconciler.domain.casework import Caseload, Counts, HeldCases, Unit, UnitError, UnitResult
from reconciler.domain.evidence import Found, Unreadable
from reconciler.domain.ids import AccountId, CalendarId, EventKey, ProfileId
from reconciler.domain.outcome import Outcome
from reconciler.domain.remedy import Drift
from reconciler.domain.roster import Losses, Roster
from reconciler.domain.run import ProviderShare, RunClosed, RunRow, Totals


class Clock(Protocol):
    """The one clock of a run: the database's, so that processes whose own clocks disagree decide alike."""

    def now(self) -> datetime: ...


class RunStopped(Exception):
    """The run cannot go on; its message is one line for the operator."""


class WrongConfiguration(RunStopped):
    """A setting, a credential or the database's shape is wrong; the message names what to change."""


class TurnGivenUp(RunStopped):
    """The run is to end, and the account's next request would have to wait long: the account is left to do."""


class ApiUnreachable(RunStopped):
    """Cronofy as a whole does not answer."""


class ClientRejected(WrongConfiguration):
    """Cronofy does not accept the client id and secret."""


class DatabaseUnreachable(RunStopped):
    """Postgres does not answer or does not let us in."""


class TransactionUndone(DatabaseUnreachable):
    """Postgres undid a transaction for another one's sake (a deadlock), time and again: nothing of it stands."""


class LocksLost(DatabaseUnreachable):
    """The connection that held this process's locks is gone: its run may be another's by now."""

    def __init__(self) -> None:
        super().__init__(
            "the connection to Postgres that held the locks of this run was lost: another process may have the run by "
            "now; what was recorded stands, the rest stays due"
        )


class KeyTaken(Exception):
    """Another process has begun the run of this key in the same moment."""


class StillWriting(DatabaseUnreachable):
    """A run cannot be closed: a transaction that writes for it neither goes on nor ends."""

    def __init__(self) -> None:
        super().__init__(
            "a process hangs in the midst of writing for this run, and keeps its transaction open in Postgres: end it, "
            "then run again"
        )


class AccountUnauthorized(Exception):
    """This account needs its person to authorise again; the message is a short reason without any token."""


class AccountUnreadable(Exception):
    """This account could not be read in this run. `kind` is a stable word for the summary."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


WRONG_ACCOUNT = "wrong_account"
"""The kind of `AccountUnreadable` where an answer is another account's: nothing that its tokens gave may be used."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair of tokens. Never shown: the representation leaves them out."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What it takes to speak for one account. `tokens` is null where none usable is stored."""

    account_id: AccountId
    data_center: str
    tokens: Tokens | None


class TokenStore(Protocol):
    """Where tokens live. A refreshed pair is stored before it is used: the old refresh token may be dead by then."""

    async def load(self, account_id: AccountId) -> Tokens | None: ...

    async def save(self, account_id: AccountId, tokens: Tokens, *, replacing: Tokens) -> bool:
        """Store a refreshed pair; false if the application stored another pair in the meantime (its pair stands)."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """Which days to list, in UTC. `until` is exclusive, as Cronofy's `to`."""

    since: date
    until: date


@dataclass(frozen=True, slots=True)
class Listing:
    """The managed events of an account as read, deleted ones included.

    `page_size` is how many events Cronofy puts on a page, where there was more than one; else null.
    """

    events: Mapping[EventKey, Found | Unreadable]
    page_size: int | None = None


@dataclass(frozen=True, slots=True)
class UpsertRequest:
    """One event to be written again: the stored body (JSON text), and what alone may differ from it."""

    key: EventKey
    body_text: str = field(repr=False)
    profile_id: ProfileId
    drift: Drift | None


class Recheck(Protocol):
    """What must still hold at the moment when writes start, however long they waited for it.

    Both answer with the outcome of those that are not to be made any more.
    """

    async def by_look(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Outcome]:
        """By the calendar, read anew: no link, not deleted, where it was."""
        ...

    async def by_rows(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Outcome]:
        """By the application's rows: not written again, not cancelled."""
        ...


class CalendarApi(Protocol):
    """Cronofy for one account at a time, within the shared budget.

    Every method may raise `AccountUnauthorized`, `AccountUnreadable` (this account alone) or `RunStopped`.
    """

    async def list_events(
        self,
        who: Credentials,
        window: Window | None,
        calendars: Sequence[CalendarId] = (),
        *,
        wanted: Collection[EventKey] | None = None,
        expected: int = 0,
    ) -> Listing:
        """All managed events of the window (null: of all time), every page followed, deduplicated, deleted included.

        `wanted`: these alone are held and answered for, null: all. `expected`: how many events the application has
        there, as far as that is known; a listing that goes on far beyond them is no listing.
        """
        ...

    async def userinfo(self, who: Credentials) -> Roster: ...

    async def upsert(
        self, who: Credentials, requests: Sequence[UpsertRequest], recheck: Recheck | None = None
    ) -> Sequence[Outcome]:
        """Write events again, in batches of up to 50; one outcome per request, in order. Never raises for one item.

        `Applied`, `Rejected`, `InDoubt` (the answer was lost), `Unsent` (certainly not carried out), or what `recheck`
        said of it when its turn had come.
        """
        ...


class Budget(Protocol):
    """The request allowance that all processes share."""

    async def pauses(self) -> int:
        """How many pauses any of them has asked for so far: another number than before says that one came between."""
        ...

    async def reserve(self, cost: int) -> float:
        """Take `cost` requests from the allowance; the answer is how many seconds to wait before starting them."""
        ...

    async def hold(self, seconds: float) -> None:
        """Cronofy answered 429: nobody starts a request for so long, and the pace drops."""
        ...


class RequestMeter(Protocol):
    """Counts what was asked of Cronofy. Kinds: `events userinfo upsert batch token`, and `retried refused`."""

    def count(self, kind: str, cost: int = 1) -> None: ...


class SafetyLimitReached(RunStopped):
    """The next write would pass a limit of the run; nothing of it was written."""


class AccountLimitReached(SafetyLimitReached):
    """The next write would pass the limit of one account; nothing of it was written, and others may go on."""


_ALWAYS_ALLOWED = 19
"""Repairs that are no mass change, however few events were read."""


@dataclass(frozen=True, slots=True)
class SafetyLimits:
    """How much one run may change: `repairs` in all, and `share` of the events read, from the 20th repair on.

    `per_account`: repairs of one account.
    """

    repairs: int = 1000
    share: float = 0.25
    per_account: int = 200

    def allowed(self, events_read: int) -> int:
        """How many repairs a run may make that reads so many events."""
        return min(self.repairs, max(_ALWAYS_ALLOWED, int(self.share * events_read)))


@dataclass(frozen=True, slots=True)
class Intent:
    """The writes that are about to be sent for one account, and what the limits are counted against.

    `restores`: they put back the application's own newer bodies. `counts`: the limits hold for them; not for these, nor
    for another try with another profile.
    """

    unit: Unit
    at: datetime
    events_read: int
    writes: Mapping[EventKey, tuple[datetime, ProfileId]]
    entries: Sequence[AuditEntry]
    restores: bool = False
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of recording: events that the application wrote while a repair of theirs was under way, and what its
    database refused; the record stands all the same."""

    overtaken: tuple[EventKey, ...] = ()
    error: UnitError | None = None

    def and_(self, other: "Recorded") -> "Recorded":
        """Both."""
        return Recorded((*self.overtaken, *other.overtaken), self.error or other.error)


Density = Mapping[CalendarId, Mapping[date, int]]
"""Events per day, by calendar."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A unit as it stands in the database.

    `density` covers the days from the first due event to the last; it is empty where all of them fit on one page.
    `errors`: what the application stored for this account's events and we cannot use; their other rows are the cases.
    """

    caseload: Caseload
    who: Credentials
    density: Density = field(default_factory=dict)
    errors: tuple[UnitError, ...] = ()


class CaseStore(Protocol):
    """The application's rows and our own about one account."""

    async def load(
        self, unit: Unit, now: datetime, page_size: int, events: Sequence[EventKey] = ()
    ) -> Loaded | UnitError | None:
        """The unit's due events and what is on record; an error where the account is not, null for nothing due.

        `page_size`: how many events Cronofy puts on a page, for the density. `events`: these of the account instead,
        if they still ask for a link, whatever the scope and however soon they were looked at.
        """
        ...

    async def intend(self, intent: Intent) -> Mapping[EventKey, str]:
        """Read each row anew and record the intent to write it, within the run's limits.

        The answer holds the stored body (JSON text) of every event that may still be written: not written again, not
        cancelled. Of the others no intent is recorded.

        Raises:
            AccountLimitReached: the account's limit does not allow these writes; nothing was recorded.
            SafetyLimitReached: a limit of the whole run does not; nothing was recorded.
        """
        ...

    async def unchanged(self, unit: Unit, writes: Mapping[EventKey, datetime]) -> Collection[EventKey]:
        """Those of the events that may still be written: the unit is ours, the row not written since, not cancelled."""
        ...

    async def record(self, result: UnitResult) -> Recorded:
        """Record a unit's result, once and whole. What the application's database refuses costs that alone."""
        ...

    async def lost_rosters(self, run_id: UUID, *, one_in_hand: bool = False) -> Losses:
        """How many accounts' rosters lost every profile, by the units recorded so far; nothing is counted while there
        is none, be it in hand."""
        ...

    async def lost_access(self, run_id: UUID, *, one_in_hand: bool = False) -> Losses:
        """How many accounts Cronofy refused, in the same way."""
        ...

    async def record_more(self, results: Sequence[UnitResult]) -> Recorded:
        """Record what was decided of units of one run after they were done: verdicts that waited for the end of the run
        (the held evidence goes in the same transaction), or a second look. The answer is as `record`'s."""
        ...

    async def held_accounts(self, run_id: UUID, after: str) -> Sequence[AccountId]:
        """The next accounts with held evidence, in order of their ids, after that one."""
        ...

    async def held(self, run_id: UUID, accounts: Sequence[AccountId]) -> Sequence[HeldCases]:
        """The held evidence of these accounts."""
        ...


@dataclass(frozen=True, slots=True)
class Holder:
    """A session of the database that holds a name. Anybody who may connect can: what else it may do tells who it is.

    `fellow`: its login may write the books of runs, so it may be a process of ours. `run`: it has a run in hand.
    """

    session: str
    fellow: bool
    run: bool


class Locks(Protocol):
    """Names held by one process at a time; they are free again when it ends, however it ends."""

    async def take(self, name: str) -> bool:
        """Take a name if nobody has it."""
        ...

    async def release(self, name: str) -> None: ...

    async def join(self, name: str) -> bool:
        """Hold a name beside all others that join it, unless somebody has taken it."""
        ...

    async def leave(self, name: str) -> None:
        """Give back a name that was joined."""
        ...

    async def holder(self, name: str) -> Holder | None:
        """Who holds a name beside this process; one of ours where there are several, null where nobody does."""
        ...

    async def taken_within(self, name: str, company: str) -> bool:
        """Whether a name is taken by a process that has joined `company`."""
        ...


class Stop(Protocol):
    """Set when no more work is to be begun: an `asyncio.Event`."""

    def is_set(self) -> bool: ...

    async def wait(self) -> bool: ...


Reopened = Literal["repaired", "waiting"]
"""Units that are worked once more: those whose repairs await confirmation, or those that waited for all accounts."""


class Engine(Protocol):
    """How the units of a run spread over processes. All that is lasting are the units themselves, in the ledger."""

    @property
    def shared(self) -> bool:
        """Whether several processes may work the same run at once."""
        ...

    async def plan(self, run_id: UUID, now: datetime) -> None:
        """Write down the run's work, one unit per account, and make ready what is still to do; once, whoever asks."""
        ...

    async def work_through(self, run_id: UUID, work: Callable[[Unit], Awaitable[None]], stop: Stop) -> None:
        """Work the units that are to do, soonest deadline first, until none is left or `stop` is set.

        An account that another run has in hand is left to it. After a stop no unit is begun; those in flight get
        a while to end, then they are cancelled and stay to do. What `work` raises ends all of this process's work.
        """
        ...

    async def reopen(self, run_id: UUID, which: Reopened) -> int:
        """Make units work to do again; how many."""
        ...

    async def forget(self, run_id: UUID) -> None:
        """Drop what the engine keeps of a run whose books are closed."""
        ...


class RunLedger(Protocol):
    """The books of runs. Whatever writes for a run raises `LocksLost` where this process's locks are gone."""

    async def of_key(self, run_key: str) -> tuple[RunRow, str] | None:
        """The run of a key and its status, if there is one."""
        ...

    async def start(self, run: RunRow, entry: AuditEntry) -> None:
        """Open a run's books.

        Raises:
            KeyTaken: there is a run of its key.
        """
        ...

    async def resume(self, run_id: UUID) -> None:
        """Take over a run whose process is gone."""
        ...

    async def ended(self, run_id: UUID) -> RunClosed | None:
        """How a run ended, if its books are closed."""
        ...

    async def refuse(self, run_id: UUID, why: str) -> None:
        """Note which limit holds back writes; the first reason stands."""
        ...

    async def refusal(self, run_id: UUID) -> str | None:
        """Which limit holds back the writes of all, whichever process met it."""
        ...

    async def held_back(self, run_id: UUID) -> str | None:
        """Every limit that held back a write, those of single accounts included; null where none did."""
        ...

    async def plan_units(self, run_id: UUID, now: datetime) -> None:
        """Write down the run's work, one unit per account; once, whoever asks."""
        ...

    async def units(self, run_id: UUID, after: Unit | None, limit: int) -> Sequence[Unit]:
        """The next units to do, soonest deadline first."""
        ...

    async def skip(self, unit: Unit, why: UnitError | None = None) -> None:
        """Leave a unit to the run that has its account in hand; `why` not, where it is no run."""
        ...

    async def spent(self, unit: Unit, counts: Counts) -> None:
        """Add what a unit cost whose work was cut off."""
        ...

    async def reopen(self, run_id: UUID, which: Reopened) -> int:
        """Make units work to do again; how many."""
        ...

    async def totals(self, run_id: UUID) -> Totals: ...

    async def counts(self, run_id: UUID) -> Counts: ...

    async def errors(self, run_id: UUID) -> Sequence[Mapping[str, str]]:
        """Why accounts could not be read or written, at most 100 of them."""
        ...

    async def finish(
        self, run: RunRow, at: datetime, incidents: Mapping[str, int], status: Callable[[Totals, str | None], str]
    ) -> RunClosed | None:
        """Add up and close a run's books, under a seal over every audit entry that it wrote; null if they are closed.

        `status` chooses it by the run's units and the limits that held back writes. Whatever is being written for the
        run is waited for.

        Raises:
            StillWriting: it is not through within the time that a transaction may stand idle.
        """
        ...

    async def shares(
        self, run_id: UUID, now: datetime, since: datetime, also: Collection[str]
    ) -> Mapping[str, ProviderShare]:
        """How the providers that this run observed, and those of `also`, do over events written after `since`."""
        ...

    async def open_incidents(self) -> Mapping[str, datetime]:
        """The providers with an open incident, and when it was opened."""
        ...

    async def open_incident(
        self, provider: str, at: datetime, evidence: Mapping[str, object], run_id: UUID, entry: AuditEntry
    ) -> bool:
        """Open an incident; false if there is an open one."""
        ...

    async def close_incident(
        self, provider: str, at: datetime, evidence: Mapping[str, object], run_id: UUID, entry: AuditEntry
    ) -> bool:
        """Close a provider's open incident; false if there is none."""
        ...

    async def spent_notices(self, now: datetime, after: str) -> Sequence[AccountId]:
        """The next accounts with notices whose every event has started, in order of their ids, after that one."""
        ...

    async def resolve_spent_notices(self, run_id: UUID, now: datetime, accounts: Sequence[AccountId]) -> None:
        """Resolve these accounts' notices whose every event has started. The caller has the accounts in hand."""
        ...

    async def abandoned(self) -> Sequence[RunRow]:
        """Runs that are marked as under way; whether their process lives, their lock tells."""
        ...
