"""When a pushed link settles its event without a read."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from reconciler.cronofy.wire.notifications import pushed_event
from reconciler.domain.event import BodyState, Pending
from reconciler.domain.evidence import Found, KnownProfile
from reconciler.domain.evidence_json import evidence_from, evidence_json
from reconciler.domain.ids import ProfileId
from reconciler.domain.pushed import PushedEvent, PushedLink, settled_by
from reconciler.domain.state import EventState
from reconciler.domain.times import Instant
from tests.builders import DAY, HOUR, MINUTE, NOW, START, a_body, a_state, an_event, found, linked, some_evidence

KNOWN = {ProfileId("pro_1"): KnownProfile("zoom", None), ProfileId("pro_meet"): KnownProfile("google_meet_api", None)}
RECEIVED = NOW - MINUTE


def settles(
    shown: Found | None = None,
    *,
    received_at: datetime = RECEIVED,
    updated: datetime | None = None,
    state: EventState | None = None,
    **event: Any,
) -> Found | None:
    pushed = PushedLink(received_at, PushedEvent(shown or linked(), updated))
    return settled_by(pushed, an_event(**event), state or a_state(), KNOWN)


def test_a_link_that_fits_the_last_write_settles_and_says_that_it_was_pushed() -> None:
    assert settles() == replace(linked(), pushed_at=RECEIVED)
    evidence = some_evidence(read=replace(linked(), pushed_at=RECEIVED))
    stored = evidence_from(evidence_json(evidence)).found
    assert stored is not None
    assert stored.pushed_at == RECEIVED


def test_nothing_pushed_settles_nothing() -> None:
    assert settled_by(None, an_event(), a_state(), KNOWN) is None
    assert settled_by(PushedLink(RECEIVED, None), an_event(), a_state(), KNOWN) is None


@pytest.mark.parametrize(
    "shown",
    [
        found(Pending()),
        replace(linked(), deleted=True),
        replace(linked(), cancelled=True),
        replace(linked(), start=Instant(START.at + DAY)),
    ],
)
def test_a_push_without_link_or_of_another_time_settles_nothing(shown: Found) -> None:
    assert settles(shown) is None


@pytest.mark.parametrize("moment", ["repaired_at", "intended_at", "read_at"])
def test_what_was_received_before_our_write_or_read_settles_nothing(moment: str) -> None:
    def at(when: datetime) -> EventState:
        known: dict[str, Any] = {moment: when}
        return a_state(**known)

    assert settles(state=at(RECEIVED)) is None
    assert settles(state=at(RECEIVED - MINUTE)) is not None


def test_what_was_received_before_the_applications_write_settles_nothing() -> None:
    assert settles(received_at=NOW - HOUR, written_ago=HOUR) is None


def test_an_event_last_changed_before_the_write_settles_nothing() -> None:
    written = an_event().written_at
    assert settles(updated=written - MINUTE) is None
    assert settles(updated=written.replace(microsecond=0)) is not None, "Cronofy tells whole seconds"


def test_without_a_stored_start_the_row_tells_it() -> None:
    body = a_body(BodyState.MISSING, start=None)
    assert settles(body=body) is not None
    assert settles(replace(linked(), start=Instant(START.at + DAY)), body=body) is None


def test_the_provider_has_to_be_the_one_asked_for_where_that_is_known() -> None:
    assert settles(linked("go_to")) is None
    assert settles(linked("google_meet"), asked="pro_meet") is not None
    assert settles(linked("go_to"), asked="default") is not None


@pytest.mark.parametrize(
    "payload, updated",
    [
        ("{}", "unread"),
        ("not json", "unread"),
        ('{"event": {"start": "soon"}}', "unread"),
        ('{"event": {"start": 5, "end": 6}}', "unread"),
        ('{"event": {"start": "2026-03-09T09:00:00Z", "end": "2026-03-09T10:00:00Z"}}', None),
        ('{"event": {"start": "2026-03-09", "end": "2026-03-10", "updated": "2026-03-01"}}', None),
        ('{"event": {"start": "2026-03-09", "end": "2026-03-10", "updated": "x"}}', None),
        (
            '{"event": {"start": "2026-03-09", "end": "2026-03-10", "updated": "2026-03-01T08:00:00Z"}, "more": 1}',
            datetime.fromisoformat("2026-03-01T08:00:00+00:00"),
        ),
    ],
)
def test_the_event_of_a_notification_is_read_tolerantly(payload: str, updated: Any) -> None:
    event = pushed_event(payload)
    assert (event.updated if event else "unread") == updated
