"""Counts what each unit's task asks of Cronofy."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

_TALLY: ContextVar[dict[str, int] | None] = ContextVar("requests of this task", default=None)


class TaskMeter:
    """Implements `ports.RequestMeter`: one tally per task, `total` being every request that was started."""

    def begin(self, tally: Mapping[str, int] = MappingProxyType({})) -> None:
        """Start a new tally for the current task, or go on with this one."""
        _TALLY.set(dict(tally))

    def count(self, kind: str, cost: int = 1) -> None:
        """Add to the current task's tally. `retried` and `refused` tell of requests that are counted already."""
        tally = _TALLY.get()
        if tally is None:
            return
        tally[kind] = tally.get(kind, 0) + cost
        if kind not in {"retried", "refused"}:
            tally["total"] = tally.get("total", 0) + cost

    def taken(self) -> dict[str, int]:
        """The current task's tally."""
        return dict(_TALLY.get() or {})
