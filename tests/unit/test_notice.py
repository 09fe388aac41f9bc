"""Notices: at most one open per account, kind and profile, holding exactly the events that wait for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.ids import AccountId, EventKey, ProfileId
from reconciler.domain.notice import MOST_NAMED, Addressee, Notice, NoticeChanges, Subject, changes, recipient
from reconciler.domain.remedy import NoticeKind
from tests.builders import DAY, HOUR, NOW, a_key

A, B, C = a_key("a"), a_key("b"), a_key("c")
RELINK = Subject(NoticeKind.RELINK_CONFERENCING, ProfileId("pro_1"))
CONNECT = Subject(NoticeKind.CONNECT_CONFERENCING, None)
AUTHORIZE = Subject(NoticeKind.REAUTHORIZE_ACCOUNT, None)

Wanted = Mapping[EventKey, tuple[datetime, Sequence[Notice]]]


def a_notice(subject: Subject = RELINK, *keys: EventKey, url: str | None = "https://relink/1") -> Notice:
    return Notice(subject, tuple((key, NOW + DAY) for key in keys), "zoom", url)


def wanting(*keys: EventKey, subject: Subject = RELINK, url: str | None = "https://relink/1") -> Wanted:
    return {key: (NOW + DAY, [a_notice(subject, url=url)]) for key in keys}


def test_the_first_event_that_needs_a_notice_queues_it() -> None:
    assert changes((), wanting(A), {A}, NOW) == NoticeChanges(queue=(a_notice(RELINK, A),))


def test_events_that_need_the_same_notice_share_it_soonest_first() -> None:
    wanted = {
        C: (NOW + DAY, [a_notice()]),
        B: (NOW + HOUR, [a_notice()]),
        A: (NOW + DAY, [a_notice()]),
    }
    (notice,) = changes((), wanted, set(wanted), NOW).queue
    assert notice.events == ((B, NOW + HOUR), (A, NOW + DAY), (C, NOW + DAY))


def test_different_subjects_are_different_notices() -> None:
    wanted = {**wanting(A), **wanting(B, subject=CONNECT)}
    queued = changes((), wanted, {A, B}, NOW).queue
    assert {notice.subject: notice.events for notice in queued} == {
        RELINK: ((A, NOW + DAY),),
        CONNECT: ((B, NOW + DAY),),
    }


def test_one_event_may_need_several_notices() -> None:
    wanted = {A: (NOW + DAY, [a_notice(RELINK), a_notice(CONNECT)])}
    assert {n.subject: n.events for n in changes((), wanted, {A}, NOW).queue} == {
        RELINK: ((A, NOW + DAY),),
        CONNECT: ((A, NOW + DAY),),
    }
    assert changes((a_notice(RELINK, A), a_notice(CONNECT, A)), wanting(A), {A}, NOW).resolve == (CONNECT,)


def test_the_same_again_changes_nothing() -> None:
    assert changes((a_notice(RELINK, A),), wanting(A), {A}, NOW) == NoticeChanges()


def test_another_event_is_added_to_the_open_notice() -> None:
    assert changes((a_notice(RELINK, A),), wanting(A, B), {A, B}, NOW) == NoticeChanges(
        update=(a_notice(RELINK, A, B),)
    )


def test_an_event_that_no_longer_needs_it_leaves_the_notice() -> None:
    assert changes((a_notice(RELINK, A, B),), wanting(B), {A, B}, NOW) == NoticeChanges(update=(a_notice(RELINK, B),))


def test_an_event_that_was_moved_is_noticed_at_its_new_time() -> None:
    wanted = {A: (NOW + HOUR, [a_notice()])}
    (updated,) = changes((a_notice(RELINK, A),), wanted, {A}, NOW).update
    assert updated.events == ((A, NOW + HOUR),)


def test_a_new_relink_address_updates_the_notice() -> None:
    result = changes((a_notice(RELINK, A),), wanting(A, url="https://relink/2"), {A}, NOW)
    assert [n.relink_url for n in result.update] == ["https://relink/2"]


def test_a_notice_that_nothing_waits_for_is_resolved() -> None:
    assert changes((a_notice(RELINK, A),), {}, {A}, NOW) == NoticeChanges(resolve=(RELINK,))


def test_a_notice_whose_events_were_not_looked_at_stays() -> None:
    assert changes((a_notice(RELINK, A),), {}, {B}, NOW) == NoticeChanges()


def test_an_event_that_was_not_looked_at_keeps_waiting_beside_new_ones() -> None:
    assert changes((a_notice(RELINK, A),), wanting(B), {B}, NOW) == NoticeChanges(update=(a_notice(RELINK, A, B),))


MANY = [a_key(f"e-{n:04d}") for n in range(MOST_NAMED + 500)]


def test_of_very_many_events_the_soonest_and_the_last_are_named_and_the_others_counted() -> None:
    queued = changes((), {key: (NOW + n * HOUR, [a_notice()]) for n, key in enumerate(MANY)}, MANY, NOW).queue[0]
    assert [key for key, _ in queued.events] == [*MANY[: MOST_NAMED - 1], MANY[-1]]
    assert queued.more == 500
    again = changes([queued], {key: (NOW + n * HOUR, [a_notice()]) for n, key in enumerate(MANY)}, MANY, NOW)
    assert again == NoticeChanges()


def test_events_that_a_notice_does_not_name_go_on_waiting_until_they_are_looked_at() -> None:
    named = MANY[:MOST_NAMED]
    notice = replace(a_notice(RELINK, *named), more=500)
    assert changes([notice], {}, named, NOW) == NoticeChanges()
    assert changes([notice], {}, [A], NOW).update == (replace(notice, more=499),)
    assert changes([notice], {}, MANY, NOW).resolve == (RELINK,)
    unreadable = replace(notice, subject=AUTHORIZE)
    assert changes([unreadable], {}, [A], NOW).resolve == (AUTHORIZE,)


@pytest.mark.parametrize("starts_at", [NOW, NOW - HOUR], ids=["starting now", "started"])
def test_an_event_that_has_started_waits_no_longer(starts_at: datetime) -> None:
    notice = Notice(RELINK, ((A, starts_at), (B, NOW + DAY)), "zoom", "https://relink/1")
    assert changes((notice,), {}, (), NOW) == NoticeChanges(update=(a_notice(RELINK, B),))
    assert changes((Notice(RELINK, ((A, starts_at),)),), {}, (), NOW) == NoticeChanges(resolve=(RELINK,))


def test_an_event_may_go_from_one_notice_to_another() -> None:
    result = changes((a_notice(RELINK, A),), wanting(A, subject=CONNECT), {A}, NOW)
    assert result == NoticeChanges(queue=(a_notice(CONNECT, A),), resolve=(RELINK,))


def test_an_account_that_could_be_read_need_not_be_authorised_again() -> None:
    open_notice = a_notice(AUTHORIZE, A, B)
    assert changes((open_notice,), {}, {A}, NOW) == NoticeChanges(resolve=(AUTHORIZE,))


def test_an_account_that_could_not_be_read_still_waits_to_be_authorised() -> None:
    open_notice = a_notice(AUTHORIZE, A, B)
    assert changes((open_notice,), wanting(A, subject=AUTHORIZE), {A}, NOW, readable=False) == NoticeChanges()
    assert changes((open_notice,), {}, (), NOW, readable=False) == NoticeChanges()


@pytest.mark.parametrize("kind", NoticeKind)
def test_a_licence_is_the_managers_to_restore_all_else_the_persons_own(kind: NoticeKind) -> None:
    who = Addressee(AccountId("acc_1"), "ann@example.com", "Acme", "Mia")
    assert recipient(kind, who) == ("Mia" if kind is NoticeKind.RESTORE_LICENCE else "ann@example.com")
    assert recipient(kind, Addressee(AccountId("acc_1"), None, None, None)) is None


def test_a_relink_address_is_never_shown() -> None:
    assert "https://relink" not in repr(a_notice(RELINK, A))


# ---------------------------------------------------------------- properties

KEYS = st.sampled_from((A, B, C))
STARTS = st.sampled_from((NOW - HOUR, NOW, NOW + HOUR, NOW + DAY))
SUBJECTS = st.sampled_from((RELINK, CONNECT, AUTHORIZE))
OPEN = st.lists(
    st.builds(
        Notice,
        SUBJECTS,
        st.dictionaries(KEYS, STARTS).map(lambda events: tuple(sorted(events.items(), key=lambda i: (i[1], i[0])))),
        st.just("zoom"),
    ),
    unique_by=lambda n: n.subject,
    max_size=3,
)
WANTED = st.dictionaries(
    KEYS,
    st.tuples(
        st.just(NOW + DAY), st.lists(st.builds(Notice, SUBJECTS, st.just(()), st.just("zoom")), min_size=1, max_size=2)
    ),
)


def applied(open_notices: list[Notice], changed: NoticeChanges) -> list[Notice]:
    """What is open afterwards."""
    gone = {*changed.resolve, *(n.subject for n in changed.update)}
    return [*(n for n in open_notices if n.subject not in gone), *changed.update, *changed.queue]


@given(OPEN, WANTED, st.sets(KEYS), st.booleans())
def test_afterwards_every_event_waits_where_it_should_and_nowhere_twice(
    open_notices: list[Notice], wanted: Wanted, others: set[EventKey], readable: bool
) -> None:
    judged = others | set(wanted)
    after = applied(open_notices, changes(open_notices, wanted, judged, NOW, readable=readable))
    assert len({n.subject for n in after}) == len(after)
    assert all(n.events for n in after)
    waiting = {(n.subject, key) for n in after for key, _ in n.events}
    for key in judged:
        needed = {(notice.subject, key) for notice in wanted[key][1]} if key in wanted else set()
        assert {w for w in waiting if w[1] == key} == needed


@given(OPEN, WANTED, st.sets(KEYS), st.booleans())
def test_doing_it_twice_is_doing_it_once(
    open_notices: list[Notice], wanted: Wanted, others: set[EventKey], readable: bool
) -> None:
    judged = others | set(wanted)
    after = applied(open_notices, changes(open_notices, wanted, judged, NOW, readable=readable))
    wants_authorisation = any(n.subject == AUTHORIZE for _, notices in wanted.values() for n in notices)
    again = changes(after, wanted, judged, NOW, readable=readable and not wants_authorisation)
    assert again == NoticeChanges()
