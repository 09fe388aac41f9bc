"""What a run is limited to, the keys of events, and counters that add up."""

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.casework import LONGEST_MESSAGE, Counts, Scope, Unit, UnitError, UnitResult, added
from reconciler.domain.ids import ProfileId, names_profile
from reconciler.domain.notice import Addressee
from tests.builders import ACCOUNT, HOUR, NOW, RUN, a_key

COUNTS: st.SearchStrategy[Counts] = st.dictionaries(
    st.sampled_from(("causes", "outcomes", "requests")),
    st.dictionaries(st.sampled_from(("a", "b", "c")), st.integers(0, 100), max_size=3),
    max_size=3,
)


def test_an_empty_scope_says_nothing() -> None:
    assert Scope().as_json() == {}


def test_a_scope_says_all_that_limits_it() -> None:
    scope = Scope(
        accounts=("acc_1", "acc_2"),
        customers=("Acme",),
        managers=("Mia",),
        providers=("zoom",),
        profiles=("pro_1",),
        events=(a_key("evt/1", "cal_1"),),
        causes=("settling",),
        starting_before=NOW,
        starting_after=NOW - HOUR,
        written_before=NOW - 2 * HOUR,
        written_after=NOW - 3 * HOUR,
    )
    assert scope.as_json() == {
        "accounts": ["acc_1", "acc_2"],
        "customers": ["Acme"],
        "managers": ["Mia"],
        "providers": ["zoom"],
        "profiles": ["pro_1"],
        "events": ["cal_1/evt/1"],
        "causes": ["settling"],
        "starting_before": "2026-03-02T09:00:00+00:00",
        "starting_after": "2026-03-02T08:00:00+00:00",
        "written_before": "2026-03-02T07:00:00+00:00",
        "written_after": "2026-03-02T06:00:00+00:00",
    }
    assert set(scope.as_json()) == {field.name for field in fields(Scope)}


def test_counters_add_up_group_by_group() -> None:
    one: Counts = {"causes": {"settling": 2}, "events": {"read": 1}}
    other: Counts = {"causes": {"settling": 3, "assigned": 1}, "requests": {"total": 4}}
    assert added(one, other) == {
        "causes": {"settling": 5, "assigned": 1},
        "events": {"read": 1},
        "requests": {"total": 4},
    }
    assert one == {"causes": {"settling": 2}, "events": {"read": 1}}


@given(COUNTS, COUNTS, COUNTS)
def test_the_order_of_adding_does_not_matter(a: Counts, b: Counts, c: Counts) -> None:
    assert added(a, b) == added(b, a)
    assert added(added(a, b), c) == added(a, added(b, c))
    assert added(a, {}) == a


def test_a_key_is_written_as_the_command_line_takes_it() -> None:
    assert str(a_key("evt-1", "cal_1")) == "cal_1/evt-1"


def test_keys_sort_by_calendar_first() -> None:
    assert sorted([a_key("b", "x"), a_key("a", "y"), a_key("a", "x")]) == [
        a_key("a", "x"), a_key("b", "x"), a_key("a", "y"),
    ]  # fmt: skip


def test_a_reserved_word_names_no_profile() -> None:
    words = ("default", "integrated", "explicit", "none", "8x8", "zoom", "PRO_1", "")
    assert not any(names_profile(ProfileId(word)) for word in words)
    assert names_profile(ProfileId("pro_default"))


def test_errors_of_single_events_stand_beside_what_is_wrong_with_the_account() -> None:
    who = Addressee(ACCOUNT, None, None, None)
    fine = UnitResult(Unit(RUN, ACCOUNT, NOW), who, NOW)
    one, two, of_account = UnitError("a", "1"), UnitError("a", "2"), UnitError("b", "3")
    assert fine.with_errors(()) is fine
    told = fine.with_errors((one, two))
    assert (told.error, told.more_errors) == (one, (two,))
    told = replace(fine, error=of_account, more_errors=(one,)).with_errors((two,))
    assert (told.error, told.more_errors) == (of_account, (one, two))


def test_the_message_of_an_error_is_cut_where_ids_make_it_too_long() -> None:
    message = UnitError("unusable_row", "x" * (LONGEST_MESSAGE + 1)).message
    assert message == "x" * LONGEST_MESSAGE + "…"
