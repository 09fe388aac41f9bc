"""The settings a decision may depend on, as one value that is stored with every run."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Substitute(StrEnum):
    """Which replacements for a lost profile are allowed."""

    ANY = "any"
    SAME_PROVIDER = "same_provider"


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient, how far ahead and how bold a run is.

    `grace`: how long no link is normal after a write. `escalate_after`: when something unexplained goes to support.
    `lookback`: which writes count towards a provider outage. `max_repairs_per_event`: after that many, a person looks.
    """

    grace: timedelta = timedelta(minutes=15)
    escalate_after: timedelta = timedelta(hours=24)
    horizon: timedelta = timedelta(days=200)
    lookback: timedelta = timedelta(hours=24)
    substitute: Substitute = Substitute.ANY
    max_repairs_per_event: int = 3
