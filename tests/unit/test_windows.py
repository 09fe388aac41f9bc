"""The cheapest windows: against brute force, and where it is plain what is cheapest."""

from collections.abc import Iterator
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.windows import Days, cheapest_windows, pages

START = date(2026, 3, 1)
PAGE = 10


def on(*days: int) -> list[Days]:
    return [Days(START + timedelta(days=n), START + timedelta(days=n)) for n in days]


def crowd(counts: dict[int, int]) -> dict[date, int]:
    return {START + timedelta(days=n): count for n, count in counts.items()}


def cost_of(windows: list[Days], density: dict[date, int], page_size: int) -> int:
    return sum(
        pages(sum(n for day, n in density.items() if window.first <= day <= window.last), page_size)
        for window in windows
    )


def test_few_events_between_two_due_days_make_one_window() -> None:
    assert cheapest_windows(on(0, 9), crowd({0: 1, 4: 3, 9: 1}), PAGE) == [Days(START, START + timedelta(days=9))]


def test_many_events_between_two_due_days_make_two_windows() -> None:
    assert cheapest_windows(on(0, 9), crowd({0: 1, 4: 30, 9: 1}), PAGE) == on(0, 9)


def test_of_equally_cheap_sets_the_fewest_windows_are_taken() -> None:
    assert len(cheapest_windows(on(0, 9), crowd({0: 1, 4: 10, 9: 1}), PAGE)) == 1


def test_nothing_due_needs_no_window() -> None:
    assert cheapest_windows([], {}, PAGE) == []


def partitions(spans: list[Days]) -> Iterator[list[list[Days]]]:
    if not spans:
        yield []
        return
    for cut in range(1, len(spans) + 1):
        for rest in partitions(spans[cut:]):
            yield [spans[:cut], *rest]


spans = st.builds(
    lambda first, length: Days(START + timedelta(days=first), START + timedelta(days=first + length)),
    st.integers(0, 30),
    st.integers(0, 2),
)


@given(
    due=st.lists(spans, min_size=1, max_size=7),
    counts=st.dictionaries(st.integers(0, 33), st.integers(0, 40), max_size=20),
    page_size=st.integers(1, 20),
)
def test_it_is_as_cheap_as_the_best_of_all_partitions_and_covers_everything(
    due: list[Days], counts: dict[int, int], page_size: int
) -> None:
    density = crowd(counts)
    chosen = cheapest_windows(due, density, page_size)
    assert all(any(w.first <= d.first and d.last <= w.last for w in chosen) for d in due)
    best = min(
        cost_of([Days(g[0].first, max(d.last for d in g)) for g in groups], density, page_size)
        for groups in partitions(sorted(set(due)))
    )
    assert cost_of(chosen, density, page_size) == best
