"""Which events are due, as the queries ask it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.domain.casework import Scope


@dataclass(frozen=True, slots=True)
class DueFilter:
    """Which events are due: the parameters of `sql/fragments/due.sql`."""

    horizon: timedelta
    scope: Scope
    recheck_assigned: bool = False

    def arguments(self, now: datetime) -> tuple[Any, ...]:
        """The fragment's arguments, in order."""
        s = self.scope
        return (
            now, self.horizon, self.recheck_assigned, bool(s.as_json()),
            _some(s.accounts), _some(s.customers), _some(s.managers), _some(s.providers), _some(s.profiles),
            _some([k.calendar_id for k in s.events]), _some([k.event_id for k in s.events]),
            s.starting_before, s.starting_after, s.written_before, s.written_after, _some(s.causes),
        )  # fmt: skip


def _some(values: Sequence[str]) -> list[str] | None:
    return list(values) or None
