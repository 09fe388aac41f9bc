"""Cronofy's two rate limits, enforced at once (cronofy-api.md sections 8 and 13).

Arrivals are counted on the monotonic clock, whatever the virtual clock says. Peaks are those of the worst sliding
second and minute seen, refused requests included and also while nothing is enforced: a test reads them to prove
that a client stayed below its budget.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from reconciler.simulator.settings import Settings
from reconciler.simulator.times import http_date

SECOND, MINUTE = 1.0, 60.0


class _Sliding:
    """The sum of costs within the last `length` seconds."""

    def __init__(self, length: float) -> None:
        self.length = length
        self.total = 0
        self._entries: deque[tuple[float, int]] = deque()

    def at(self, now: float) -> int:
        """The sum as it stands now."""
        while self._entries and now - self._entries[0][0] >= self.length:
            self.total -= self._entries.popleft()[1]
        return self.total

    def add(self, now: float, cost: int) -> int:
        """Count an arrival; the sum including it."""
        self.at(now)
        self._entries.append((now, cost))
        self.total += cost
        return self.total

    def wait(self, now: float, cost: int, limit: int) -> float:
        """Seconds until `cost` fits, none if it does already; the whole window if it never will."""
        over = self.at(now) + cost - limit
        if over <= 0:
            return 0.0
        for at, spent in self._entries:
            over -= spent
            if over <= 0:
                return at + self.length - now
        return self.length


class _Fixed:
    """The sum of costs since the last boundary; boundaries lie on full seconds and minutes of the wall clock."""

    def __init__(self, length: float, shift: float) -> None:
        self.length = length
        self._shift = shift
        self._window = -1
        self.total = 0

    def at(self, now: float) -> int:
        """The sum as it stands now."""
        window = int((now + self._shift) // self.length)
        if window != self._window:
            self._window, self.total = window, 0
        return self.total

    def add(self, now: float, cost: int) -> int:
        """Count an arrival; the sum including it."""
        self.at(now)
        self.total += cost
        return self.total

    def wait(self, now: float, cost: int, limit: int) -> float:
        """Seconds until the next boundary, or none if there is room."""
        if self.at(now) + cost <= limit:
            return 0.0
        return self.length - (now + self._shift) % self.length


class Limits:
    """Both windows, and the record of how hard they were used."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget every arrival."""
        shift = time.time() - self._clock()
        self._seen = (_Sliding(SECOND), _Sliding(MINUTE))
        self._windows: dict[str, tuple[_Sliding | _Fixed, _Sliding | _Fixed]] = {
            "sliding": (_Sliding(SECOND), _Sliding(MINUTE)),
            "fixed": (_Fixed(SECOND, shift), _Fixed(MINUTE, shift)),
        }
        self.peak_second = 0
        self.peak_minute = 0
        self.refused = 0

    def arrive(self, cost: int = 1) -> float | None:
        """Count a request. None: admitted; else 429, and the seconds until it would be."""
        now = self._clock()
        self.peak_second = max(self.peak_second, self._seen[0].add(now, cost))
        self.peak_minute = max(self.peak_minute, self._seen[1].add(now, cost))
        second, minute = self._windows[self._settings.rate_window]
        per_second, per_minute = self._settings.rate_per_second, self._settings.rate_per_minute
        over = second.at(now) + cost > per_second or minute.at(now) + cost > per_minute
        refuse = over and self._settings.enforce_limits
        wait = max(second.wait(now, cost, per_second), minute.wait(now, cost, per_minute)) if refuse else 0.0
        if not refuse or self._settings.count_refused:
            for window in (*self._windows["sliding"], *self._windows["fixed"]):
                window.add(now, cost)
        self.refused += refuse
        return wait if refuse else None

    def headers(self, wait: float) -> dict[str, str]:
        """The `Retry-After` of a refusal, in the form asked for; HTTP dates go by real time."""
        seconds = max(1, math.ceil(wait))
        match self._settings.retry_after:
            case "seconds":
                return {"Retry-After": str(seconds)}
            case "date":
                return {"Retry-After": http_date(datetime.now(UTC) + timedelta(seconds=seconds))}
            case "garbage":
                return {"Retry-After": "in a little while"}
            case "none":
                return {}
