"""Outages of the services that come with a calendar, outages that Cronofy said, and for how long they are a cause."""

from datetime import timedelta

from tests.acceptance.program import HOURS_AGO, Planted, Program, Row, Town

EVERYTHING = ("--starting-after", "0s")


def people(town: Town, many: int, *, calendars: str = "google", asked: str = "integrated") -> list[Planted]:
    return [town.resident(calendars=calendars, customer=None).event(asked, age=HOURS_AGO) for _ in range(many)]  # type: ignore[arg-type]


def incidents(town: Town) -> list[Row]:
    return town.query("SELECT * FROM reconciler.incidents ORDER BY opened_at")


def causes(town: Town, events: list[Planted]) -> set[str | None]:
    on_record = town.causes()
    return {on_record.get(event.key) for event in events}


def push(town: Town, event: Planted, subtype: str | None, ago: timedelta = timedelta(minutes=30)) -> None:
    town.query(
        "INSERT INTO reconciler.notifications (received_at, account_id, calendar_id, event_id, type, subtype)"
        " VALUES (%s, %s, %s, %s, 'conferencing_failing', %s)",
        town.now - ago,
        event.row["account_id"],
        *event.key,
        subtype,
    )


async def test_an_outage_of_a_calendars_own_service_is_no_lost_licence_until_it_lasts_too_long(
    program: Program, town: Town
) -> None:
    meet = [*people(town, 5), *people(town, 2, asked="default")]
    teams = people(town, 3, calendars="exchange")
    for event in teams:
        event.event.assign()
    lost = people(town, 1, calendars="exchange")
    town.world.licence_lost(lost[0].resident.account)
    town.world.outage("google_meet")
    town.move_in()
    night = await program("run", "--json")
    assert (night.code, night.json["incidents"]) == (0, {"opened": 1, "closed": 0}), night
    assert (causes(town, meet), causes(town, lost)) == ({"provider_outage"}, {"missing_meeting_url"})
    (incident,) = incidents(town)
    assert (incident["provider_name"], incident["evidence"]["said_by"]) == ("google_meet", "inferred")
    assert (incident["evidence"]["accounts"], incident["evidence"]["customers"]) == (7, 7)
    assert [n["account_id"] for n in town.notices()] == [lost[0].row["account_id"]]
    assert all(event.event.writes == [] for event in meet)

    # a day later it can no longer be that alone
    town.query("UPDATE reconciler.incidents SET opened_at = opened_at - interval '23 hours'")
    assert (await program("run", *EVERYTHING)).code == 0
    assert causes(town, meet) == {"provider_outage"}
    town.query("UPDATE reconciler.incidents SET opened_at = opened_at - interval '2 hours'")
    later = await program("run", "--json", *EVERYTHING)
    assert (causes(town, meet), later.json["incidents"]) == ({"missing_meeting_url"}, {"opened": 0, "closed": 0})
    assert {n["kind"] for n in town.notices()} == {"restore_licence"}
    assert len(town.notices()) == len(meet) + 1

    town.world.outage("google_meet", on=False)
    town.world.advance(4000)
    back = await program("run", "--json", *EVERYTHING)
    assert back.json["incidents"] == {"opened": 0, "closed": 1}, back
    assert causes(town, meet) == {"assigned"}
    assert len(town.notices()) == 1
    assert (await program("audit", "replay")).code == (await program("audit", "verify")).code == 0


async def test_licences_that_cronofy_says_are_lost_are_no_outage(program: Program, town: Town) -> None:
    events = people(town, 6)
    for event in events:
        town.world.licence_lost(event.resident.account)
        push(town, event, None, timedelta(minutes=40))
        push(town, event, "missing_meeting_url")
    town.move_in()
    done = await program("run", "--json")
    assert (done.json["incidents"]["opened"], done.json["notices"]["queued"]) == (0, 6), done
    assert causes(town, events) == {"missing_meeting_url"}


async def test_what_cronofy_says_of_a_provider_is_an_incident_too(program: Program, town: Town) -> None:
    events = []
    for _ in range(12):
        who = town.resident()
        events.append(who.event(who.connect(), age=HOURS_AGO))
    told, unlike, fine = events[:2], events[2], events[3:]
    for event in (*told, unlike):
        event.event.delay_generation(1e6)
    for event in fine:
        event.event.assign()
    for event in told:
        push(town, event, None)
    town.move_in()
    done = await program("run", "--json")
    assert done.json["incidents"] == {"opened": 1, "closed": 0}, done
    (incident,) = incidents(town)
    assert (incident["provider_name"], incident["evidence"]["said_by"]) == ("zoom", "notified")
    assert (incident["evidence"]["told"], incident["evidence"]["told_accounts"]) == (2, 2)
    assert causes(town, [*told, unlike]) == {"provider_outage"}

    for event in (*told, unlike):
        event.event.assign()
    back = await program("run", "--json", *EVERYTHING)
    assert back.json["incidents"] == {"opened": 0, "closed": 1}, back
