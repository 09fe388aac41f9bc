"""The lines of the report for account managers: an event at risk, a notice that waits, a repair, an account not read.

Deliberately absent, so that no format can show them: join and relink links, tokens, titles and bodies of events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId, EventKey, ProfileId, names_profile
from reconciler.domain.remedy import NoticeKind, ProviderChange
from reconciler.domain.report_words import (
    ASKED_TEXT,
    CAUSE_TEXT,
    CAUSE_TITLE,
    LOCATION_TEXT,
    NOT_JUDGED_TEXT,
    NOT_JUDGED_TITLE,
    NOT_LISTED_TEXT,
    NOT_LISTED_TITLE,
    NOTICE_TEXT,
    STEP_TEXT,
    UNREAD_OTHERWISE,
    UNREAD_TEXT,
    Delivery,
    NextStep,
    RepairStatus,
    Step,
    provider_text,
)

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
_WAITS = {
    Cause.PROVIDER_OUTAGE: Step.WAIT_FOR_SERVICE,
    Cause.UNEXPLAINED: Step.WAIT_UNSURE,
}
_MAY_STAND_IN_LOCATION = frozenset({Cause.CONFERENCING_ABSENT, Cause.UNEXPLAINED})
_NOTICES = {kind.value: kind for kind in NoticeKind}


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
    names = [said(text) for text in (name, email, account_id)]
    person = next((text for text in names if text), "No account")
    return Owner(AccountId(account_id), person, said(customer), said(account_manager))


def said(text: str | None) -> str | None:
    """A text without blanks around it; null if that leaves nothing."""
    return (text or "").strip() or None


@dataclass(frozen=True, slots=True)
class AtRisk:
    """A future event without a link.

    `remedy` is the phrase of `event_states.remedy`; `corrected`: a repair was accepted and awaits its link;
    `planned`: the remedy was worked out in a run that did not carry it out; `unlisted`: the last listing lacked the
    event, for the first time; `refused`: Cronofy refused the stored body, so that it is not sent again; `located`: the
    body names a place.
    """

    owner: Owner
    key: EventKey
    starts_at: datetime
    cause: Cause | None
    remedy: str | None = None
    corrected: bool = False
    planned: bool = False
    unlisted: bool = False
    refused: bool = False
    located: bool = False

    @property
    def lacking(self) -> bool:
        """Whether all that is known is that one listing lacked it."""
        return self.unlisted and not self.planned and self.cause is Cause.UNEXPLAINED

    @property
    def title(self) -> str:
        """The cause in two or three words."""
        if self.lacking:
            return NOT_LISTED_TITLE
        return CAUSE_TITLE[self.cause] if self.cause else NOT_JUDGED_TITLE

    @property
    def explanation(self) -> str:
        """The cause in a sentence."""
        if self.lacking:
            return NOT_LISTED_TEXT
        text = CAUSE_TEXT[self.cause] if self.cause else NOT_JUDGED_TEXT
        return f"{text} {LOCATION_TEXT}" if self.located and self.cause in _MAY_STAND_IN_LOCATION else text

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
                return STEP_TEXT[Step.SAVE_AGAIN if self.refused else Step.CORRECTION_OPEN]
            case ["reupsert" | "wait", *_] if self.corrected:
                return STEP_TEXT[Step.CORRECTION_SENT]
            case ["report", *_] if self.cause in _REPORTED:
                return STEP_TEXT[_REPORTED[self.cause]]
            case ["wait", *_] if self.lacking:
                return STEP_TEXT[Step.LOOK_AGAIN]
            case ["wait", *_] if self.cause in _WAITS:
                return STEP_TEXT[_WAITS[self.cause]]
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
        reserved = ASKED_TEXT.get(self.profile_id) if self.profile_id else None
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
    """How many events of a customer have their link, and how many are `over`: they need none any more."""

    account_manager: str | None
    customer: str | None
    events: int
    over: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """Everything that a report is made of, in any order."""

    at_risk: Sequence[AtRisk] = ()
    waiting: Sequence[Waiting] = ()
    repaired: Sequence[Repaired] = ()
    unread: Sequence[Unread] = ()
    linked: Sequence[Linked] = ()
