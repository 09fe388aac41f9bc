"""One key, several entries in a listing: whatever they are, nothing is moved, closed or written that should not be."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from reconciler.simulator.events import Event
from reconciler.simulator.times import Moment
from tests.acceptance.program import DAYS_AGO, Planted, Program, Town, all_day

BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1"}
WEEK = timedelta(days=7)
WEEKLY = {"recurrence": {"rule": "FREQ=WEEKLY", "count": 3}}


def a_lost_event(town: Town, **more: Any) -> Planted:
    """An event whose profile is gone, of somebody who has another to take its place."""
    who = town.resident()
    who.connect()
    return who.event("pro_gone", age=DAYS_AGO, stuck=True, **more)


def another_entry(event: Planted, later: timedelta = timedelta(), **changes: Any) -> Event:
    """One more entry under the event's key, so much later."""
    first = event.event
    start, end = (Moment(m.instant() + later, "Etc/UTC") for m in (first.start, first.end))
    made = replace(
        first, start=start, end=end, spans=[(start, end)], conference=replace(first.conference), writes=[], **changes
    )
    event.resident.account.events.append(made)
    return made


def postpone(event: Event, by: timedelta) -> None:
    """Let the entry stand later, and have stood nowhere else."""
    event.start, event.end = (Moment(m.instant() + by, "Etc/UTC") for m in (event.start, event.end))
    event.spans = [(event.start, event.end)]


async def test_the_safest_reading_of_several_entries_holds(program: Program, town: Town) -> None:
    series = a_lost_event(town, body=WEEKLY)
    another_entry(series, WEEK)
    another_entry(series, 2 * WEEK)

    linked = a_lost_event(town, body=WEEKLY)
    another_entry(linked, WEEK).assign()

    skipped = a_lost_event(town)
    another_entry(skipped, deleted=True)
    postpone(skipped.event, WEEK)

    over = a_lost_event(town, body=WEEKLY)
    another_entry(over, WEEK, deleted=True)
    another_entry(over, 2 * WEEK, status="canceled")
    over.event.delete_by_user()

    twice = a_lost_event(town)
    moved_to = twice.event.start.instant() + timedelta(hours=1)
    twice.event.move_by_user(moved_to, moved_to + timedelta(minutes=30))
    another_entry(twice)

    moved = a_lost_event(town, body=WEEKLY)
    moved.event.move_by_user(moved.event.start.instant() + WEEK, moved.event.end.instant() + WEEK)

    day = (town.now + timedelta(days=30)).date()
    whole_day = a_lost_event(town, body=all_day(day))
    midnights = [Moment(Moment(d, "Etc/UTC").instant(), "Etc/UTC") for d in (day, day + timedelta(days=1))]
    whole_day.event.place(*midnights)

    town.move_in()
    done = await program("run", "--json", env=BOLD)
    assert done.code == 0, done.err
    assert done.json["requests"]["events"] == len(town.residents) + 3  # one shown as gone, two written at stored times
    assert town.causes() == {
        **{event.key: "profile_removed" for event in (series, skipped, twice, moved, whole_day)},
        linked.key: "assigned",
        over.key: "event_deleted",
    }

    profile = {p.key: p.resident.account.conferencing_profiles[0].profile_id for p in town.planted}
    for event in (series, skipped, moved, whole_day):
        assert event.event.writes == [event.asking_for(profile[event.key])]
    (written,) = twice.event.writes
    assert written["start"] == twice.event.start.render(localized=False) != twice.row["body"]["start"]
    assert linked.event.writes == over.event.writes == []
    assert town.world.violations == []

    assert (await program("audit", "replay")).code == 0
    told = await program("explain", *series.key)
    assert "listed at several times, the last begins" in told.out


async def test_an_event_that_is_moved_while_its_pages_are_read_is_not_moved_back(program: Program, town: Town) -> None:
    """The older copy and the newer one look like two occurrences: the look before the write shows which it was."""
    event = a_lost_event(town)
    listed_once(another_entry(event))
    later = event.event.start.instant() + timedelta(hours=1)
    event.event.move_by_user(later, later + timedelta(minutes=30))
    town.move_in()
    await program("run", "--json", env=BOLD)
    assert event.event.writes == []
    assert town.stories()[event.key] == ["repair:intended", "repair:unneeded"]
    await program("run", "--json", "--starting-after", "1s", env=BOLD)
    (written,) = event.event.writes
    assert written["start"] == later.strftime("%Y-%m-%dT%H:%M:%SZ")


def listed_once(event: Event) -> None:
    """It is in the next listing and in none after it."""
    shown = event.as_read

    def once(**how: bool) -> dict[str, Any]:
        event.forgotten = True
        return shown(**how)

    event.as_read = once  # type: ignore[method-assign]
