"""How many requests a task's work took."""

from collections.abc import Callable
from contextvars import copy_context

from reconciler.pipeline.meter import TaskMeter


def in_a_task_of_its_own(work: Callable[[], dict[str, int]]) -> dict[str, int]:
    return copy_context().run(work)


def test_requests_are_counted_by_kind_and_in_all() -> None:
    meter = TaskMeter()

    def work() -> dict[str, int]:
        meter.begin()
        meter.count("events")
        meter.count("events")
        meter.count("batch", 50)
        return meter.taken()

    assert in_a_task_of_its_own(work) == {"events": 2, "batch": 50, "total": 52}


def test_retried_and_refused_tell_of_requests_counted_already() -> None:
    meter = TaskMeter()

    def work() -> dict[str, int]:
        meter.begin()
        for kind in ("userinfo", "retried", "userinfo", "refused"):
            meter.count(kind)
        return meter.taken()

    assert in_a_task_of_its_own(work) == {"userinfo": 2, "retried": 1, "refused": 1, "total": 2}


def test_a_task_begins_at_nothing() -> None:
    meter = TaskMeter()

    def work() -> dict[str, int]:
        meter.begin()
        meter.count("token")
        meter.begin()
        return meter.taken()

    assert in_a_task_of_its_own(work) == {}


def test_each_task_counts_for_itself() -> None:
    meter = TaskMeter()

    def inner() -> dict[str, int]:
        meter.begin()
        meter.count("upsert")
        return meter.taken()

    def outer() -> dict[str, int]:
        meter.begin()
        meter.count("events")
        assert in_a_task_of_its_own(inner) == {"upsert": 1, "total": 1}
        return meter.taken()

    assert in_a_task_of_its_own(outer) == {"events": 1, "total": 1}


def test_what_no_task_began_is_not_counted() -> None:
    meter = TaskMeter()

    def work() -> dict[str, int]:
        meter.count("events")
        return meter.taken()

    assert in_a_task_of_its_own(work) == {}


def test_the_tally_that_was_taken_is_a_copy() -> None:
    meter = TaskMeter()

    def work() -> dict[str, int]:
        meter.begin()
        meter.taken()["total"] = 9
        return meter.taken()

    assert in_a_task_of_its_own(work) == {}
