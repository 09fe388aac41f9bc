"""The simulator's small parts: rate windows, settings, faults, the journal."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.simulator import Fault, Settings
from reconciler.simulator.faults import Faults
from reconciler.simulator.journal import kind_of, redact
from reconciler.simulator.limits import Limits


class Hands:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def made(**settings: Any) -> tuple[Limits, Hands]:
    hands = Hands()
    return Limits(Settings(**settings), hands), hands


def test_a_sliding_second_admits_again_as_its_entries_leave() -> None:
    limits, hands = made(rate_per_second=2, count_refused=False)
    assert limits.arrive() is None
    hands.now += 0.4
    assert limits.arrive() is None
    assert limits.arrive() == pytest.approx(0.6)
    hands.now += 0.6
    assert limits.arrive() is None
    assert limits.arrive() == pytest.approx(0.4)
    assert limits.refused == 2


def test_a_sliding_minute_is_enforced_besides() -> None:
    limits, hands = made(rate_per_second=50, rate_per_minute=3, count_refused=False)
    for _ in range(3):
        assert limits.arrive() is None
        hands.now += 10
    assert limits.arrive() == pytest.approx(30)
    hands.now += 30.5
    assert limits.arrive() is None
    assert (limits.peak_second, limits.peak_minute) == (1, 4)


@pytest.mark.parametrize("window", ["sliding", "fixed"])
def test_cleared_limits_have_seen_nothing(window: str) -> None:
    limits, _ = made(rate_per_second=1, rate_per_minute=1, rate_window=window)
    assert (limits.arrive(), limits.arrive() is None) == (None, False)
    limits.clear()
    assert (limits.peak_second, limits.peak_minute, limits.refused) == (0, 0, 0)
    assert limits.arrive() is None


def test_refused_requests_count_unless_switched_off() -> None:
    for counting, again in ((True, False), (False, True)):
        limits, hands = made(rate_per_second=1, count_refused=counting)
        limits.arrive()
        hands.now += 0.9
        assert limits.arrive() is not None
        hands.now += 0.2
        assert (limits.arrive() is None) is again


def test_fixed_windows_start_anew_at_their_boundaries() -> None:
    limits, hands = made(rate_per_second=2, rate_per_minute=3, rate_window="fixed")
    shift = limits._windows["fixed"][0]._shift  # type: ignore[union-attr]
    hands.now = 6000.0 - shift % 60
    assert [limits.arrive(2) is None, limits.arrive() is None] == [True, False]
    hands.now += 1.1
    assert limits.arrive() is not None
    hands.now += 60
    assert limits.arrive() is None
    assert limits.arrive() is None
    wait = limits.arrive()
    assert wait is not None
    assert 0 < wait <= 60
    assert limits.peak_second == 3


def test_what_never_fits_waits_for_the_whole_window() -> None:
    limits, _ = made(rate_per_second=5, rate_per_minute=10)
    assert limits.arrive(20) == pytest.approx(60)


def test_peaks_are_recorded_without_enforcement() -> None:
    limits, _ = made(rate_per_second=1, enforce_limits=False)
    assert [limits.arrive() for _ in range(5)] == [None] * 5
    assert (limits.peak_second, limits.peak_minute, limits.refused) == (5, 5, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_per_second": 0},
        {"rate_per_second": 1.5},
        {"rate_per_second": True},
        {"rate_window": "round"},
        {"count_refused": "yes"},
        {"latency": -1},
        {"latency": True},
        {"retry_schedule": ()},
        {"retry_schedule": (0,)},
        {"retry_schedule": ("soon",)},
        {"data_center": 7},
        {"client_id": None},
        {"page_size": 0},
    ],
    ids=str,
)
def test_settings_refuse_what_means_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_settings_change_together_or_not_at_all() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="past_read"):
        settings.change({"page_size": 5, "past_read": "maybe"})
    with pytest.raises(ValueError, match="speed is unknown"):
        settings.change({"page_size": 5, "speed": 1})
    assert settings == Settings()
    settings.change({"page_size": 5, "data_center": "de", "latency": 1})
    assert (settings.page_size, settings.data_center, settings.latency) == (5, "de", 1)


def test_faults_are_used_up_lifted_and_drawn_by_seed() -> None:
    faults = Faults(seed=1)
    once = faults.add(Fault("status", times=1))
    assert faults.strike("/v1/events", None) is once
    assert faults.strike("/v1/events", None) is None
    faults.remove(once)
    never = faults.add(Fault("status", probability=0.0, match_path="cal"))
    assert faults.strike("/v1/calendars", None) is None
    assert faults.strike_entry("/v1/calendars", None) is None
    assert faults.active == [never]


@pytest.mark.parametrize(
    "method, path, kind",
    [
        ("GET", "/v1/events", "events"),
        ("GET", "/v1/events/pages/1", "events"),
        ("GET", "/v1/userinfo", "userinfo"),
        ("POST", "/v1/calendars/cal_1/events", "upsert"),
        ("DELETE", "/v1/calendars/cal_1/events", "other"),
        ("POST", "/v1/batch", "batch"),
        ("POST", "/oauth/token", "token"),
        ("POST", "/oauth/token/revoke", "token"),
        ("GET", "/v1/account", "other"),
    ],
)
def test_requests_are_counted_by_kind(method: str, path: str, kind: str) -> None:
    assert kind_of(method, path) == kind


def test_redaction_reaches_into_lists_and_leaves_the_original() -> None:
    body = {"batch": [{"data": {"token": "marker", "summary": "x"}}]}
    assert redact(body) == {"batch": [{"data": {"token": "[redacted]", "summary": "x"}}]}
    assert body["batch"][0]["data"]["token"] == "marker"
