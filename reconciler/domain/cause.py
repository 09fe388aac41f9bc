"""The one cause why an event stands as it does: the closed list, its order, and the rules.

Everything that decides a cause is here. The first rule that fits wins, and the last one always does.
Cronofy keeps trying by itself and finishes once a cause clears; only a profile that was removed needs another write
(Cronofy docs, "conferencing not generated").
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.domain.evidence import Evidence, NotListed, Unauthorized, Unreadable
from reconciler.domain.ids import DEFAULT, RETIRED_8X8, names_profile
from reconciler.domain.policy import Policy
from reconciler.domain.times import starts_by

RULES_VERSION = 3
"""Raised whenever a rule changes its verdict on evidence that an earlier version could have stored."""

MISSES_THAT_COUNT = 2
"""Listings in a row that must lack an event: one may have been paged while it changed."""


class Cause(StrEnum):
    """Why an event has no link yet, or why that is no longer a question."""

    UNREADABLE = "unreadable"
    ACCOUNT_UNAUTHORIZED = "account_unauthorized"
    EVENT_DELETED = "event_deleted"
    EVENT_PAST = "event_past"
    ASSIGNED = "assigned"
    EVENT_MISSING = "event_missing"
    CALENDAR_UNAVAILABLE = "calendar_unavailable"
    CALENDAR_DISCONNECTED = "calendar_disconnected"
    SETTLING = "settling"
    PROVIDER_RETIRED = "provider_retired"
    PROFILE_REMOVED = "profile_removed"
    PROFILE_DISCONNECTED = "profile_disconnected"
    INTEGRATED_UNAVAILABLE = "integrated_unavailable"
    MISSING_MEETING_URL = "missing_meeting_url"
    PROVIDER_OUTAGE = "provider_outage"
    CONFERENCING_ABSENT = "conferencing_absent"
    UNEXPLAINED = "unexplained"


SETTLED = frozenset({Cause.EVENT_DELETED, Cause.EVENT_PAST, Cause.ASSIGNED})
"""Causes after which an event is not read again unless the application writes it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence and the one cause it shows."""

    evidence: Evidence
    cause: Cause


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the decision table: a cause, its condition in words, and the condition itself."""

    cause: Cause
    when: str
    fits: Callable[[Evidence, Policy], bool]


def calendar_start(e: Evidence) -> bool:
    """Whether the event has started by the calendar's own time, or by the application's where it was not listed."""
    start = starts_by(e.found.start, e.body.tzid) if e.found else e.starts_at
    return start <= e.now


def _calendar_unavailable(e: Evidence, _: Policy) -> bool:
    calendar = e.roster.calendar if e.roster else None
    if calendar is None:
        return False
    if not calendar.listed:  # a disconnected profile may list no calendars: that is a matter of the profile
        return calendar.profile_connected is not False
    return calendar.deleted or calendar.readonly


def _calendar_disconnected(e: Evidence, _: Policy) -> bool:
    calendar = e.roster.calendar if e.roster else None
    return calendar is not None and calendar.profile_connected is False


def _profile_removed(e: Evidence, _: Policy) -> bool:
    if e.found is None:
        return False
    gone = names_profile(e.asked) and e.roster is not None and e.roster.profile(e.asked) is None
    return gone or any(n.subtype == "profile_missing" for n in e.failures)


def _profile_disconnected(e: Evidence, _: Policy) -> bool:
    if e.found is None or e.roster is None:
        return False
    if e.asked == DEFAULT:
        return bool(e.roster.conferencing) and not e.roster.connected
    profile = e.roster.profile(e.asked)
    return profile is not None and not profile.connected


def _integrated_unavailable(e: Evidence, _: Policy) -> bool:
    return e.found is not None and e.only_integrated and e.roster is not None and e.roster.integrated is False


def _missing_meeting_url_pushed(e: Evidence, _: Policy) -> bool:
    newest = e.newest_failure
    return e.found is not None and newest is not None and newest.subtype == "missing_meeting_url"


def _provider_outage(e: Evidence, _: Policy) -> bool:
    return e.found is not None and (e.provider in e.open_incidents or outage_pushed(e))


def outage_pushed(e: Evidence) -> bool:
    """Whether the last that Cronofy pushed about the event is a failure of its provider: one without a subtype."""
    return e.newest_failure is not None and e.newest_failure.subtype is None


def _default_disconnected(e: Evidence, _: Policy) -> bool:
    return e.found is not None and e.asked == DEFAULT and bool(e.suspects)


def _integrated_gives_none(e: Evidence, _: Policy) -> bool:
    return e.found is not None and e.only_integrated


RULES: tuple[Rule, ...] = (
    Rule(
        Cause.UNREADABLE,
        "the account, a page or the event could not be read in this run",
        lambda e, _: isinstance(e.read_back, Unreadable),
    ),
    Rule(
        Cause.ACCOUNT_UNAUTHORIZED,
        "a refresh says `invalid_grant`, no usable token is stored, or a scope is missing",
        lambda e, _: isinstance(e.read_back, Unauthorized),
    ),
    Rule(
        Cause.EVENT_DELETED,
        "the read shows it deleted or cancelled",
        lambda e, _: e.found is not None and (e.found.deleted or e.found.cancelled),
    ),
    Rule(
        Cause.EVENT_PAST,
        "it has started, by the calendar's time",
        lambda e, _: calendar_start(e),
    ),
    Rule(
        Cause.ASSIGNED,
        "the read shows a join URL",
        lambda e, _: e.has_link,
    ),
    Rule(
        Cause.EVENT_MISSING,
        "two complete listings in a row, deleted events included, lack it",
        lambda e, _: isinstance(e.read_back, NotListed) and e.read_back.times >= MISSES_THAT_COUNT,
    ),
    Rule(
        Cause.CALENDAR_UNAVAILABLE,
        "its calendar is deleted, read-only or no longer listed (unlisted under a disconnected profile: the next row)",
        _calendar_unavailable,
    ),
    Rule(
        Cause.CALENDAR_DISCONNECTED,
        "its calendar's profile is disconnected",
        _calendar_disconnected,
    ),
    Rule(
        Cause.SETTLING,
        "no link yet, and the last write is younger than the grace period",
        lambda e, p: e.age < p.grace,
    ),
    Rule(
        Cause.PROVIDER_RETIRED,
        "it asks for `8x8`, which no longer exists",
        lambda e, _: e.found is not None and e.asked == RETIRED_8X8,
    ),
    Rule(
        Cause.PROFILE_REMOVED,
        "it asks for a profile that userinfo no longer lists, or `profile_missing` was pushed since the last write",
        _profile_removed,
    ),
    Rule(
        Cause.PROFILE_DISCONNECTED,
        "it asks for a disconnected profile, or for `default` and every conferencing profile is disconnected",
        _profile_disconnected,
    ),
    Rule(
        Cause.INTEGRATED_UNAVAILABLE,
        "only the calendar's own video service could make the link, and the calendar offers none",
        _integrated_unavailable,
    ),
    Rule(
        Cause.MISSING_MEETING_URL,
        "the newest failure pushed since the last write is `missing_meeting_url`",
        _missing_meeting_url_pushed,
    ),
    Rule(
        Cause.PROVIDER_OUTAGE,
        "the service that would make the link has an open incident (for `integrated`, and `default` without any "
        "conferencing profile, that is the calendar's own), or the newest failure pushed since the last write has no "
        "subtype",
        _provider_outage,
    ),
    Rule(
        Cause.PROFILE_DISCONNECTED,
        "it asks for `default`, and a conferencing profile is disconnected; unless another event of the account that "
        "asked `default` got its link since that profile was first seen disconnected",
        _default_disconnected,
    ),
    Rule(
        Cause.MISSING_MEETING_URL,
        "only the calendar's own video service could make the link, and none of the above",
        _integrated_gives_none,
    ),
    Rule(
        Cause.CONFERENCING_ABSENT,
        "the read shows no conferencing at all",
        lambda e, _: e.is_absent,
    ),
    Rule(
        Cause.UNEXPLAINED,
        "none of the above",
        lambda _e, _p: True,
    ),
)


def cause_of(evidence: Evidence, policy: Policy) -> Cause:
    """The first cause that fits."""
    return next(rule.cause for rule in RULES if rule.fits(evidence, policy))


def classify(evidence: Evidence, policy: Policy) -> Finding:
    """Find the one cause of an event's state.

    Total: every evidence has a cause, whatever it lacks.
    """
    return Finding(evidence, cause_of(evidence, policy))
