"""Folds what was judged and done for one account into what is to be recorded: states, entries, notices, counters."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Caseload, Correction, Counts, UnitError
from reconciler.domain.cause import SETTLED, Cause
from reconciler.domain.event import BodyState
from reconciler.domain.evidence import Unauthorized
from reconciler.domain.evidence_json import evidence_json
from reconciler.domain.ids import EventKey
from reconciler.domain.notice import Notice, NoticeChanges, Subject, changes
from reconciler.domain.outage import OUTAGE, after_outage
from reconciler.domain.outcome import OUTCOME_NAMES, Applied, InDoubt, Outcome, Rejected, Unneeded, Unsent
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import (
    REMEDY_NAMES,
    About,
    Escalate,
    Leave,
    NoticeKind,
    Notify,
    Park,
    Report,
    Reupsert,
    Settle,
    Wait,
    drift_of,
    remedy_json,
    remedy_text,
)
from reconciler.domain.roster import WITHHELD, Roster
from reconciler.domain.state import EventState, after_look, after_write, decided_anew
from reconciler.domain.support import SUPPORT, support_details
from reconciler.pipeline.act import based_on, doubt_entry
from reconciler.pipeline.judge import Judged, judge

_OUTCOME_TAGS: dict[type[Outcome], AuditTag] = {
    Applied: AuditTag.REPAIR_APPLIED,
    Unneeded: AuditTag.REPAIR_UNNEEDED,
    Rejected: AuditTag.REPAIR_REJECTED,
    InDoubt: AuditTag.REPAIR_IN_DOUBT,
    Unsent: AuditTag.REPAIR_UNSENT,
}


Attempt = tuple[Judged, Outcome, datetime]
"""A re-upsert with the verdict it came from, and when its answer was known: after a refused profile the next
replacement is a verdict of its own."""


def refused(attempts: Sequence[Attempt]) -> str | None:
    """Why Cronofy refused the last write of an event until the person authorises again; null where it did not."""
    outcome = attempts[-1][1] if attempts else None
    return outcome.reason if isinstance(outcome, Unsent) and outcome.unauthorized else None


@dataclass(slots=True)
class Settled:
    """What a unit will record. `kept` are the repairs that a limit kept back: those events stay as they were."""

    states: tuple[EventState, ...] = ()
    corrections: tuple[Correction, ...] = ()
    entries: tuple[AuditEntry, ...] = ()
    notices: NoticeChanges = field(default_factory=NoticeChanges)
    counts: Counts = field(default_factory=dict)
    newly_settled: int = 0
    error: UnitError | None = None
    park: str | None = None
    kept: Sequence[Judged] = ()


def settle(
    caseload: Caseload,
    decided: Sequence[Judged],
    held: Sequence[Judged],
    outcomes: Mapping[EventKey, Sequence[Attempt]],
    kept: Sequence[Judged],
    roster: Roster | None,
    now: datetime,
    policy: Policy,
    drifted: Sequence[Judged] = (),
    *,
    believed: bool = True,
) -> Settled:
    """Fold one account's verdicts and outcomes.

    Not `believed`: that Cronofy refuses the account. What could not be written stays due, and nobody is asked for it.
    """
    accepted = any(isinstance(outcome, Applied) for attempts in outcomes.values() for _, outcome, _ in attempts)
    book = _Book(caseload, now, policy, {item.key for item in kept}, may_write=accepted, believed=believed)
    for item in held:
        book.hold(item)
    for item in decided:
        book.enter(item, outcomes.get(item.key, ()))
    for item in drifted:
        book.pass_over(item)
    book.notify(roster)
    return book.close(kept)


class _Book:
    """Collects the lines of one account."""

    def __init__(
        self,
        caseload: Caseload,
        now: datetime,
        policy: Policy,
        kept: set[EventKey],
        *,
        may_write: bool,
        believed: bool,
    ) -> None:
        self._caseload = caseload
        self._now = now
        self._policy = policy
        self._kept = kept
        self._may_write = may_write
        self._believed = believed
        self._states: list[EventState] = []
        self._corrections: list[Correction] = []
        self._entries: list[AuditEntry] = []
        self._causes: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._after_outage: Counter[str] = Counter()
        self._notices = NoticeChanges()
        self._wanted: dict[EventKey, Judged] = {}
        self._judged: set[EventKey] = set()
        self._readable = True
        self._settled = 0
        self._error: UnitError | None = None

    def hold(self, item: Judged) -> None:
        state = after_look(item.case.state, item.case.event, item.cause, item.remedy, item.evidence, held=True)
        self._states.append(state)

    def pass_over(self, item: Judged) -> None:
        """An event that no longer is as it was approved: said, and left as it was."""
        self._causes[item.cause] += 1
        self._outcomes["drifted"] += 1
        self._entries.append(self._entry(item, AuditTag.PLAN_DRIFTED, after=remedy_json(item.remedy)))

    def enter(self, item: Judged, attempts: Sequence[Attempt]) -> None:
        verdict = self._after_refusal(item, attempts)
        if self._believed or not refused(attempts):  # else it is judged again in this run, or left to the next
            self._causes[verdict.cause] += 1
            self._count_remedy(verdict)
        if isinstance(item.remedy, Leave) or item.key in self._kept:
            return
        self._judged.add(item.key)
        before = item.case.state
        if (became := after_outage(before.cause, verdict.cause)) is not None:
            self._after_outage[became] += 1
        after = after_look(before, item.case.event, item.cause, item.remedy, item.evidence)
        corrections = len(self._corrections)
        self._say_overtaken(item)
        self._resolve_doubt(item, before, attempts)
        for attempt in attempts:
            after = self._write(attempt, after)
        after = self._correct_again(item, after, wanted_anew=len(self._corrections) > corrections)
        if verdict is not item:
            after = after_look(after, item.case.event, verdict.cause, verdict.remedy, verdict.evidence)
        if _is_to_be_restored(item, attempts):
            # The state goes on to speak of the older body: that is how the next look knows.
            after = replace(after, seen_written_at=before.seen_written_at, intended_at=self._now)
        if (not attempts or verdict is not item) and decided_anew(before, after):
            self._entries.append(
                self._entry(verdict, _tag_of(verdict), before=_before(before), after=self._decided(verdict, after))
            )
        if after.confirmed_at is not None and after.confirmed_at != before.confirmed_at:
            self._outcomes["confirmed"] += 1
            self._entries.append(self._entry(item, AuditTag.EVENT_CONFIRMED, after={"profile_id": item.evidence.asked}))
        self._settled += int(after.settled_at is not None and before.settled_at is None)
        self._states.append(after)
        if isinstance(verdict.remedy, Notify | Park):
            self._wanted[item.key] = verdict
        self._readable = self._readable and verdict.cause is not Cause.ACCOUNT_UNAUTHORIZED

    def _correct_again(self, item: Judged, state: EventState, *, wanted_anew: bool) -> EventState:
        """A correction that was refused at an earlier look is tried again, unless this look wants another."""
        if state.uncorrected is None:
            return state
        if wanted_anew:
            return replace(state, uncorrected=None, uncorrected_reason=None)
        if item.evidence.found is not None and item.cause is not Cause.EVENT_DELETED:
            self._corrections.append(
                Correction(item.key, state.uncorrected, item.case.event.written_at, state.uncorrected_reason or "")
            )
        return state

    def _after_refusal(self, item: Judged, attempts: Sequence[Attempt]) -> Judged:
        """The verdict after Cronofy refused every write of the account until the person authorises again."""
        reason = refused(attempts)
        if reason is None or self._may_write or not self._believed:
            return item
        return judge(item.case, replace(item.evidence, read_back=Unauthorized(reason)), self._policy)

    def _decided(self, item: Judged, after: EventState) -> dict[str, object]:
        """The remedy; where a person takes it further, with what support will ask them."""
        detail = remedy_json(item.remedy)
        if isinstance(item.remedy, Escalate):
            since = after.pending_since
            detail[SUPPORT] = support_details(item.case, self._caseload, item.evidence, self._policy, since)
        return detail

    def _count_remedy(self, item: Judged) -> None:
        match item.remedy:
            case Wait():
                self._outcomes["waiting"] += 1
            case Notify() | Park():
                self._outcomes["noticed"] += 1
            case Escalate():
                self._outcomes["escalated"] += 1
            case Report():
                self._outcomes["reported"] += 1
            case Leave() | Settle() | Reupsert():
                pass
            case _:
                assert_never(item.remedy)

    def _say_overtaken(self, item: Judged) -> None:
        if not item.case.overtaken or self._is_as_written(item):
            return
        self._entries.append(self._entry(item, AuditTag.REPAIR_OVERTAKEN, after=based_on(item)))
        if item.cause is Cause.ASSIGNED:  # what has a link is not written, and an older body may have arrived last
            self._error = UnitError(
                "write_crossed_write",
                f"{item.key} was written by the application while a re-upsert of ours was under way, and has its link "
                "already: check that the calendar shows it as written last, or save it again",
            )

    def _is_as_written(self, item: Judged) -> bool:
        """Whether nothing is to be said of one that was perhaps overtaken: it is over, or linked and at its time."""
        if not item.case.perhaps or item.cause not in SETTLED:
            return False
        return item.cause is not Cause.ASSIGNED or drift_of(item.evidence) is None

    def _resolve_doubt(self, item: Judged, before: EventState, attempts: Sequence[Attempt]) -> None:
        """An intent without an outcome is answered by this look: a link proves the write, else doubt stays.

        Where it is written again, `act` has said so beside the new intent.
        """
        said = bool(attempts) and not isinstance(attempts[0][1], Unneeded)
        if item.case.doubt is None or said:
            return
        if before.intended_profile is None or item.cause is not Cause.ASSIGNED:
            self._entries.append(doubt_entry(self._caseload.unit, item, self._now))
            return
        entry = self._entry(
            item,
            AuditTag.REPAIR_APPLIED,
            outcome=OUTCOME_NAMES[Applied],
            before={"profile_id": item.evidence.asked, **based_on(item)},
            after={"profile_id": before.intended_profile},
        )
        self._entries.append(entry)
        self._outcomes["repaired"] += 1
        self._corrections.append(Correction(item.key, before.intended_profile, item.case.event.written_at))

    def _write(self, attempt: Attempt, state: EventState) -> EventState:
        item, outcome, answered_at = attempt
        remedy = item.remedy
        if not isinstance(remedy, Reupsert):
            return state
        detail = remedy_json(remedy)
        match outcome:
            case Applied():
                self._outcomes["repaired"] += int(not remedy.restores)
                self._corrections.append(Correction(item.key, remedy.profile_id, item.case.event.written_at))
            case Rejected(status, keys):
                self._outcomes["repair_rejected"] += 1
                detail |= {"status": status, "keys": list(keys)}
            case InDoubt(reason):
                self._outcomes["repair_in_doubt"] += 1
                detail["reason"] = reason
                self._error = UnitError("write_in_doubt", f"whether a re-upsert was carried out is not known: {reason}")
            case Unsent(reason, unauthorized):
                detail["reason"] = reason
                if not unauthorized or self._may_write:
                    self._error = UnitError("write_failed", f"a re-upsert was not carried out: {reason}")
            case Unneeded(reason):
                detail["reason"] = reason
        self._entries.append(
            self._entry(
                item,
                _OUTCOME_TAGS[type(outcome)],
                outcome=OUTCOME_NAMES[type(outcome)],
                before={"profile_id": item.evidence.asked, **based_on(item)},
                after=detail,
            )
        )
        return after_write(replace(state, remedy=remedy_text(remedy)), outcome, remedy, answered_at)

    def notify(self, roster: Roster | None) -> None:
        wanted = {key: (item.case.event.starts_at, _notices(item, roster)) for key, item in self._wanted.items()}
        self._notices = changes(
            self._caseload.open_notices, wanted, self._judged, self._now, readable=self._readable and bool(self._judged)
        )
        for tag, notices in (
            (AuditTag.NOTICE_QUEUED, self._notices.queue),
            (AuditTag.NOTICE_UPDATED, self._notices.update),
        ):
            for notice in notices:
                self._entries.append(self._notice_entry(tag, notice.subject, notice))
        for subject in self._notices.resolve:
            self._entries.append(self._notice_entry(AuditTag.NOTICE_RESOLVED, subject, None))

    def close(self, kept: Sequence[Judged]) -> Settled:
        parked = next(((i, i.remedy) for i in self._wanted.values() if isinstance(i.remedy, Park)), None)
        if parked is not None:
            item, remedy = parked
            entry = self._entry(item, AuditTag.ACCOUNT_PARKED, after=remedy_json(remedy))
            self._entries.append(replace(entry, key=None, evidence=None))
        return Settled(
            states=tuple(self._states),
            corrections=tuple(self._corrections),
            entries=tuple(self._entries),
            notices=self._notices,
            counts={
                "causes": dict(self._causes),
                "outcomes": dict(self._outcomes),
                OUTAGE: dict(self._after_outage),
                "notices": {
                    "queued": len(self._notices.queue),
                    "updated": len(self._notices.update),
                    "resolved": len(self._notices.resolve),
                },
            },
            newly_settled=self._settled,
            error=self._error,
            park=parked[1].reason if parked else None,
            kept=kept,
        )

    def _entry(
        self,
        item: Judged,
        tag: AuditTag,
        *,
        outcome: str | None = None,
        before: dict[str, object] | None = None,
        after: dict[str, object] | None = None,
    ) -> AuditEntry:
        judged = tag in {AuditTag.EVENT_JUDGED, AuditTag.EVENT_ESCALATED, AuditTag.PLAN_DRIFTED}
        return AuditEntry(
            tag=tag,
            at=self._now,
            run_id=self._caseload.unit.run_id,
            account_id=self._caseload.unit.account_id,
            key=item.key,
            cause=item.cause,
            remedy=REMEDY_NAMES[type(item.remedy)],
            outcome=outcome,
            evidence=evidence_json(item.evidence) if judged else None,
            before=before,
            after=after,
        )

    def _notice_entry(self, tag: AuditTag, subject: Subject, notice: Notice | None) -> AuditEntry:
        detail: dict[str, object] = {"kind": subject.kind.value, "profile_id": subject.profile_id}
        if notice is not None:
            detail["events"] = [str(key) for key, _ in notice.events]
            detail |= {"more": notice.more} if notice.more else {}
            detail |= {"relink_url": WITHHELD} if notice.withheld else {}
        return AuditEntry(
            tag=tag,
            at=self._now,
            run_id=self._caseload.unit.run_id,
            account_id=self._caseload.unit.account_id,
            after=detail,
        )


def _is_to_be_restored(item: Judged, attempts: Sequence[Attempt]) -> bool:
    """Whether an older body of ours may stand at Cronofy, and the newer one was not sent, or not surely."""
    if not item.case.overtaken or item.cause in SETTLED or item.evidence.body.state is not BodyState.USABLE:
        return False
    return not any(isinstance(outcome, Applied | Rejected) for _, outcome, _ in attempts)


def _tag_of(item: Judged) -> AuditTag:
    return AuditTag.EVENT_ESCALATED if isinstance(item.remedy, Escalate) else AuditTag.EVENT_JUDGED


def _before(state: EventState) -> dict[str, object] | None:
    return {"cause": state.cause.value, "remedy": state.remedy} if state.cause else None


def _notices(item: Judged, roster: Roster | None) -> Sequence[Notice]:
    """The notices that a verdict asks for, with the relink URLs from the roster of this look."""
    if not isinstance(item.remedy, Notify):
        return [Notice(Subject(NoticeKind.REAUTHORIZE_ACCOUNT, None), ())]
    return [_notice(item.remedy.kind, one, roster) for one in item.remedy.about]


def _notice(kind: NoticeKind, about: About, roster: Roster | None) -> Notice:
    profile = about.profile_id
    url = roster.relink_urls.get(profile) if roster and profile else None
    withheld = roster is not None and profile in roster.withheld
    return Notice(Subject(kind, profile), (), about.provider_name, url, withheld=withheld)
