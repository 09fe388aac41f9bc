"""Hypothesis strategies for the values that decisions are made of: plausible ones, with every corner in reach."""

from datetime import datetime, timedelta

from hypothesis import strategies as st

from reconciler.domain.cause import Cause
from reconciler.domain.event import Absent, Assigned, BodyState, Conferencing, Pending, StoredBody
from reconciler.domain.evidence import (
    CONFERENCING_FAILING,
    CalendarFact,
    Evidence,
    Found,
    KnownProfile,
    Notified,
    NotListed,
    ReadBack,
    Rejection,
    RosterFact,
    Unauthorized,
    Unreadable,
)
from reconciler.domain.ids import ProfileId
from reconciler.domain.outcome import Applied, InDoubt, Outcome, Rejected, Unneeded, Unsent
from reconciler.domain.policy import Policy, Substitute
from reconciler.domain.roster import ConferencingProfile
from reconciler.domain.state import EventState
from reconciler.domain.times import AllDay, EventTime, Instant
from tests.builders import ACCOUNT, NOW, a_key

PROFILE_IDS = tuple(ProfileId(f"pro_{n}") for n in range(1, 5))
ASKED = (*PROFILE_IDS, *(ProfileId(word) for word in ("default", "integrated", "8x8")))
PROVIDERS = ("zoom", "google_meet_api", "8x8", "google")
ZONES = (None, "Europe/Berlin", "America/New_York", "Asia/Tokyo", "No/Where")

some_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
names = st.sampled_from((None, "work", "home", "ü"))
maybe = st.sampled_from((None, True, False))
mostly = st.sampled_from((True, True, True, False))
seldom = mostly.map(lambda chosen: not chosen)

_SPANS = tuple(timedelta(minutes=m) for m in (1440, 15, 1, 0, -14, -15, -16, -60, -1440, 6 * 1440, -6 * 1440))
_NEAR = tuple(NOW + span for span in _SPANS)


def moments() -> st.SearchStrategy[datetime]:
    """Moments around `NOW`, often at the same one and at the limits that rules speak of."""
    anywhere = st.integers(-(10**9), 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds, microseconds=seconds))
    return st.sampled_from(_NEAR) | anywhere


ahead = st.sampled_from([at for at in _NEAR if at > NOW])
ago = st.sampled_from([at for at in _NEAR if at < NOW])
instants = moments().map(Instant)
days = st.dates().map(AllDay)
event_times: st.SearchStrategy[EventTime] = instants | days

LINKED_BY = ("zoom", "google_meet", None)
conferencings: st.SearchStrategy[Conferencing] = st.sampled_from(
    (Pending(), Absent(), *(Assigned("https://video.example/j/1", name) for name in LINKED_BY))
)
founds = st.builds(
    Found,
    conferencings,
    ahead.map(Instant) | event_times,
    event_times,
    seldom,
    seldom,
    st.just("start"),
    st.just("end"),
    st.none() | st.just("evt_external_1"),
    times_differ=seldom,
)
read_backs: st.SearchStrategy[ReadBack] = st.one_of(
    founds,
    founds,
    founds,
    st.builds(NotListed, st.integers(1, 4)),
    st.builds(Unreadable, some_text, some_text),
    st.builds(Unauthorized, some_text),
)
"""Every kind of reading; about half of them found."""

bodies = st.builds(
    StoredBody,
    st.sampled_from(BodyState),
    st.none() | event_times,
    st.none() | event_times,
    st.sampled_from(ZONES),
    recurs=seldom,
    sets_location=st.booleans(),
)
usable_bodies = st.builds(StoredBody, st.just(BodyState.USABLE), ahead.map(Instant), ahead.map(Instant))
conferencing_profiles = st.builds(
    ConferencingProfile, st.sampled_from(PROFILE_IDS), st.sampled_from(PROVIDERS), names, mostly
)
profile_lists = st.lists(conferencing_profiles, max_size=4, unique_by=lambda p: p.profile_id).map(tuple)
calendar_facts = st.builds(
    CalendarFact,
    listed=mostly,
    deleted=seldom,
    readonly=seldom,
    integrated=maybe,
    profile_id=st.none() | st.sampled_from(PROFILE_IDS),
    profile_provider=st.none() | st.sampled_from(PROVIDERS),
    profile_connected=maybe,
)
calendars_in_order = maybe.map(
    lambda integrated: CalendarFact(True, False, False, integrated, ProfileId("pro_cal"), "google", True)
)
roster_facts = st.builds(RosterFact, profile_lists, st.none() | calendar_facts | calendars_in_order)
notifications = st.builds(
    Notified,
    st.just(CONFERENCING_FAILING) | some_text,
    st.sampled_from((None, "profile_missing", "missing_meeting_url", "tomorrow's")),
    moments(),
)
rejections = st.builds(Rejection, st.sampled_from(ASKED), st.lists(some_text, max_size=2).map(tuple), mostly)
known_profiles = st.builds(KnownProfile, st.sampled_from(PROVIDERS), names)


def evidence(read: st.SearchStrategy[ReadBack] = read_backs) -> st.SearchStrategy[Evidence]:
    return st.builds(
        Evidence,
        now=st.just(NOW),
        asked=st.sampled_from(ASKED),
        starts_at=ahead | moments(),
        written_at=ago | moments(),
        body=bodies,
        read_back=read,
        roster=st.none() | roster_facts,
        previous=st.none() | known_profiles,
        repaired_at=st.none() | moments(),
        repairs=st.integers(0, 5),
        notified=st.lists(notifications, max_size=2).map(tuple),
        rejections=st.lists(rejections, max_size=2).map(tuple),
        open_incidents=st.lists(st.sampled_from(PROVIDERS), max_size=2, unique=True).map(tuple),
        not_default=st.lists(st.sampled_from(PROFILE_IDS), max_size=2, unique=True).map(tuple),
    )


overdue_founds = st.builds(
    Found,
    st.sampled_from((Pending(), Absent())),
    ahead.map(Instant),
    ahead.map(Instant),
    st.just(False),
    st.just(False),
    st.just("start"),
    st.just("end"),
)


def overdue_evidence() -> st.SearchStrategy[Evidence]:
    """Events that are listed, still ahead, without a link and past the default grace: where repairs are decided."""
    return st.builds(
        Evidence,
        now=st.just(NOW),
        asked=st.sampled_from(ASKED),
        starts_at=st.just(NOW + timedelta(days=3)),
        written_at=st.sampled_from([at for at in _NEAR if at <= NOW - timedelta(minutes=15)]),
        body=st.one_of(usable_bodies, usable_bodies, bodies),
        read_back=overdue_founds,
        roster=st.builds(RosterFact, profile_lists.filter(bool) | profile_lists, calendars_in_order),
        previous=st.none() | known_profiles,
        repairs=st.sampled_from((0, 0, 1, 2, 3)),
        notified=st.just(()) | st.tuples(notifications),
        rejections=st.one_of(st.just(()), st.just(()), st.lists(rejections, max_size=2).map(tuple)),
    )


policies = st.builds(
    Policy,
    grace=st.sampled_from([timedelta(minutes=m) for m in (15, 1, 14, 16, 2880)]),
    escalate_after=st.sampled_from([timedelta(minutes=m) for m in (1440, 60, 5, 9 * 1440)]),
    substitute=st.sampled_from(Substitute),
    max_repairs_per_event=st.sampled_from((3, 1, 0)),
)

event_states = st.builds(
    EventState,
    key=st.just(a_key()),
    account_id=st.just(ACCOUNT),
    conferencing=st.sampled_from(("unknown", "pending", "assigned", "absent", "gone", "ignored")),
    cause=st.none() | st.sampled_from(Cause),
    remedy=st.none() | st.sampled_from(("wait", "settle", "report", "reupsert pro_2")),
    join_url=st.none() | st.just("https://video.example/j/1"),
    provider_name=st.none() | st.sampled_from(PROVIDERS),
    asked_provider=st.none() | st.sampled_from(PROVIDERS),
    read_at=st.none() | moments(),
    pending_since=st.none() | moments(),
    next_read_at=st.none() | moments(),
    settled_at=st.none() | moments(),
    repairs=st.integers(0, 5),
    repaired_at=st.none() | moments(),
    confirmed_at=st.none() | moments(),
    intended_at=st.none() | moments(),
    intended_profile=st.none() | st.sampled_from(PROFILE_IDS),
    misses=st.integers(0, 3),
    unchanged_looks=st.integers(0, 9),
    seen_written_at=st.none() | moments(),
    rejections=st.lists(rejections, max_size=2).map(tuple),
)

outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Applied()),
    st.builds(Unneeded, some_text),
    st.builds(Rejected, st.sampled_from((400, 404, 422)), st.lists(some_text, max_size=2).map(tuple)),
    st.builds(InDoubt, some_text),
    st.builds(Unsent, some_text),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | some_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(some_text, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(some_text, json_values, max_size=4)
