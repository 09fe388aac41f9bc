"""When lost profiles are the accounts' own affair, and when they say more about the listing."""

import pytest

from reconciler.domain.roster import LostRosters


@pytest.mark.parametrize(
    "rosters, too_many",
    [
        (LostRosters(), False),
        (LostRosters(compared=4, lost=4), False),
        (LostRosters(compared=5, lost=5), True),
        (LostRosters(compared=20, lost=5), False),
        (LostRosters(compared=19, lost=5), True),
        (LostRosters(compared=1, lost=1, to_come=3), False),
        (LostRosters(compared=1, lost=1, to_come=4), True),
        (LostRosters(compared=4, lost=1, to_come=90), False),
    ],
)
def test_too_many_have_lost_everything_where_it_is_over_the_share_and_may_be_many(
    rosters: LostRosters, too_many: bool
) -> None:
    assert rosters.too_many(0.25) is too_many


def test_where_everything_may_be_repaired_nothing_is_too_many() -> None:
    assert not LostRosters(compared=50, lost=50).too_many(1.0)
