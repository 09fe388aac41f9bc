"""The cheapest set of time windows that covers an account's due events: exact, by dynamic programming.

A listing costs its pages, at least one. Many managed events between two due ones make two narrow windows cheaper than a
wide one; few make one window cheaper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate

PAGE_SIZE_GUESS = 100
"""Events on a page until a listing with more than one page has shown it; Cronofy does not document it."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Days:
    """Whole days in UTC, both included."""

    first: date
    last: date


def pages(events: int, page_size: int) -> int:
    """What a listing of so many events costs, in requests."""
    return max(1, -(-events // page_size))


def cheapest_windows(due: Sequence[Days], density: Mapping[date, int], page_size: int) -> list[Days]:
    """Windows that together cover all of `due` for the fewest requests; of several such sets, the fewest windows.

    `density` is how many managed events start on each day; a day it lacks has none. Empty for nothing due.
    """
    spans = sorted(set(due))
    if not spans:
        return []
    day_zero = spans[0].first
    length = (max(span.last for span in spans) - day_zero).days + 1
    starts = [density.get(day_zero + n * _DAY, 0) for n in range(length)]
    before = [0, *accumulate(starts)]

    def cost(window: Days) -> int:
        return pages(before[(window.last - day_zero).days + 1] - before[(window.first - day_zero).days], page_size)

    best: list[tuple[int, int, list[Days]]] = [(0, 0, [])]
    for end in range(len(spans)):
        options = []
        last = spans[end].last
        for begin in range(end, -1, -1):
            last = max(last, spans[begin].last)
            window = Days(spans[begin].first, last)
            requests, windows, chosen = best[begin]
            options.append((requests + cost(window), windows + 1, [*chosen, window]))
        best.append(min(options, key=lambda option: option[:2]))
    return best[-1][2]
