"""The defaults that a decision rests on where nobody says otherwise."""

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta

import pytest

from reconciler.config import load_settings
from reconciler.domain.policy import Policy, Substitute


def test_the_defaults_are_the_public_ones() -> None:
    assert Policy() == Policy(
        grace=timedelta(minutes=15),
        escalate_after=timedelta(hours=24),
        horizon=timedelta(days=200),
        lookback=timedelta(hours=24),
        substitute=Substitute.ANY,
        max_repairs_per_event=3,
    )


def test_settings_left_alone_make_the_default_policy() -> None:
    assert load_settings({}).policy == Policy()


def test_each_setting_of_a_decision_reaches_the_policy() -> None:
    settings = load_settings(
        {
            "RECONCILER_GRACE": "1s",
            "RECONCILER_ESCALATE_AFTER": "2s",
            "RECONCILER_HORIZON": "3s",
            "RECONCILER_LOOKBACK": "4s",
            "RECONCILER_SUBSTITUTE": "same_provider",
            "RECONCILER_MAX_REPAIRS_PER_EVENT": "5",
        }
    )
    assert settings.policy == Policy(
        grace=timedelta(seconds=1),
        escalate_after=timedelta(seconds=2),
        horizon=timedelta(seconds=3),
        lookback=timedelta(seconds=4),
        substitute=Substitute.SAME_PROVIDER,
        max_repairs_per_event=5,
    )


def test_a_policy_cannot_change_under_a_run() -> None:
    policy = Policy()
    for field in fields(policy):
        with pytest.raises(FrozenInstanceError):
            setattr(policy, field.name, None)


def test_the_words_for_substitutes_are_the_public_ones() -> None:
    assert [s.value for s in Substitute] == ["any", "same_provider"]
