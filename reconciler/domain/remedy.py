"""What we propose to do about a finding, and the replacement for a lost profile.

A removed profile calls for a re-upsert, a disconnected one for a notice: Cronofy finishes by itself after a relink.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from reconciler.domain.cause import Cause, Finding
from reconciler.domain.event import BodyState
from reconciler.domain.evidence import Evidence, KnownProfile, RosterFact
from reconciler.domain.ids import DEFAULT, INTEGRATED, RETIRED_8X8, ProfileId, names_profile
from reconciler.domain.policy import Policy, Substitute
from reconciler.domain.roster import ConferencingProfile
from reconciler.domain.shortlist import MOST_DISCONNECTED
from reconciler.domain.times import day_that_begins, same_time, starts_by


class NoticeKind(StrEnum):
    """What a notice asks a person to do."""

    RELINK_CONFERENCING = "relink_conferencing"
    RELINK_CALENDAR = "relink_calendar"
    REAUTHORIZE_ACCOUNT = "reauthorize_account"
    CONNECT_CONFERENCING = "connect_conferencing"
    RESTORE_LICENCE = "restore_licence"


class ProviderChange(StrEnum):
    """Whether a replacement makes the link with another provider than before."""

    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Drift:
    """The person moved the event: its times as the calendar has them now, sent again as they were read."""

    start_text: str
    end_text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do in this run, and nothing learnt: the state stays as it was."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The question is closed: linked, deleted or past."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Cronofy or the provider will finish by itself."""


@dataclass(frozen=True, slots=True)
class Reupsert:
    """Write the stored body again with another `profile_id`, and with the calendar's times if the person moved it.

    `undoes` names the run whose change it takes back, if it does. `restores`: sent as the application last wrote it,
    because an older body of ours may have arrived after it.
    """

    profile_id: ProfileId
    provider_name: str | None
    change: ProviderChange
    drift: Drift | None = None
    undoes: str | None = None
    restores: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What a notice is about: a profile and its provider."""

    profile_id: ProfileId | None
    provider_name: str | None


@dataclass(frozen=True, slots=True)
class Notify:
    """Queue a notice; `profile_id` says which profile it is about, null where it is about none.

    `others`: the same is asked about each of these too, in a notice of its own.
    """

    kind: NoticeKind
    profile_id: ProfileId | None = None
    provider_name: str | None = None
    others: tuple[About, ...] = ()

    @property
    def about(self) -> tuple[About, ...]:
        """What each of the notices is about."""
        return (About(self.profile_id, self.provider_name), *self.others)


@dataclass(frozen=True, slots=True)
class Park:
    """Stop reading the account until the person authorises again, and ask them to."""

    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the account manager; no machine can do more. `reason` says why where the cause does not."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Escalate:
    """Hand it to a person with everything Cronofy's support asks for."""

    reason: str


Remedy = Leave | Settle | Wait | Reupsert | Notify | Park | Report | Escalate

REMEDY_NAMES: dict[type[Remedy], str] = {
    Leave: "leave",
    Settle: "settle",
    Wait: "wait",
    Reupsert: "reupsert",
    Notify: "notify",
    Park: "park",
    Report: "report",
    Escalate: "escalate",
}


PASSIVE = (Leave, Settle, Wait)
"""Remedies that change nothing for anybody: no plan has to list them."""


def remedy_json(remedy: Remedy) -> dict[str, object]:
    """A remedy with all that distinguishes it from another of its kind, as the audit trail and plans store it."""
    detail: dict[str, object] = {"remedy": REMEDY_NAMES[type(remedy)]}
    match remedy:
        case Reupsert(profile_id, provider_name, change, drift, undoes, restores):
            detail |= {
                "profile_id": profile_id,
                "provider_name": provider_name,
                "provider_change": change.value,
            }
            detail |= {"drift": {"start": drift.start_text, "end": drift.end_text}} if drift else {}
            detail |= {"undoes": undoes} if undoes else {}
            detail |= {"restores": True} if restores else {}
        case Notify(kind, profile_id, provider_name, others):
            detail |= {"kind": kind.value, "profile_id": profile_id, "provider_name": provider_name}
            more = [{"profile_id": other.profile_id, "provider_name": other.provider_name} for other in others]
            detail |= {"others": more} if more else {}
        case Park(reason) | Escalate(reason):
            detail["reason"] = reason
        case Report(reason):
            detail |= {"reason": reason} if reason else {}
        case Leave() | Settle() | Wait():
            pass
        case _:
            assert_never(remedy)
    return detail


def remedy_text(remedy: Remedy) -> str:
    """A remedy in one short phrase: what tells a verdict from the one before it."""
    match remedy:
        case Reupsert(profile_id):
            return f"reupsert {profile_id}"
        case Notify(kind):
            return " ".join(("notify", kind.value, *(one.profile_id for one in remedy.about if one.profile_id)))
        case Leave() | Settle() | Wait() | Park() | Report() | Escalate():
            return REMEDY_NAMES[type(remedy)]
    assert_never(remedy)


def choose(finding: Finding, policy: Policy) -> Remedy:
    """The one remedy for a finding."""
    evidence = finding.evidence
    match finding.cause:
        case Cause.UNREADABLE:
            return Leave()
        case Cause.ACCOUNT_UNAUTHORIZED:
            return Park(getattr(evidence.read_back, "reason", "unauthorized"))
        case Cause.EVENT_DELETED | Cause.EVENT_PAST | Cause.ASSIGNED:
            return Settle()
        case Cause.EVENT_MISSING | Cause.CALENDAR_UNAVAILABLE:
            return Report()
        case Cause.CONFERENCING_ABSENT:
            return Report(_LOCATION_SET if evidence.body.sets_location else None)
        case Cause.CALENDAR_DISCONNECTED:
            return _about_calendar(NoticeKind.RELINK_CALENDAR, evidence)
        case Cause.SETTLING | Cause.PROVIDER_OUTAGE:
            return Wait()
        case Cause.PROVIDER_RETIRED | Cause.PROFILE_REMOVED | Cause.INTEGRATED_UNAVAILABLE:
            return _repair(finding, policy)
        case Cause.PROFILE_DISCONNECTED:
            return _relink(evidence)
        case Cause.MISSING_MEETING_URL:
            return _about_calendar(NoticeKind.RESTORE_LICENCE, evidence)
        case Cause.UNEXPLAINED:
            if evidence.found is not None and evidence.age >= policy.escalate_after:
                hint = f"; {_LOCATION_SET}" if evidence.body.sets_location else ""
                return Escalate(f"pending past the escalation age without a known cause{hint}")
            return Wait()
    assert_never(finding.cause)


def _about_calendar(kind: NoticeKind, evidence: Evidence) -> Notify:
    calendar = evidence.roster.calendar if evidence.roster else None
    if calendar is None:
        return Notify(kind)
    return Notify(kind, calendar.profile_id, calendar.profile_provider)


def _relink(evidence: Evidence) -> Notify:
    """The disconnected profile; for `default` each that may be it, for a relink of that alone lets Cronofy finish."""
    roster = evidence.roster or RosterFact((), None)
    asked = roster.profile(evidence.asked)
    lost = (asked,) if asked else evidence.suspects or roster.disconnected
    if not lost:
        return Notify(NoticeKind.RELINK_CONFERENCING)
    first, *others = (About(profile.profile_id, profile.provider_name) for profile in lost[:MOST_DISCONNECTED])
    return Notify(NoticeKind.RELINK_CONFERENCING, first.profile_id, first.provider_name, tuple(others))


_LOCATION_SET = "the stored body sets a location, where Cronofy puts the link in a calendar without a field for it"


MOST_REFUSED = 10
"""Profiles that are tried for one event, as it was last written; after so many another is hardly better."""

_UNUSABLE_BODY = {
    BodyState.MISSING: "no stored body to send again",
    BodyState.NOT_AN_OBJECT: "the stored body is no JSON object",
    BodyState.OTHER_EVENT: "the stored body does not carry this event's event_id",
    BodyState.CONFERENCING_UNREADABLE: "conferencing in the stored body is no JSON object",
    BodyState.TWICE: "the application holds the event twice, and which stored body is the last one is not known",
    BodyState.TIMES_UNREADABLE: "start or end in the stored body cannot be read",
    BodyState.ZONE_UNKNOWN: "the stored body names a time zone that does not exist",
    BodyState.TOO_LARGE: "the stored body is too large",
}


def _repair(finding: Finding, policy: Policy) -> Remedy:
    evidence = finding.evidence
    refused = next((r for r in evidence.rejections if not r.about_profile), None)
    if refused is not None:  # no other profile, and no newly connected one, would make this body acceptable
        return Report(f"Cronofy rejects the stored body: {', '.join(refused.keys) or 'no reason given'}")
    if len(evidence.rejections) >= MOST_REFUSED:
        return Report(f"Cronofy refused {len(evidence.rejections)} profiles for it, one after the other")
    replacement = replacement_for(finding, policy)
    if replacement is None:
        lost = evidence.asked if names_profile(evidence.asked) else None
        return Notify(
            NoticeKind.CONNECT_CONFERENCING,
            lost,
            _provider_before(evidence) if lost else None,
        )
    if evidence.body.state is not BodyState.USABLE:
        return Report(_UNUSABLE_BODY[evidence.body.state])
    if evidence.repairs >= policy.max_repairs_per_event:
        return Escalate(f"repaired {evidence.repairs} times without a link")
    drift = drift_of(evidence)
    if begins_too_early(evidence, drift):
        return Report("the stored start has passed")
    return Reupsert(replacement.profile_id, replacement.provider_name, replacement.change, drift)


@dataclass(frozen=True, slots=True)
class Replacement:
    """The profile to ask for instead of a lost one."""

    profile_id: ProfileId
    provider_name: str | None
    change: ProviderChange


def replacement_for(finding: Finding, policy: Policy) -> Replacement | None:
    """The replacement for a lost profile, deterministic: the first that fits, or none.

    A connected profile of the same provider (the one of the same name, else the first listed); the only connected
    profile; `default` when any profile is connected; `integrated` when the calendar offers it.
    """
    evidence = finding.evidence
    roster = evidence.roster or RosterFact((), None)
    before = _provider_before(evidence)
    tried = {*_of_no_use(finding), *(r.profile_id for r in evidence.rejections)}
    candidates = [p for p in roster.connected if p.profile_id not in tried]
    chosen = _same_provider(_as_known(evidence), candidates)
    if chosen is None and policy.substitute is Substitute.ANY:
        chosen = _any_provider(finding.cause, roster, candidates, before, tried)
    return chosen


def _of_no_use(finding: Finding) -> tuple[ProfileId, ...]:
    """What was asked for; but a word whose profile was removed stands for another one when it is asked for again."""
    evidence = finding.evidence
    again = finding.cause is Cause.PROFILE_REMOVED and evidence.asked in {DEFAULT, INTEGRATED}
    return () if again else (evidence.asked,)


def _provider_before(evidence: Evidence) -> str | None:
    if evidence.asked == RETIRED_8X8:
        return RETIRED_8X8
    if evidence.asked == INTEGRATED:
        return evidence.roster.calendar.profile_provider if evidence.roster and evidence.roster.calendar else None
    known = _as_known(evidence)
    return known.provider_name if known else None


def _as_known(evidence: Evidence) -> KnownProfile | None:
    """What the profile asked for was, by the last roster on record, else by this one: it may be listed still."""
    listed = evidence.roster.profile(evidence.asked) if evidence.roster else None
    return evidence.previous or (KnownProfile(listed.provider_name, listed.profile_name) if listed else None)


def _same_provider(previous: KnownProfile | None, candidates: list[ConferencingProfile]) -> Replacement | None:
    if previous is None:
        return None
    same = [p for p in candidates if p.provider_name == previous.provider_name]
    named = [p for p in same if p.profile_name is not None and p.profile_name == previous.profile_name]
    for profile in (*named, *same):
        return Replacement(profile.profile_id, profile.provider_name, ProviderChange.SAME)
    return None


def _any_provider(
    cause: Cause,
    roster: RosterFact,
    candidates: list[ConferencingProfile],
    before: str | None,
    tried: Collection[ProfileId],
) -> Replacement | None:
    if len(candidates) == 1 or (candidates and cause is Cause.INTEGRATED_UNAVAILABLE):
        only = candidates[0]
        return Replacement(only.profile_id, only.provider_name, _change(before, only.provider_name))
    if candidates and DEFAULT not in tried:
        return Replacement(DEFAULT, None, ProviderChange.UNKNOWN)
    if roster.integrated and INTEGRATED not in tried:
        return Replacement(INTEGRATED, None, ProviderChange.CHANGED if before else ProviderChange.UNKNOWN)
    return None


def _change(before: str | None, after: str | None) -> ProviderChange:
    if before is None or after is None:
        return ProviderChange.UNKNOWN
    return ProviderChange.SAME if before == after else ProviderChange.CHANGED


def drift_of(evidence: Evidence) -> Drift | None:
    """Where the person moved the event to, if they did: the calendar's times as against the stored body's.

    Of an event that repeats, or is listed at several times, that cannot be told: the stored times stand.
    """
    found = evidence.found
    if found is None or found.times_differ or evidence.body.recurs or shown_as_stored(evidence):
        return None
    return Drift(found.start_text, found.end_text)


def shown_as_stored(evidence: Evidence) -> bool:
    """Whether the calendar shows the stored body's times, as far as both are known.

    A whole day may be shown as its midnights: of UTC, of the body's zone, or by the clock of the text itself.
    """
    found, start, end = evidence.found, evidence.body.start, evidence.body.end
    if found is None or start is None or end is None:
        return True
    if (start, end) == (day_that_begins(found.start_text), day_that_begins(found.end_text)):
        return True
    zones = (None, evidence.body.tzid)
    return any(same_time(start, found.start, zone) and same_time(end, found.end, zone) for zone in zones)


def begins_too_early(evidence: Evidence, drift: Drift | None) -> bool:
    """Whether a write would give the event a start that has passed: the stored one, which may be a series' first."""
    start = evidence.body.start
    return drift is None and start is not None and starts_by(start, evidence.body.tzid) <= evidence.now
