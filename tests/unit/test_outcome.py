"""What came of a write, and what the next decision has to know of a refusal."""

from typing import get_args

import pytest

from reconciler.domain.evidence import Rejection
from reconciler.domain.ids import ProfileId
from reconciler.domain.outcome import OUTCOME_NAMES, Outcome, Rejected

PRO = ProfileId("pro_2")


@pytest.mark.parametrize(
    "keys, about_profile",
    [
        (("errors.integrated_conferencing_not_available",), True),
        (("errors.not_recognized",), True),
        (("errors.start", "errors.not_recognized"), True),
        (("errors.start",), False),
        (("not_recognized",), False),
        ((), False),
    ],
)
def test_a_refusal_is_about_the_profile_only_by_the_keys_that_say_so(
    keys: tuple[str, ...], about_profile: bool
) -> None:
    assert Rejected(422, keys).about_profile is about_profile
    assert Rejected(422, keys).rejection(PRO).about_profile is about_profile


def test_a_refusal_is_remembered_with_its_profile_and_keys() -> None:
    assert Rejected(422, ("errors.start",)).rejection(PRO) == Rejection(PRO, ("errors.start",), about_profile=False)


def test_a_refusal_without_keys_is_remembered_by_its_status() -> None:
    assert Rejected(403).rejection(PRO) == Rejection(PRO, ("status 403",), about_profile=False)


def test_every_outcome_has_a_name_of_its_own() -> None:
    assert set(OUTCOME_NAMES) == set(get_args(Outcome))
    assert len(set(OUTCOME_NAMES.values())) == len(OUTCOME_NAMES)
