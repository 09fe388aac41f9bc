"""Of a roster without end the few profiles that a decision can look at, so that evidence has a bounded size."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from reconciler.domain.ids import ProfileId

MOST_PROFILES = 20
"""What evidence holds of conferencing profiles. Few people have more than three."""

MOST_DISCONNECTED = 5
"""So many a person is asked to authorise again: `default` may stand for any of them."""
_MOST_PROVIDERS = 5
_CANDIDATES = 2
"""One may be refused in the same look: then the next replacement is still at hand, and not taken for the only one."""


@dataclass(frozen=True, slots=True)
class ConferencingProfile:
    """A connection to a video provider. Its id survives a relink; one removed and authorised anew gets another id."""

    profile_id: ProfileId
    provider_name: str
    profile_name: str | None
    connected: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a decision looks for: the profile `asked`, others of its provider and name, none that was `refused`."""

    asked: ProfileId
    provider_name: str | None = None
    profile_name: str | None = None
    refused: frozenset[ProfileId] = frozenset()


def shortlist(profiles: Sequence[ConferencingProfile], wanted: Wanted) -> tuple[ConferencingProfile, ...]:
    """The profiles that can bear on a decision, as listed; all of them where there are no more than are kept.

    Those asked for; the replacements there may be, of the same name and provider, of the same provider, of any; the
    first disconnected ones; and the first connected of each provider.
    """
    if len(profiles) <= MOST_PROFILES:
        return tuple(profiles)
    places = range(len(profiles))
    usable = [n for n in places if profiles[n].connected and profiles[n].profile_id not in wanted.refused]
    before = _before(profiles, wanted)
    same = [n for n in usable if profiles[n].provider_name == before.provider_name]
    named = (n for n in same if profiles[n].profile_name == before.profile_name)
    others = [n for n in usable if profiles[n].profile_id != wanted.asked]
    disconnected = (n for n in places if not profiles[n].connected)
    kept = _first(
        islice((n for n in places if profiles[n].profile_id == wanted.asked), 1),
        islice((n for n in named if profiles[n].profile_id != wanted.asked), _CANDIDATES),
        islice((n for n in same if profiles[n].profile_id != wanted.asked), _CANDIDATES),
        islice(others, 2 * _CANDIDATES),
        islice(disconnected, MOST_DISCONNECTED),
        islice(_one_of_each_provider(profiles), _MOST_PROVIDERS),
        places,
    )
    return tuple(profiles[n] for n in sorted(kept))


def _before(profiles: Sequence[ConferencingProfile], wanted: Wanted) -> Wanted:
    """What the profile asked for was: by the record, else as it is listed still."""
    if wanted.provider_name is not None:
        return wanted
    listed = next((p for p in profiles if p.profile_id == wanted.asked), None)
    return Wanted(wanted.asked, listed.provider_name, listed.profile_name) if listed else wanted


def _one_of_each_provider(profiles: Sequence[ConferencingProfile]) -> Iterable[int]:
    seen: set[str] = set()
    for place, profile in enumerate(profiles):
        if profile.connected and profile.provider_name not in seen:
            seen.add(profile.provider_name)
            yield place


def _first(*groups: Iterable[int]) -> Collection[int]:
    """The first places of the groups in turn, as many as are kept."""
    return list(dict.fromkeys(chain(*groups)))[:MOST_PROFILES]
