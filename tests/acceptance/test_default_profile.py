"""`default` where one of several profiles is disconnected: Cronofy does not say which of them it stands for."""

from datetime import timedelta

from tests.acceptance.program import FOR_EVER, Planted, Program, Resident, Row, Town
from tests.acceptance.test_every_cause import relink_url

EVERYTHING = ("--starting-after", "0s")


def somebody(town: Town) -> tuple[Resident, dict[str, str]]:
    """Somebody with three video accounts, two of which are disconnected."""
    who = town.resident(integrated=True)
    lost = {
        provider: who.connect(provider, connected=provider == "ms_teams") for provider in ("zoom", "ms_teams", "go_to")
    }
    return who, lost


def cause(town: Town, event: Planted) -> str | None:
    return town.causes()[event.key]


def told(town: Town) -> dict[str | None, Row]:
    return {notice["profile_id"]: notice for notice in town.notices()}


async def test_each_profile_that_may_be_the_default_is_to_be_relinked(program: Program, town: Town) -> None:
    who, profiles = somebody(town)
    event = who.event("default", stuck=True)
    town.move_in()
    first = await program("run", "--json")
    assert (first.code, first.json["causes"]) == (0, {"profile_disconnected": 1}), first
    assert first.json["outcomes"]["noticed"] == 1
    assert first.json["notices"] == {"queued": 2, "updated": 0, "resolved": 0}
    notices = told(town)
    assert set(notices) == {profiles["zoom"], profiles["go_to"]}
    for provider in ("zoom", "go_to"):
        notice = notices[profiles[provider]]
        assert (notice["kind"], notice["provider_name"]) == ("relink_conferencing", provider)
        assert notice["relink_url"] == relink_url(who.account, provider)
        assert [e["event_id"] for e in notice["events"]] == [event.row["event_id"]]
    assert event.event.writes == []
    explained = await program("explain", *event.key)
    assert f"notice relink_conferencing about {profiles['zoom']}, {profiles['go_to']}" in explained.out
    assert "Cronofy may first send a mail" in explained.out

    who.account.reconnect(profiles["zoom"])
    second = await program("run", "--json", *EVERYTHING)
    assert second.json["notices"] == {"queued": 0, "updated": 0, "resolved": 1}, second
    assert set(told(town)) == {profiles["go_to"]}
    assert (await program("audit", "replay")).code == (await program("audit", "verify")).code == 0


async def test_a_profile_that_default_was_served_without_is_not_the_default(program: Program, town: Town) -> None:
    who, profiles = somebody(town)
    event, other = who.event("default", stuck=True), who.event("default", stuck=True)
    named = who.event(profiles["ms_teams"], stuck=True)
    linked = who.event("default", link=True)
    town.move_in()
    await program("run")
    assert cause(town, linked) == "assigned"
    assert cause(town, event) == "profile_disconnected"

    # a link that was there before, and one of an event that named its profile, prove nothing
    named.event.assign()
    second = await program("run", "--json", "--recheck-assigned", *EVERYTHING)
    assert (second.json["causes"], second.json["notices"]["resolved"]) == (
        {"assigned": 2, "profile_disconnected": 2},
        0,
    ), second

    other.event.assign()
    third = await program("run", "--json", *EVERYTHING)
    assert third.json["causes"] == {"assigned": 1, "unexplained": 1}, third
    assert (cause(town, event), town.notices()) == ("unexplained", [])
    fourth = await program("run", "--json", *EVERYTHING)
    assert fourth.json["causes"] == {"unexplained": 1}  # it is on record now
    assert (await program("audit", "replay")).code == 0

    who.account.disconnect(profiles["ms_teams"])
    fifth = await program("run", "--json", *EVERYTHING)
    assert fifth.json["causes"] == {"profile_disconnected": 1}, fifth
    assert set(told(town)) == {profiles["ms_teams"]}  # lost after that link
    assert event.event.writes == []


async def test_a_profile_lost_again_counts_from_then(program: Program, town: Town) -> None:
    who, profiles = somebody(town)
    event, other = who.event("default", stuck=True), who.event("default", stuck=True)
    town.move_in()
    await program("run")
    other.event.assign()
    await program("run", *EVERYTHING)
    assert cause(town, event) == "unexplained"
    who.account.reconnect(profiles["zoom"])
    await program("run", *EVERYTHING)
    who.account.disconnect(profiles["zoom"])
    event.event.delay_generation(FOR_EVER)
    await program("run", *EVERYTHING)
    assert cause(town, event) == "profile_disconnected"
    assert set(told(town)) == {profiles["zoom"]}


async def test_a_link_that_the_event_itself_had_once_proves_nothing(program: Program, town: Town) -> None:
    who, _ = somebody(town)
    event, other = who.event("default", stuck=True), who.event("default", age=timedelta(minutes=1), stuck=True)
    town.move_in()
    await program("run")
    event.event.assign()
    await program("run", *EVERYTHING)
    event.event.set_conferencing({"pending": True})
    await program("run", "--recheck-assigned", *EVERYTHING)
    assert cause(town, event) == "profile_disconnected"
    assert cause(town, other) == "settling"
