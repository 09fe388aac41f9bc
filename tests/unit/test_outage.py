"""What became of events that had waited for their provider, each in one way."""

import pytest

from reconciler.domain.cause import SETTLED, Cause
from reconciler.domain.outage import Aftermath, AfterOutage, after_outage

WAITED = Cause.PROVIDER_OUTAGE


@pytest.mark.parametrize("now", Cause)
def test_each_cause_says_what_became_of_an_event(now: Cause) -> None:
    became = after_outage(WAITED, now)
    assert (became is None) is (now is Cause.UNREADABLE)
    assert (became in {AfterOutage.RECOVERED, AfterOutage.OVER}) is (now in SETTLED)


@pytest.mark.parametrize(
    "now, became",
    [
        (Cause.ASSIGNED, "recovered"),
        (Cause.PROVIDER_OUTAGE, "still_failing"),
        (Cause.UNEXPLAINED, "still_failing"),
        (Cause.PROFILE_REMOVED, "newly_explained"),
        (Cause.PROFILE_DISCONNECTED, "newly_explained"),
        (Cause.EVENT_PAST, "over"),
    ],
)
def test_no_link_and_no_other_reason_is_still_failing(now: Cause, became: str) -> None:
    assert after_outage(WAITED, now) == became


@pytest.mark.parametrize("before", [None, *(cause for cause in Cause if cause is not WAITED)])
def test_an_event_that_did_not_wait_is_nobodys_aftermath(before: Cause | None) -> None:
    assert {after_outage(before, now) for now in Cause} == {None}


def test_a_run_without_such_events_has_no_aftermath() -> None:
    assert Aftermath.of({}) is None
    assert Aftermath.of({"recovered": 0}) is None


def test_the_numbers_are_said_in_one_phrase() -> None:
    some = Aftermath.of({"recovered": 27, "newly_explained": 1})
    assert some is not None
    assert some.text == "27 recovered, 0 still failing, 1 newly explained"
    assert Aftermath(1, 2, 3, 4).text == "1 recovered, 2 still failing, 3 newly explained, 4 deleted or begun meanwhile"
