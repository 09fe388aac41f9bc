"""Several entries under one key, read as the safest of what they may mean."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.cause import Cause, calendar_start, cause_of
from reconciler.domain.event import Absent, Assigned, Pending
from reconciler.domain.evidence import Found, Unreadable, together
from reconciler.domain.times import Instant, starts_by
from tests.builders import DAY, END, HOUR, NOW, POLICY, START, found, linked, some_evidence
from tests.strategies import founds

LATER = found(start=Instant(START.at + DAY), end=Instant(END.at + DAY))
PAST = found(start=Instant(NOW - HOUR), end=Instant(NOW))
UNREADABLE = Unreadable("event_malformed", "odd")


def cause(*entries: Found | Unreadable) -> Cause:
    read, *others = entries
    for entry in others:
        read = together(read, entry)
    return cause_of(some_evidence(read=read), POLICY)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "entries, verdict",
    [
        ((found(), linked()), Cause.ASSIGNED),
        ((found(Absent()), LATER, linked()), Cause.ASSIGNED),
        ((found(deleted=True), LATER), Cause.UNEXPLAINED),
        ((found(cancelled=True), LATER), Cause.UNEXPLAINED),
        ((found(deleted=True), found(cancelled=True)), Cause.EVENT_DELETED),
        ((PAST, LATER), Cause.UNEXPLAINED),
        ((PAST, PAST), Cause.EVENT_PAST),
        ((PAST, found(deleted=True)), Cause.EVENT_PAST),
        ((found(deleted=True, conferencing=Assigned("https://z/1", None)), LATER), Cause.ASSIGNED),
        ((UNREADABLE, found()), Cause.UNREADABLE),
        ((UNREADABLE, found(deleted=True)), Cause.UNREADABLE),
        ((UNREADABLE, linked()), Cause.ASSIGNED),
        ((UNREADABLE, UNREADABLE), Cause.UNREADABLE),
        ((UNREADABLE, found(Assigned("https://z/1", None), deleted=True)), Cause.UNREADABLE),
    ],
)
def test_the_safest_reading_holds(entries: tuple[Found | Unreadable, ...], verdict: Cause, turned: bool) -> None:
    assert cause(*(reversed(entries) if turned else entries)) is verdict


def test_what_may_still_come_outweighs_what_is_not_there() -> None:
    assert isinstance(together(found(Pending()), found(Absent())), Found)
    for read in (together(found(Pending()), found(Absent())), together(found(Absent()), found(Pending()))):
        assert isinstance(read, Found)
        assert read.conferencing == Pending()


def test_where_both_would_do_the_other_stands() -> None:
    read = together(linked("zoom"), linked("go_to"))
    assert isinstance(read, Found)
    assert read.conferencing == linked("go_to").conferencing
    assert not read.times_differ


@given(st.lists(founds, min_size=1, max_size=5))
def test_however_they_are_taken_together_the_verdict_is_the_same(entries: list[Found]) -> None:
    first, *rest = entries
    forth: Found | Unreadable = first
    for entry in rest:
        forth = together(forth, entry)
    *front, last = entries
    back: Found | Unreadable = last
    for entry in reversed(front):
        back = together(entry, back)
    assert forth == back
    assert isinstance(forth, Found)
    assert forth.is_linked == any(e.is_linked for e in entries)
    assert forth.is_gone == all(e.is_gone for e in entries)
    ahead = [e for e in entries if not e.is_gone and starts_by(e.start) > NOW]
    if not forth.is_gone:
        assert calendar_start(some_evidence(read=forth)) == (not ahead)
    assert forth.times_differ <= (any(e.times_differ for e in entries) or len({(e.start, e.end) for e in entries}) > 1)


def test_times_that_differ_within_the_second_do_not() -> None:
    near = found(start=Instant(START.at + timedelta(milliseconds=1)))
    read = together(found(), near)
    assert isinstance(read, Found)
    assert not read.times_differ
    assert isinstance(read := together(found(), LATER), Found)
    assert read.times_differ
    assert (read.start, read.start_text) == (LATER.start, LATER.start_text)
