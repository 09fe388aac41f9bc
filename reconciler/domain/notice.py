"""Notices to people: at most one open per account, kind and profile, and how a look at events changes them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.domain.ids import AccountId, EventKey, ProfileId
from reconciler.domain.remedy import NoticeKind


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about: its de-duplication key within an account."""

    kind: NoticeKind
    profile_id: ProfileId | None


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who the account belongs to and who answers for it."""

    account_id: AccountId
    email: str | None
    customer: str | None
    account_manager: str | None


@dataclass(frozen=True, slots=True)
class Notice:
    """A queued message. `events` are those that wait for it, with their starts, soonest first.

    Of very many, the soonest and the last are named; `more` counts the others.

    The relink URL may carry an address: it is for the recipient alone and never shown.
    """

    subject: Subject
    events: tuple[tuple[EventKey, datetime], ...]
    provider_name: str | None = None
    relink_url: str | None = field(default=None, repr=False)
    more: int = 0
    withheld: bool = field(default=False, compare=False)
    """Whether Cronofy named a relink address that is not at its own host, and so is not handed on."""


MOST_NAMED = 1_000
"""Events that a notice names. More are counted."""


@dataclass(frozen=True, slots=True)
class NoticeChanges:
    """What a unit does to its account's notices."""

    queue: tuple[Notice, ...] = ()
    update: tuple[Notice, ...] = ()
    resolve: tuple[Subject, ...] = ()


def recipient(kind: NoticeKind, who: Addressee) -> str | None:
    """Who can act: a licence is the account manager's to restore, everything else the person's own."""
    return who.account_manager if kind is NoticeKind.RESTORE_LICENCE else who.email


def changes(
    open_notices: Sequence[Notice],
    wanted: Mapping[EventKey, tuple[datetime, Sequence[Notice]]],
    judged: Collection[EventKey],
    now: datetime,
    *,
    readable: bool = True,
) -> NoticeChanges:
    """How the notices of an account change when some of its events have been judged.

    `wanted` says, for each judged event that needs any, its start and the notices it needs (whose `events` are
    ignored). Events not judged this time stay where they wait, unless they have started. `readable`: the account
    could be read, so nobody has to authorise it again.
    """
    waiting: dict[Subject, dict[EventKey, datetime]] = {}
    latest: dict[Subject, Notice] = {}
    before: dict[Subject, Notice] = {n.subject: n for n in open_notices}
    for notice in open_notices:
        if notice.subject.kind is NoticeKind.REAUTHORIZE_ACCOUNT and readable:
            continue
        latest[notice.subject] = notice
        waiting[notice.subject] = {k: at for k, at in notice.events if k not in judged and at > now}
    for key, (starts_at, notices) in wanted.items():
        for notice in notices:
            latest[notice.subject] = notice
            waiting.setdefault(notice.subject, {})[key] = starts_at
    queue, update = [], []
    unnamed = {s: _unnamed(n, judged) for s, n in before.items()}
    resolve = [s for s in before if not waiting.get(s) and (s not in waiting or not unnamed[s])]
    for subject, events in waiting.items():
        if not events:
            continue
        ordered = tuple(sorted(events.items(), key=lambda item: (item[1], item[0])))
        more = unnamed.get(subject, 0) + max(0, len(ordered) - MOST_NAMED)
        fresh = replace(latest[subject], events=_named(ordered), more=more)
        if subject not in before:
            queue.append(fresh)
        elif _differs(before[subject], fresh):
            update.append(fresh)
    return NoticeChanges(tuple(queue), tuple(update), tuple(resolve))


def _unnamed(notice: Notice, judged: Collection[EventKey]) -> int:
    """How many events that a notice does not name may wait for it still: not those that were judged just now."""
    if not notice.more:
        return 0
    return max(0, notice.more - len(set(judged).difference(key for key, _ in notice.events)))


def _named(events: tuple[tuple[EventKey, datetime], ...]) -> tuple[tuple[EventKey, datetime], ...]:
    return events if len(events) <= MOST_NAMED else (*events[: MOST_NAMED - 1], events[-1])


def _differs(before: Notice, after: Notice) -> bool:
    return (before.events, before.more, before.relink_url) != (after.events, after.more, after.relink_url)
