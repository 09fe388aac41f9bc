"""What a run may do with a verdict: all of it, only what an approved plan says, or the way back of an earlier run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from reconciler.domain.cause import Cause
from reconciler.domain.ids import EventKey, ProfileId
from reconciler.domain.remedy import ProviderChange, Reupsert, begins_too_early, drift_of, remedy_json
from reconciler.pipeline.judge import Judged

Guide = Callable[[Judged], Judged | None]
"""The verdict to carry out, or none where the event has drifted from what was approved."""


def freely(item: Judged) -> Judged | None:
    """Carry out every verdict."""
    return item


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan says of one event."""

    cause: str
    detail: Mapping[str, Any]


def as_planned(plan: Mapping[EventKey, Planned]) -> Guide:
    """Carry out a verdict only if it is still the plan's, to the letter."""

    def guide(item: Judged) -> Judged | None:
        planned = plan.get(item.key)
        holds = planned is not None and (planned.cause, dict(planned.detail)) == (item.cause, remedy_json(item.remedy))
        return item if holds else None

    return guide


@dataclass(frozen=True, slots=True)
class Change:
    """What a run changed of one event: the profile it asked for before and after, and the write it was based on."""

    before: ProfileId
    after: ProfileId
    written_at: datetime


_NOT_TO_BE_TOUCHED = frozenset({Cause.UNREADABLE, Cause.ACCOUNT_UNAUTHORIZED, Cause.EVENT_PAST, Cause.EVENT_DELETED})


def back(run_id: UUID, changed: Mapping[EventKey, Change]) -> Guide:
    """Put back what a run changed, only where the event is still as the run left it and has no link yet."""

    def guide(item: Judged) -> Judged | None:
        change, event, evidence = changed.get(item.key), item.case.event, item.evidence
        if change is None or evidence.found is None or evidence.has_link or item.cause in _NOT_TO_BE_TOUCHED:
            return None
        if (event.profile_id, item.case.written_at) != (change.after, change.written_at):
            return None
        drift = drift_of(evidence)
        if begins_too_early(evidence, drift):
            return None
        remedy = Reupsert(change.before, None, ProviderChange.UNKNOWN, drift, undoes=str(run_id))
        return replace(item, remedy=remedy)

    return guide


def guided(judged: Sequence[Judged], guide: Guide) -> tuple[list[Judged], list[Judged]]:
    """The verdicts to carry out, and those that drifted from what was approved."""
    decided, drifted = [], []
    for item in judged:
        allowed = guide(item)
        decided += [allowed] if allowed is not None else []
        drifted += [item] if allowed is None else []
    return decided, drifted
