"""A write that waits for its turn: what it rests on is looked at again when the turn has come."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from reconciler.simulator import Fault
from tests.acceptance.program import DAYS_AGO, Planted, Program, Town

UPSERTS = r"/calendars/.*/events$"

Change = Callable[[Town, Planted], None]


def rewrite(town: Town, event: Planted) -> None:
    body = Jsonb({**event.row["body"], "summary": "Said anew"})
    sql = "UPDATE reconciler.events SET body = %s, written_at = now() WHERE (calendar_id, event_id) = (%s, %s)"
    town.query(sql, body, *event.key)


def cancel(town: Town, event: Planted) -> None:
    sql = "UPDATE reconciler.events SET cancelled_at = now() WHERE (calendar_id, event_id) = (%s, %s)"
    town.query(sql, *event.key)


def link(_: Town, event: Planted) -> None:
    event.event.assign()


def delete(_: Town, event: Planted) -> None:
    event.event.deleted = True


def move(_: Town, event: Planted) -> None:
    start = event.event.start.instant() + timedelta(hours=1)
    event.event.move_by_user(start, start + timedelta(minutes=30))


BY_THE_APPLICATION = [rewrite, cancel]
IN_THE_CALENDAR = [link, delete, move]


def lost(town: Town, events: int = 1) -> list[Planted]:
    """Somebody with events whose profile is gone and a profile to take its place."""
    who = town.resident()
    who.connect()
    return [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(events)]


async def left_alone(program: Program, town: Town, event: Planted) -> None:
    """It was not written; the trail says why, and stands."""
    assert event.event.writes == []
    assert town.stories()[event.key] == ["repair:intended", "repair:unneeded"]
    assert town.world.violations == []
    assert (await program("audit", "verify")).code == 0


@pytest.mark.parametrize("change", [*BY_THE_APPLICATION, *IN_THE_CALENDAR])
async def test_a_write_that_was_put_off_is_not_made_when_its_ground_is_gone(
    program: Program, town: Town, change: Change
) -> None:
    (event,) = lost(town)
    town.move_in()
    busy = town.world.faults.add(Fault("status", status=429, headers={"Retry-After": "2"}, match_path=UPSERTS, times=1))
    running = await program.start("run", "--json")
    await running.until(lambda: busy.hits == 1)
    change(town, event)
    done = await running.end()
    assert done.code == 0, done
    await left_alone(program, town, event)


async def test_of_a_batch_that_was_put_off_the_rest_is_written(program: Program, town: Town) -> None:
    events = lost(town, 3)
    town.move_in()
    busy = town.world.faults.add(
        Fault("status", status=429, headers={"Retry-After": "2"}, match_path="/v1/batch", times=1)
    )
    running = await program.start("run", "--json")
    await running.until(lambda: busy.hits == 1)
    cancel(town, events[0])
    link(town, events[1])
    done = await running.end()
    assert (done.code, done.json["outcomes"]["repaired"]) == (0, 1), done
    assert [len(event.event.writes) for event in events] == [0, 0, 1]
    assert town.world.violations == []


@pytest.mark.parametrize("change", [*BY_THE_APPLICATION, link])
async def test_a_write_that_waits_out_the_pause_of_another_account_is_looked_at_again(
    program: Program, town: Town, change: Change
) -> None:
    (event,) = lost(town)
    other = town.resident()
    other.event(other.connect(), age=DAYS_AGO, stuck=True)
    town.move_in()
    faults = town.world.faults
    slow = faults.add(Fault("hold", match_path="/userinfo", account_id=event.row["account_id"]))
    busy = faults.add(
        Fault("status", status=429, headers={"Retry-After": "2"}, account_id=other.account.account_id, times=1)
    )
    running = await program.start("run", "--json")
    await running.until(lambda: busy.hits == 1 and slow.held == 1)
    change(town, event)
    faults.remove(slow)
    done = await running.end()
    assert done.code == 0, done
    assert event.event.writes == []
    assert town.world.violations == []


@pytest.mark.parametrize("change", BY_THE_APPLICATION)
async def test_a_write_whose_answer_was_lost_is_not_repeated_when_the_row_has_changed(
    program: Program, town: Town, change: Change
) -> None:
    (event,) = lost(town)
    town.move_in()
    broken = town.world.faults.add(Fault("reset", match_path=UPSERTS, times=1))
    running = await program.start("run", "--json")
    await running.until(lambda: broken.hits == 1)
    change(town, event)
    await running.end()
    assert event.event.writes == []
    assert town.world.violations == []
    assert (await program("audit", "verify")).code == 0
