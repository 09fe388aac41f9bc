"""All attempts at one account's repairs in one look: within the limits, and the next profile after a refused one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.domain.audit import AuditTag
from reconciler.domain.casework import Caseload, UnitError, UnitResult
from reconciler.domain.ids import EventKey
from reconciler.domain.outcome import Applied, Outcome, Rejected, Unsent
from reconciler.domain.remedy import Reupsert
from reconciler.pipeline.act import repair
from reconciler.pipeline.judge import Judged, judge
from reconciler.pipeline.settle import Attempt
from reconciler.pipeline.tools import Tools
from reconciler.ports import AccountLimitReached, Credentials, SafetyLimitReached

_ATTEMPTS_PER_RUN = 2
"""A rejected profile is followed by the next replacement, once."""


@dataclass(slots=True)
class Repairs:
    """What came of an account's repairs: every attempt in order, those that a limit kept back, and the account's limit
    if that was it."""

    outcomes: dict[EventKey, list[Attempt]] = field(default_factory=dict)
    kept: Sequence[Judged] = ()
    refusal: str | None = None

    @property
    def refused_by_account(self) -> Sequence[Judged]:
        """What Cronofy did not let us write before the person authorises again; none where it let us write anything."""
        last = [attempts[-1] for attempts in self.outcomes.values()]
        if any(isinstance(outcome, Applied) for attempts in self.outcomes.values() for _, outcome, _ in attempts):
            return ()
        return [item for item, outcome, _ in last if isinstance(outcome, Unsent) and outcome.unauthorized]

    def keep(self, wanted: Sequence[Judged]) -> None:
        """A limit keeps these back; what was tried before stays with its outcome."""
        self.kept = [item for item in wanted if item.key not in self.outcomes]


async def carry_out(
    who: Credentials, caseload: Caseload, wanted: Sequence[Judged], events_read: int, tools: Tools
) -> Repairs:
    """Carry out repairs. A limit of the whole run stops everybody's writing, one of the account its own alone."""
    done = Repairs()
    if restoring := [item for item in wanted if item.restores]:
        await _attempt(who, caseload, restoring, events_read, tools, done)
    wanted = [item for item in wanted if not item.restores]
    for number in range(_ATTEMPTS_PER_RUN):
        if tools.brakes.refusal or not wanted:
            break
        try:
            answers = await _attempt(who, caseload, wanted, events_read, tools, done, first=number == 0)
        except AccountLimitReached as limit:
            done.refusal = str(limit)
            break
        except SafetyLimitReached as limit:
            tools.brakes.stop_writing(str(limit))
            break
        wanted = [again for item in wanted if (again := _after_rejection(item, answers[item.key], tools))]
    done.keep(wanted)
    return done


async def _attempt(
    who: Credentials,
    caseload: Caseload,
    wanted: Sequence[Judged],
    events_read: int,
    tools: Tools,
    done: Repairs,
    *,
    first: bool = True,
) -> Mapping[EventKey, Outcome]:
    repairs = [(item, item.remedy) for item in wanted if isinstance(item.remedy, Reupsert)]
    now = tools.clock.now()
    answers = await repair(tools.api, tools.store, who, caseload.unit, repairs, events_read, now, first=first)
    answered_at = tools.clock.now()
    for item in wanted:
        done.outcomes.setdefault(item.key, []).append((item, answers[item.key], answered_at))
    return answers


def _after_rejection(item: Judged, outcome: Outcome, tools: Tools) -> Judged | None:
    """The next replacement where Cronofy refused the profile, if there is another and the run may try it."""
    if not isinstance(outcome, Rejected) or not outcome.about_profile:
        return None
    if not isinstance(item.remedy, Reupsert) or item.remedy.undoes is not None:
        return None
    rejection = outcome.rejection(item.remedy.profile_id)
    evidence = replace(item.evidence, rejections=(*item.evidence.rejections, rejection))
    again = tools.guide(judge(item.case, evidence, tools.policy))
    return again if again is not None and isinstance(again.remedy, Reupsert) else None


_SENT = frozenset({AuditTag.REPAIR_APPLIED, AuditTag.REPAIR_REJECTED, AuditTag.REPAIR_IN_DOUBT})


def what_was_sent(result: UnitResult, error: UnitError) -> UnitResult | None:
    """Of a result that could not be recorded as a whole, what concerns writes that were sent; null where none were.

    What else was found out is found out again by the next look; that Cronofy accepted a write is not.
    """
    sent = {entry.key for entry in result.entries if entry.tag in _SENT}
    if not sent:
        return None
    outcomes = result.counts.get("outcomes", {})
    repaired = {name: number for name, number in outcomes.items() if name.startswith("repair")}
    return UnitResult(
        unit=result.unit,
        addressee=result.addressee,
        at=result.at,
        states=tuple(state for state in result.states if state.key in sent),
        corrections=result.corrections,
        entries=tuple(entry for entry in result.entries if entry.key in sent),
        error=error,
        counts={"outcomes": repaired, "events": {"read": result.counts.get("events", {}).get("read", 0)}},
    )
