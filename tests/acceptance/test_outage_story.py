"""An outage from beginning to end: nobody is told, nothing is written, and then it is said what became of all."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape

import pytest

from tests.acceptance.program import FOR_EVER, HOURS_AGO, Done, Planted, Program, Resident, Row, Town

ZOOM_ACCOUNTS, TEAMS_ACCOUNTS = 30, 10
A_RETRY_LATER_S = 2 * 3600
"""By then Cronofy has tried again."""


@dataclass
class Story:
    """The people: those of the provider that is down, those of another, and one of another who must relink."""

    town: Town
    zoom: list[Planted] = field(default_factory=list)
    teams: list[Planted] = field(default_factory=list)
    to_relink: list[Planted] = field(default_factory=list)

    def causes(self) -> Counter[str | None]:
        """The causes on record of the events of the provider that is down."""
        causes = self.town.causes()
        return Counter(causes.get(event.key) for event in self.zoom)

    def incidents(self) -> list[Row]:
        return self.town.query("SELECT * FROM reconciler.incidents ORDER BY opened_at")

    def notices(self) -> set[str]:
        """Whom anything was asked of."""
        return {row["account_id"] for row in self.town.query("SELECT account_id FROM reconciler.notices")}

    def writes(self) -> int:
        return sum(len(event.event.writes) for event in self.town.planted)

    def entries(self) -> int:
        """How much is on record about events."""
        return sum(len(story) for story in self.town.stories().values())

    def read(self, kind: str) -> set[str | None]:
        """The accounts of which that was asked since the journal was emptied."""
        return {r.account_id for r in self.town.world.requests if r.kind == kind}


def accounts(events: list[Planted]) -> set[str | None]:
    return {event.row["account_id"] for event in events}


def begin(town: Town, *, webhooks: bool) -> Story:
    """Zoom has been down since before these events were written; with webhooks Cronofy has said so of each."""
    town.world.outage("zoom")
    town.world.settings.token_lifetime = FOR_EVER
    story = Story(town)
    for number in range(ZOOM_ACCOUNTS):
        who = town.resident()
        zoom = who.connect()
        story.zoom.append(who.event(zoom if number % 3 else "default", age=HOURS_AGO))
    for _ in range(TEAMS_ACCOUNTS):
        who = town.resident()
        story.teams.append(who.event(who.connect("ms_teams"), age=HOURS_AGO))
    who = town.resident()
    story.to_relink.append(who.event(who.connect("ms_teams", connected=False), age=HOURS_AGO))
    town.move_in()
    if webhooks:
        for event in story.zoom:
            copy_notification(town, event, timedelta(minutes=30))
    return story


def copy_notification(town: Town, event: Planted, ago: timedelta) -> None:
    """What Cronofy pushed to the application, as the application copies it in."""
    town.query(
        "INSERT INTO reconciler.notifications (received_at, account_id, calendar_id, event_id, type, payload, digest)"
        " VALUES (%s, %s, %s, %s, 'conferencing_failing', '{}', %s)",
        town.now - ago,
        event.row["account_id"],
        *event.key,
        event.name,
    )


def the_next_night(town: Town) -> None:
    """So much later that every event without a link is due again."""
    town.query("UPDATE reconciler.event_states SET next_read_at = now() WHERE settled_at IS NULL")


def recover(story: Story) -> tuple[Planted, Resident, str]:
    """Zoom is back. One event still gets no link, and one person removed the profile meanwhile."""
    failing, explained = story.zoom[1], story.zoom[2]
    failing.event.delay_generation(FOR_EVER)
    who = explained.resident
    who.account.remove_conferencing_profile(str(explained.row["profile_id"]))
    replacement = who.connect("go_to")
    story.town.world.outage("zoom", on=False)
    story.town.world.advance(A_RETRY_LATER_S)
    return failing, who, replacement


@pytest.mark.parametrize("webhooks", [False, True], ids=["without webhooks", "with webhooks"])
async def test_an_outage_from_its_beginning_to_its_end(program: Program, town: Town, webhooks: bool) -> None:
    story = begin(town, webhooks=webhooks)

    # the first night: one incident, nobody is bothered, nothing is written
    night = await program("run", "--json")
    assert (night.code, night.json["incidents"]) == (0, {"opened": 1, "closed": 0}), night
    assert story.causes() == {"provider_outage": ZOOM_ACCOUNTS}
    assert {town.causes()[event.key] for event in story.teams} == {"assigned"}
    assert [town.causes()[event.key] for event in story.to_relink] == ["profile_disconnected"]
    (incident,) = story.incidents()
    assert (incident["provider_name"], incident["closed_at"]) == ("zoom", None)
    assert (incident["evidence"]["accounts"], incident["evidence"]["overdue"]) == (ZOOM_ACCOUNTS, ZOOM_ACCOUNTS)
    assert story.writes() == 0
    assert story.notices() == accounts(story.to_relink)
    assert "zoom" in (await program("status")).out

    # the second night, and it is still down: nothing new
    on_record = story.entries()
    the_next_night(town)
    second = await program("run")
    assert second.code == 0, second
    assert f"outage     0 recovered, {ZOOM_ACCOUNTS} still failing, 0 newly explained" in second.out
    assert [row["incident_id"] for row in story.incidents()] == [incident["incident_id"]]
    assert story.causes() == {"provider_outage": ZOOM_ACCOUNTS}
    assert (story.writes(), story.entries(), story.notices()) == (0, on_record, accounts(story.to_relink))

    # it is back: the run on demand looks at what the outage touched, and says what became of it
    failing, removed, replacement = recover(story)
    town.world.clear_requests()
    after = await program("run", "--provider", "zoom", "--reason", "zoom is back")
    assert after.code == 0, after
    assert story.read("events") == accounts(story.zoom)
    assert story.read("userinfo") == {failing.row["account_id"], removed.account.account_id}
    assert sum(r.kind == "events" for r in town.world.requests) == ZOOM_ACCOUNTS
    recovered = ZOOM_ACCOUNTS - 2
    assert story.causes() == {
        "assigned": recovered,
        "provider_outage" if webhooks else "unexplained": 1,
        "profile_removed": 1,
    }
    assert f"outage     {recovered} recovered, 1 still failing, 1 newly explained" in after.out
    (incident,) = story.incidents()
    assert incident["closed_at"] is not None
    assert "zoom" not in (await program("status")).out
    assert [write["conferencing"]["profile_id"] for write in story.zoom[2].event.writes] == [replacement]
    assert (story.writes(), story.notices()) == (1, accounts(story.to_relink))
    await assert_the_report_says_so(program, town, recovered, failing)
    assert town.world.violations == []
    assert (await program("audit", "verify")).code == (await program("audit", "replay")).code == 0


async def assert_the_report_says_so(program: Program, town: Town, recovered: int, failing: Planted) -> None:
    """Of the run on demand, in both forms."""
    (run,) = town.query("SELECT run_id, reason FROM reconciler.runs WHERE reason IS NOT NULL")
    report = await program("report", "--run", str(run["run_id"]), "--format", "json")
    outage = {"recovered": recovered, "still_failing": 1, "newly_explained": 1, "over": 0}
    assert (report.json["run"]["reason"], report.json["run"]["outage"]) == ("zoom is back", outage)
    assert report.json["totals"]["linked"] == recovered
    lines = [line for m in report.json["account_managers"] for c in m["customers"] for line in c["at_risk"]]
    assert failing.row["event_id"] in {line["event_id"] for line in lines}
    page = unescape((await html(program, str(run["run_id"]))).out)
    assert "zoom is back" in page
    assert f"{recovered} have recovered, 1 is still failing, 1 has another reason now." in page


async def html(program: Program, run_id: str) -> Done:
    return await program("report", "--run", run_id, "--format", "html")
