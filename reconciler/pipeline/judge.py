"""From what was read to what is proposed: evidence, cause, remedy. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.domain.casework import Case, Caseload, Observed, Verdict
from reconciler.domain.cause import SETTLED, Cause, cause_of, classify, outage_pushed
from reconciler.domain.event import Assigned, BodyState
from reconciler.domain.evidence import CalendarFact, Evidence, ReadBack, RosterFact
from reconciler.domain.ids import DEFAULT, CalendarId, EventKey, ProfileId, names_profile
from reconciler.domain.policy import Policy
from reconciler.domain.pushed import SAME_SERVICE
from reconciler.domain.remedy import ProviderChange, Remedy, Reupsert, choose, drift_of, shown_as_stored
from reconciler.domain.roster import Roster
from reconciler.domain.shortlist import Wanted
from reconciler.domain.state import linked_at
from reconciler.domain.times import same_time

_SPEAK_OF_THEIR_PROVIDER = frozenset({Cause.ASSIGNED, Cause.SETTLING, Cause.PROVIDER_OUTAGE})
"""Causes of events that say how their provider does, besides those whose verdict an outage of it would change."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with its verdict. `outage_would_tell`: an outage of the event's provider would change it."""

    case: Case
    evidence: Evidence
    cause: Cause
    remedy: Remedy
    outage_would_tell: bool = False

    @property
    def key(self) -> EventKey:
        """The event's key."""
        return self.case.event.key

    @property
    def waits_for_the_run(self) -> bool:
        """Whether an outage, which only the run as a whole shows, would change the verdict."""
        return self.outage_would_tell and not self.case.overtaken

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


def with_roster(
    evidence: Evidence, roster: Roster, calendar_id: CalendarId, served: Collection[ProfileId] = ()
) -> Evidence:
    """The evidence with the roster, if a rule may need it; `served` is as `served_without` tells."""
    if not evidence.needs_roster():
        return evidence
    fact = replace(roster_fact(roster, calendar_id), conferencing=roster.shortlist(_wanted(evidence)))
    not_default = sorted(p.profile_id for p in fact.disconnected if p.profile_id in served)
    return replace(evidence, roster=fact, not_default=tuple(not_default))


def _wanted(evidence: Evidence) -> Wanted:
    before, refused = evidence.previous, frozenset(r.profile_id for r in evidence.rejections)
    if before is None:
        return Wanted(evidence.asked, refused=refused)
    return Wanted(evidence.asked, before.provider_name, before.profile_name, refused)


def with_links_read(caseload: Caseload, evidence: Sequence[tuple[Case, Evidence]]) -> Caseload:
    """The caseload that knows of the links that were read just now of events that asked `default`."""
    read = (linked_at(case.state, e) for case, e in evidence if e.asked == DEFAULT)
    moments = [at for at in (caseload.default_linked_at, *read) if at is not None]
    return replace(caseload, default_linked_at=max(moments, default=None))


def served_without(case: Case, caseload: Caseload) -> Collection[ProfileId]:
    """The profiles since whose loss another event that asked `default` got its link: `default` stands for none of them.

    A link that the event itself had once is not another's.
    """
    linked = caseload.default_linked_at
    if case.event.profile_id != DEFAULT or linked is None or linked == case.state.linked_at:
        return ()
    return {profile_id for profile_id, since in caseload.disconnected.items() if linked > since}


def judge(case: Case, evidence: Evidence, policy: Policy) -> Judged:
    """The one cause and the one remedy."""
    finding = classify(evidence, policy)
    would_tell = _outage_would_tell(evidence, finding.cause, policy)
    return Judged(case, evidence, finding.cause, choose(finding, policy), would_tell)


def _outage_would_tell(evidence: Evidence, cause: Cause, policy: Policy) -> bool:
    if evidence.provider is None or cause is Cause.PROVIDER_OUTAGE:
        return False
    during = replace(evidence, open_incidents=(evidence.provider,))
    return cause_of(during, policy) is Cause.PROVIDER_OUTAGE


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
    """Per service: of the events written lately that it should serve, how many are overdue or told to fail.

    What is deleted, past, or explained by a rule that an outage would not change says nothing of the service.
    """
    tally: dict[str, list[int]] = {}
    for item in judged:
        evidence = item.evidence
        speaks = item.outage_would_tell or item.cause in _SPEAK_OF_THEIR_PROVIDER
        if evidence.found is None or not speaks or evidence.now - evidence.written_at > policy.lookback:
            continue
        overdue = int(evidence.is_pending and evidence.age >= policy.grace)
        told = int(item.cause is Cause.PROVIDER_OUTAGE and outage_pushed(evidence))
        for provider in _served_by(evidence):
            counts = tally.setdefault(provider, [0, 0, 0])
            for place, number in enumerate((overdue, 1, told)):
                counts[place] += number
    return {provider: Observed(*counts) for provider, counts in tally.items()}


def _served_by(evidence: Evidence) -> Sequence[str]:
    """The service that made the link, under the names that it may be known by; else the one that should make it."""
    shown = evidence.found.conferencing if evidence.found else None
    if not isinstance(shown, Assigned):
        return [evidence.provider] if evidence.provider else []
    if names_profile(evidence.asked) and evidence.previous is not None:
        return [evidence.previous.provider_name]
    return [name for name in (shown.provider_name, SAME_SERVICE.get(shown.provider_name or "")) if name]
