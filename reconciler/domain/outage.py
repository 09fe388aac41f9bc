"""What became of the events that an earlier run had left waiting for their provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from reconciler.domain.cause import Cause

OUTAGE = "outage"
"""The group of counters that holds it."""


class AfterOutage(StrEnum):
    """What a later run finds of an event that waited for its provider; the names of the counters."""

    RECOVERED = "recovered"
    STILL_FAILING = "still_failing"
    NEWLY_EXPLAINED = "newly_explained"
    OVER = "over"


def after_outage(before: Cause | None, now: Cause) -> AfterOutage | None:
    """What became of an event; null for one that had not waited for its provider, or could not be read."""
    if before is not Cause.PROVIDER_OUTAGE:
        return None
    match now:
        case Cause.ASSIGNED:
            return AfterOutage.RECOVERED
        case Cause.PROVIDER_OUTAGE | Cause.UNEXPLAINED | Cause.SETTLING:
            return AfterOutage.STILL_FAILING
        case Cause.EVENT_DELETED | Cause.EVENT_PAST:
            return AfterOutage.OVER
        case Cause.UNREADABLE:
            return None
        case (
            Cause.ACCOUNT_UNAUTHORIZED
            | Cause.EVENT_MISSING
            | Cause.CALENDAR_UNAVAILABLE
            | Cause.CALENDAR_DISCONNECTED
            | Cause.PROVIDER_RETIRED
            | Cause.PROFILE_REMOVED
            | Cause.PROFILE_DISCONNECTED
            | Cause.INTEGRATED_UNAVAILABLE
            | Cause.MISSING_MEETING_URL
            | Cause.CONFERENCING_ABSENT
        ):
            return AfterOutage.NEWLY_EXPLAINED
    assert_never(now)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """How many events that had waited for their provider a run found in each way. `over`: deleted, or begun."""

    recovered: int = 0
    still_failing: int = 0
    newly_explained: int = 0
    over: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> "Aftermath | None":
        """From a run's counters; null where the run looked at no such event."""
        numbers = {kind.value: counts.get(kind, 0) for kind in AfterOutage}
        return cls(**numbers) if any(numbers.values()) else None

    @property
    def text(self) -> str:
        """In one phrase; what did not happen to any is left out but for the first three."""
        said = f"{self.recovered} recovered, {self.still_failing} still failing, {self.newly_explained} newly explained"
        return said + (f", {self.over} deleted or begun meanwhile" if self.over else "")
