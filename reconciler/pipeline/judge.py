"""From what was read to what is proposed: evidence, cause, remedy. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.domain.casework import Case, Caseload, Observed, Verdict
from reconciler.domain.cause import SETTLED, Cause, classify
from reconciler.domain.event import Assigned, BodyState
from reconciler.domain.evidence import CalendarFact, Evidence, ReadBack, RosterFact
from reconciler.domain.ids import CalendarId, EventKey
from reconciler.domain.policy import Policy
from reconciler.domain.pushed import SAME_SERVICE
from reconciler.domain.remedy import ProviderChange, Remedy, Reupsert, choose, drift_of, shown_as_stored
from reconciler.domain.roster import Roster
from reconciler.domain.shortlist import Wanted
from reconciler.domain.times import same_time

_WAIT_FOR_THE_RUN = frozenset({Cause.UNEXPLAINED, Cause.CONFERENCING_ABSENT})
"""Verdicts that an outage of the event's provider would change; only the whole run can tell of one."""

_GONE = frozenset({Cause.EVENT_DELETED, Cause.EVENT_PAST})
"""Events that nobody makes a link for any more: they say nothing of a provider."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with its verdict."""

    case: Case
    evidence: Evidence
    cause: Cause
    remedy: Remedy

    @property
    def key(self) -> EventKey:
        """The event's key."""
        return self.case.event.key

    @property
    def waits_for_the_run(self) -> bool:
        """Whether an outage, which only the run as a whole shows, would change the verdict."""
        if self.case.overtaken:
            return False
        return self.evidence.provider is not None and self.cause in _WAIT_FOR_THE_RUN

    @property
    def restores(self) -> bool:
        """Whether it puts back the application's own newer body: nobody need approve that, no limit holds it up."""
        return isinstance(self.remedy, Reupsert) and self.remedy.restores

    @property
    def verdict(self) -> Verdict:
        """As plans list it."""
        return Verdict(self.key, self.case.event.starts_at, self.cause, self.remedy, self.evidence)


def roster_fact(roster: Roster, calendar_id: CalendarId) -> RosterFact:
    """The part of a roster that an event of that calendar may use."""
    if roster.calendars is None:
        return RosterFact(roster.conferencing, None)
    calendar, profile = roster.calendar(calendar_id), roster.calendar_profile(calendar_id)
    fact = CalendarFact(
        listed=calendar is not None,
        deleted=calendar.deleted if calendar else False,
        readonly=calendar.readonly if calendar else False,
        integrated=calendar.integrated if calendar else None,
        profile_id=profile.profile_id if profile else None,
        profile_provider=profile.provider_name if profile else None,
        profile_connected=profile.connected if profile else None,
    )
    return RosterFact(roster.conferencing, fact)


def gather(case: Case, read: ReadBack, caseload: Caseload, now: datetime) -> Evidence:
    """The evidence about one event, before any roster."""
    event, state = case.event, case.state
    return Evidence(
        now=now,
        asked=event.profile_id,
        starts_at=event.starts_at,
        written_at=case.written_at,
        body=event.body,
        read_back=read,
        previous=caseload.profiles.get(event.profile_id),
        repaired_at=state.repaired_at,
        repairs=state.repairs,
        notified=case.notified,
        rejections=state.rejections,
    )


def with_roster(evidence: Evidence, roster: Roster, calendar_id: CalendarId) -> Evidence:
    """The evidence with the roster, if a rule may need it."""
    if not evidence.needs_roster():
        return evidence
    fact = roster_fact(roster, calendar_id)
    return replace(evidence, roster=replace(fact, conferencing=roster.shortlist(_wanted(evidence))))


def _wanted(evidence: Evidence) -> Wanted:
    before, refused = evidence.previous, frozenset(r.profile_id for r in evidence.rejections)
    if before is None:
        return Wanted(evidence.asked, refused=refused)
    return Wanted(evidence.asked, before.provider_name, before.profile_name, refused)


def judge(case: Case, evidence: Evidence, policy: Policy) -> Judged:
    """The one cause and the one remedy."""
    finding = classify(evidence, policy)
    return Judged(case, evidence, finding.cause, choose(finding, policy))


def restored(item: Judged) -> Judged:
    """The verdict on an event that the application wrote while a re-upsert of ours was under way.

    An older body may have arrived last: where there is no link yet, the newer one is sent again as it is; at the
    calendar's times where they are not ours, for then the person has moved it. Where ours was only perhaps under
    way, and the calendar shows the newer one, nothing has crossed.
    """
    if item.case.perhaps and _shown_as_written(item.evidence):
        return replace(item, case=replace(item.case, overtaken=False, perhaps=False))
    found = item.evidence.found
    if not item.case.overtaken or found is None or item.cause in SETTLED:
        return item
    if item.evidence.body.state is not BodyState.USABLE:
        return item
    ours = any(same_time(start, found.start) and same_time(end, found.end) for start, end in item.case.sent)
    drift = None if ours else drift_of(item.evidence)
    remedy = Reupsert(item.evidence.asked, item.evidence.provider, ProviderChange.SAME, drift, restores=True)
    return replace(item, remedy=remedy)


def _shown_as_written(evidence: Evidence) -> bool:
    """Whether the calendar shows the summary and the times of the body as it was last written."""
    found, body = evidence.found, evidence.body
    if found is None or not shown_as_stored(evidence):
        return False
    return None in {found.summary_digest, body.summary_digest} or found.summary_digest == body.summary_digest


def observe(judged: Sequence[Judged], policy: Policy) -> Mapping[str, Observed]:
    """Per provider: of the events written lately that a connected profile should serve, how many are overdue."""
    tally: dict[str, list[int]] = {}
    for item in judged:
        evidence = item.evidence
        if evidence.found is None or item.cause in _GONE or evidence.now - evidence.written_at > policy.lookback:
            continue
        if item.cause is Cause.ASSIGNED and isinstance(evidence.found.conferencing, Assigned):
            name = evidence.found.conferencing.provider_name
            providers = [p for p in (name, SAME_SERVICE.get(name or "")) if p]
            overdue = 0
        else:
            providers = [evidence.provider] if evidence.provider else []
            overdue = int(evidence.is_pending and evidence.age >= policy.grace)
        for provider in providers:
            counts = tally.setdefault(provider, [0, 0])
            counts[0] += overdue
            counts[1] += 1
    return {provider: Observed(overdue, total) for provider, (overdue, total) in tally.items()}
