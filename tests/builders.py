"""Values for tests that show only what matters: everything not said is healthy, and about the same moment, `NOW`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from reconciler.domain.casework import Case, Caseload, Unit
from reconciler.domain.event import (
    Absent,
    Assigned,
    BodyState,
    CalendarEvent,
    Conferencing,
    Pending,
    StoredBody,
)
from reconciler.domain.evidence import (
    CONFERENCING_FAILING,
    CalendarFact,
    Evidence,
    Found,
    KnownProfile,
    Notified,
    ReadBack,
    Rejection,
    RosterFact,
)
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.notice import Addressee, Notice
from reconciler.domain.policy import Policy
from reconciler.domain.roster import Calendar, CalendarProfile, ConferencingProfile, Roster
from reconciler.domain.state import EventState
from reconciler.domain.times import AllDay, EventTime, Instant
from reconciler.pipeline.judge import Judged, judge

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POLICY = Policy()
"""As by default: 15 minutes of grace, escalated after 24 hours, any substitute."""

ACCOUNT = AccountId("acc_1")
CALENDAR = CalendarId("cal_1_a")
RUN = UUID(int=1)
STARTS_IN = 3 * DAY
WRITTEN_AGO = HOUR
START, END = Instant(NOW + STARTS_IN), Instant(NOW + STARTS_IN + HOUR)
LINK = "https://video.example/j/1?pwd=secret"


def a_key(event_id: str = "evt-1", calendar_id: str = CALENDAR) -> EventKey:
    return EventKey(CalendarId(calendar_id), EventId(event_id))


# ---------------------------------------------------------------- what the application wrote


def a_body(
    state: BodyState = BodyState.USABLE,
    *,
    start: EventTime | None = START,
    end: EventTime | None = END,
    tzid: str | None = None,
) -> StoredBody:
    return StoredBody(state, start, end, tzid)


def an_event(
    event_id: str = "evt-1",
    *,
    asked: str = "pro_1",
    starts_in: timedelta = STARTS_IN,
    written_ago: timedelta = WRITTEN_AGO,
    body: StoredBody | None = None,
) -> CalendarEvent:
    return CalendarEvent(
        key=a_key(event_id),
        account_id=ACCOUNT,
        starts_at=NOW + starts_in,
        ends_at=NOW + starts_in + HOUR,
        profile_id=ProfileId(asked),
        written_at=NOW - written_ago,
        body=body or a_body(),
    )


# ---------------------------------------------------------------- what Cronofy shows


def found(
    conferencing: Conferencing | None = None,
    *,
    start: EventTime | None = None,
    end: EventTime | None = None,
    deleted: bool = False,
    cancelled: bool = False,
) -> Found:
    """The event as listed, pending unless another conferencing is given."""
    start, end = start or START, end or END
    return Found(
        Pending() if conferencing is None else conferencing,
        start,
        end,
        deleted,
        cancelled,
        start.day.isoformat() if isinstance(start, AllDay) else start.at.isoformat(),
        end.day.isoformat() if isinstance(end, AllDay) else end.at.isoformat(),
    )


def linked(provider_name: str | None = "zoom") -> Found:
    return found(Assigned(LINK, provider_name))


def a_profile(
    profile_id: str = "pro_1", provider_name: str = "zoom", *, connected: bool = True, name: str | None = None
) -> ConferencingProfile:
    return ConferencingProfile(ProfileId(profile_id), provider_name, name, connected)


def a_calendar(
    *,
    listed: bool = True,
    deleted: bool = False,
    readonly: bool = False,
    integrated: bool | None = None,
    connected: bool | None = True,
) -> CalendarFact:
    """The event's calendar as the roster has it; `connected=None`: it belongs to no listed profile."""
    known = connected is not None
    return CalendarFact(
        listed=listed,
        deleted=deleted,
        readonly=readonly,
        integrated=integrated,
        profile_id=ProfileId("pro_cal") if known else None,
        profile_provider="google" if known else None,
        profile_connected=connected,
    )


def some_profiles(*profiles: ConferencingProfile, calendar: CalendarFact | None = None) -> RosterFact:
    """The part of the roster that one decision sees."""
    return RosterFact(profiles, calendar or a_calendar())


IN_ORDER = some_profiles(a_profile())
"""One connected profile, `pro_1` of zoom, and a connected calendar."""


def a_roster(
    *profiles: ConferencingProfile,
    calendar_connected: bool = True,
    calendars: Sequence[Calendar] | None = (Calendar(CALENDAR, ProfileId("pro_cal"), False, False, None),),
    relink_urls: Mapping[str, str] | None = None,
) -> Roster:
    """A whole roster, as userinfo lists it."""
    return Roster(
        conferencing=profiles,
        calendar_profiles=(CalendarProfile(ProfileId("pro_cal"), "google", calendar_connected),),
        calendars=tuple(calendars) if calendars is not None else None,
        relink_urls={ProfileId(k): v for k, v in (relink_urls or {}).items()},
    )


def pushed(subtype: str | None = None, *, ago: timedelta = MINUTE, type_: str = CONFERENCING_FAILING) -> Notified:
    return Notified(type_, subtype, NOW - ago)


def refused(profile_id: str, *, about_profile: bool = True) -> Rejection:
    return Rejection(
        ProfileId(profile_id), ("errors.not_recognized" if about_profile else "errors.start",), about_profile
    )


def some_evidence(
    *,
    asked: str = "pro_1",
    pending: bool = True,
    read: ReadBack | None = None,
    roster: RosterFact | None = IN_ORDER,
    written_ago: timedelta = WRITTEN_AGO,
    starts_in: timedelta = STARTS_IN,
    body: StoredBody | None = None,
    previous: KnownProfile | None = None,
    repaired_ago: timedelta | None = None,
    repairs: int = 0,
    notified: Sequence[Notified] = (),
    rejections: Sequence[Rejection] = (),
    open_incidents: Sequence[str] = (),
    not_default: Sequence[str] = (),
) -> Evidence:
    """An event past grace that is listed as pending (`pending=False`: without conferencing), all else in order."""
    return Evidence(
        now=NOW,
        asked=ProfileId(asked),
        starts_at=NOW + starts_in,
        written_at=NOW - written_ago,
        body=body or a_body(),
        read_back=read or found(Pending() if pending else Absent()),
        roster=roster,
        previous=previous,
        repaired_at=NOW - repaired_ago if repaired_ago is not None else None,
        repairs=repairs,
        notified=tuple(notified),
        rejections=tuple(rejections),
        open_incidents=tuple(open_incidents),
        not_default=tuple(ProfileId(p) for p in not_default),
    )


# ---------------------------------------------------------------- what is on record


def a_state(event_id: str = "evt-1", **known: Any) -> EventState:
    """The state of an event never read, but for what is given."""
    return EventState(a_key(event_id), ACCOUNT, **known)


def a_case(
    event: CalendarEvent | None = None, *, notified: Sequence[Notified] = (), overtaken: bool = False, **known: Any
) -> Case:
    event = event or an_event()
    return Case(event, a_state(event.key.event_id, **known), tuple(notified), overtaken)


def a_caseload(
    *cases: Case, open_notices: Sequence[Notice] = (), profiles: Mapping[str, KnownProfile] | None = None
) -> Caseload:
    return Caseload(
        unit=Unit(RUN, ACCOUNT, NOW + STARTS_IN),
        addressee=Addressee(ACCOUNT, "ann@example.com", "Acme", "Mia"),
        data_center="us",
        cases=cases or (a_case(),),
        profiles={ProfileId(k): v for k, v in (profiles or {}).items()},
        open_notices=tuple(open_notices),
    )


def judged(evidence: Evidence | None = None, case: Case | None = None, policy: Policy = POLICY) -> Judged:
    """A case with the verdict that its evidence leads to."""
    return judge(case or a_case(), evidence or some_evidence(), policy)
