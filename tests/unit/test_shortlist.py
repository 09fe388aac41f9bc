"""Of a roster without end the few profiles that a decision can look at."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.cause import classify
from reconciler.domain.evidence import KnownProfile, NotListed
from reconciler.domain.evidence_json import evidence_from, evidence_json
from reconciler.domain.ids import ProfileId
from reconciler.domain.policy import Substitute
from reconciler.domain.remedy import Report, choose
from reconciler.domain.roster import MOST_ON_RECORD, ConferencingProfile
from reconciler.domain.shortlist import MOST_PROFILES, Wanted, shortlist
from reconciler.pipeline.judge import with_roster
from tests.builders import CALENDAR, POLICY, a_profile, a_roster, refused, some_evidence

PROVIDERS = st.sampled_from(["zoom", "go_to", "ms_teams", *(f"provider {n}" for n in range(30))])
PROFILES = st.lists(
    st.builds(
        ConferencingProfile,
        st.integers(0, 200).map(lambda n: ProfileId(f"pro_{n}")),
        PROVIDERS,
        st.sampled_from([None, "work", "home"]),
        st.booleans(),
    ),
    max_size=80,
    unique_by=lambda p: p.profile_id,
)
KNOWN = st.none() | st.builds(KnownProfile, PROVIDERS, st.sampled_from([None, "work", "home"]))


@given(
    PROFILES | PROFILES.map(lambda all_: [replace(p, connected=False) for p in all_]),
    st.sampled_from(["default", "integrated", "8x8", *(f"pro_{n}" for n in range(0, 200, 7))]),
    KNOWN,
    st.lists(st.integers(0, 200).map(lambda n: f"pro_{n}"), max_size=5, unique=True),
    st.sampled_from(Substitute),
)
def test_the_few_lead_to_the_same_cause_and_remedy_as_all(
    profiles: list[ConferencingProfile],
    asked: str,
    previous: KnownProfile | None,
    rejected: list[str],
    substitute: Substitute,
) -> None:
    roster, policy = a_roster(*profiles), replace(POLICY, substitute=substitute)
    bare = some_evidence(asked=asked, roster=None, previous=previous, rejections=[refused(p) for p in rejected])
    short = with_roster(bare, roster, CALENDAR)
    assert short.roster is not None
    assert len(short.roster.conferencing) <= MOST_PROFILES
    whole = replace(short, roster=replace(short.roster, conferencing=tuple(profiles)))
    assert classify(short, policy).cause == classify(whole, policy).cause
    assert choose(classify(short, policy), policy) == choose(classify(whole, policy), policy)
    assert short.provider == whole.provider
    assert evidence_from(evidence_json(short)) == short


def test_a_usual_roster_is_kept_whole_and_in_its_order() -> None:
    profiles = [a_profile(f"pro_{n}") for n in range(MOST_PROFILES)]
    assert shortlist(profiles, Wanted(ProfileId("pro_x"))) == tuple(profiles)
    many = [a_profile(f"pro_{n}") for n in range(500)]
    short = shortlist(many, Wanted(ProfileId("pro_400")))
    assert [p for p in many if p in short] == list(short)
    assert many[400] in short


def test_without_a_link_to_come_no_roster_is_kept() -> None:
    assert with_roster(some_evidence(read=NotListed(1), roster=None), a_roster(), CALENDAR).roster is not None


@pytest.mark.parametrize("many", [3, MOST_ON_RECORD, 10_000])
def test_of_a_roster_without_end_the_first_and_those_asked_for_go_on_record(many: int) -> None:
    roster = a_roster(*(a_profile(f"pro_{n}") for n in range(many)))
    asked = ProfileId(f"pro_{many - 1}")
    kept = [p.profile_id for p in roster.on_record({asked}).conferencing]
    assert len(kept) == min(many, MOST_ON_RECORD + 1)
    assert kept[0] == "pro_0"
    assert asked in kept


def test_many_profiles_are_kept_as_many_as_bear_on_a_decision_whatever_was_asked_for() -> None:
    profiles = [a_profile(f"pro_{n}", "zoom" if n % 2 else "go_to") for n in range(3 * MOST_PROFILES)]
    for wanted in (
        Wanted(ProfileId("pro_gone"), "zoom", None),
        Wanted(ProfileId("pro_gone")),
        Wanted(ProfileId("pro_59")),
    ):
        assert len(shortlist(profiles, wanted)) == MOST_PROFILES


def test_an_event_that_ten_profiles_were_refused_for_is_reported() -> None:
    evidence = some_evidence(asked="pro_gone", rejections=[refused(f"pro_{n}") for n in range(10, 20)])
    assert isinstance(choose(classify(evidence, POLICY), POLICY), Report)
