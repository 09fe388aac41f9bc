"""A town in which every cause of interface.md section 4 has befallen somebody: two runs, and what they leave behind."""

import copy
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from reconciler.simulator import Simulator, World
from reconciler.simulator.faults import Fault
from reconciler.simulator.journal import RequestRecord
from tests.acceptance.program import (
    DAYS_AGO,
    FOR_EVER,
    HOURS_AGO,
    Done,
    Key,
    Planted,
    Program,
    Resident,
    Row,
    Town,
    all_day,
    fresh_database,
    settings_for,
)

EVERYTHING = ("--starting-after", "0s")
"""A scope that holds every future event, whenever it was to be read again."""

PERSON, MANAGER = "person", "manager"

ODD_BODY: dict[str, Any] = {
    "summary": "Vorstellungsgespräch – 面接 🎯 “Zoë”",
    "description": 'Zeile 1\n\tZeile 2 \\ "quoted" </script> \u2028',
    "location": {"description": "東京都渋谷区", "lat": "35.6", "long": "139.70"},
    "reminders": [{"minutes": 60}, {"minutes": 0}],
    "x_unknown": {"deep": [[1, {"ü": None}], True, "", []], "big": 12345678901234567890123, "fraction": 0.1},
    "x_empty": {},
    "transparency": "opaque",
    "attendees": {"invite": [{"email": "guest@elsewhere.example", "display_name": "Ольга"}], "remove": []},
}


@dataclass
class Expected:
    """What the first run should make of the town."""

    causes: dict[Key, str] = field(default_factory=dict)
    notices: dict[tuple[str, str, str | None], dict[str, Any]] = field(default_factory=dict)
    upserts: dict[Key, dict[str, Any]] = field(default_factory=dict)
    untouched: list[Planted] = field(default_factory=list)

    def cause(self, cause: str, *events: Planted) -> None:
        """All of these have this cause."""
        for event in events:
            assert event.key not in self.causes
            self.causes[event.key] = cause

    def notice(
        self, kind: str, profile_id: str | None, *events: Planted, to: str = PERSON, url: str | None = None
    ) -> None:
        """One notice for these events of one person."""
        who = events[0].resident
        self.notices[who.account.account_id, kind, profile_id] = {
            "recipient": who.account.email if to == PERSON else who.row["account_manager"],
            "relink_url": url,
            "events": [e.key for e in sorted(events, key=lambda e: e.row["starts_at"])],
            "customer": who.row["customer"],
            "account_manager": who.row["account_manager"],
        }

    def upsert(self, event: Planted, profile_id: str, **changes: Any) -> None:
        """One write that asks for this profile and changes nothing else, but what is given."""
        self.upserts[event.key] = event.asking_for(profile_id, **changes)

    def not_due(self, *events: Planted) -> None:
        """None of the reconciler's business."""
        self.untouched += events


def relink_url(account: Any, provider: str) -> str:
    host = "app" if account.data_center == "us" else f"app-{account.data_center}"
    return f"https://{host}.cronofy.com/v2/relink/{provider}?email={account.email.replace('@', '%40')}"


def stamp(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


@dataclass
class Characters:
    """Those who matter again in the second run."""

    relinked: Resident
    relinked_profile: str
    unpaid: Resident
    returning: Resident
    returned: Planted
    missing: list[Planted]
    slow: list[Planted]
    same_names: Resident
    newcomer: Planted


def build(town: Town, want: Expected) -> Characters:
    unreadable(town, want)
    returning, returned = unauthorized(town, want)
    over(town, want)
    assigned(town, want)
    missing = gone(town, want)
    calendars(town, want)
    settling(town, want)
    retired(town, want)
    removed(town, want)
    relinked, profile = disconnected(town, want)
    unpaid = integrated(town, want)
    outage(town, want)
    slow = absent_and_unexplained(town, want)
    not_due(town, want)
    same = town.resident("Same Names", calendars="exchange", integrated=False)
    same.connection("zoom", "Sales")
    old = same.connection("zoom", "Private")
    waiting = same.event(old.profile_id, age=timedelta(minutes=1), stuck=True)
    same.connection("zoom", "Spare")
    same.connection("ms_teams", "Private")
    want.cause("settling", waiting)
    return Characters(relinked, profile, unpaid, returning, returned, missing, slow, same, waiting)


def unreadable(town: Town, want: Expected) -> None:
    broken = town.resident("Henrike Möller")
    want.cause("unreadable", *(broken.event(broken.connect(), age=DAYS_AGO) for _ in range(2)))
    town.world.faults.add(Fault("status", status=500, account_id=broken.account.account_id, match_path="^/v1/"))
    rosterless = town.resident("Ángel Muñoz")
    zoom = rosterless.connect()
    want.cause("unreadable", rosterless.event(zoom, stuck=True))
    want.cause("assigned", rosterless.event(zoom, link=True))
    town.world.faults.add(
        Fault("html", status=404, account_id=rosterless.account.account_id, match_path="^/v1/userinfo")
    )
    elsewhere = town.resident("Grace Achieng")
    want.cause("unreadable", elsewhere.event(elsewhere.connect()))
    page = {"pages": {"next_page": "https://collector.example/v1/events/pages/1"}, "events": []}
    town.world.faults.add(
        Fault("status", status=200, body=page, account_id=elsewhere.account.account_id, match_path="^/v1/events")
    )
    garbled = town.resident("Tomás Ó Sé")
    one, other = garbled.event(garbled.connect()), garbled.event("default")
    shown = [one.event.as_read(), other.event.as_read()]
    shown[0] |= {"start": "next Tuesday"}
    shown[1] |= {"conferencing": {"provider_name": "zoom", "join_url": "https://zoom.example/j/1"}, "surprise": [{}]}
    town.world.faults.add(
        Fault(
            "status",
            status=200,
            body={"pages": {"current": 1, "total": 1}, "events": [*shown, {"event_id": 5}, {}]},
            account_id=garbled.account.account_id,
            match_path="^/v1/events",
        )
    )
    want.cause("unreadable", one)
    want.cause("assigned", other)


def unauthorized(town: Town, want: Expected) -> tuple[Resident, Planted]:
    revoked = town.resident("Ondřej Novák")
    zoom = revoked.connect()
    lost = [revoked.event(zoom), revoked.event("default")]
    revoked.account.revoke()
    narrow = town.resident("Linh Trần", scope="list_calendars create_event")
    barred = [narrow.event(narrow.connect())]
    tokenless = town.resident("Kwame Mensah", access_token=None, refresh_token=None)
    silent = [tokenless.event(tokenless.connect())]
    blank = town.resident("Isla MacDonald", access_token=" ", refresh_token="")
    blanked = [blank.event(blank.connect())]
    for events in (lost, barred, silent, blanked):
        want.cause("account_unauthorized", *events)
        want.notice("reauthorize_account", None, *events)
    return revoked, lost[0]


def over(town: Town, want: Expected) -> None:
    who = town.resident("Đorđe Petrović")
    zoom = who.connect()
    deleted, cancelled, early, whole_day = (who.event(zoom, age=DAYS_AGO, stuck=True) for _ in range(4))
    deleted.event.delete_by_user()
    cancelled.event.status = "cancelled"
    early.event.move_by_user(town.now - timedelta(hours=3), town.now - timedelta(hours=2))
    yesterday = town.now.date() - timedelta(days=1)
    whole_day.event.move_by_user(yesterday, yesterday + timedelta(days=1))
    want.cause("event_deleted", deleted, cancelled)
    want.cause("event_past", early, whole_day)
    linked_and_deleted = who.event(zoom, link=True)
    linked_and_deleted.event.delete_by_user()
    want.cause("event_deleted", linked_and_deleted)
    for event in (deleted, early, linked_and_deleted):
        assert event.key in want.causes


def assigned(town: Town, want: Expected) -> None:
    for provider in ("zoom", "ms_teams", "go_to"):
        who = town.resident(f"Happy with {provider}", data_center="de" if provider == "zoom" else "us")
        profile = who.connect(provider)
        for _ in range(5):
            want.cause("assigned", who.event(profile, link=True))
        want.cause("assigned", who.event("default", link=True), who.event("default", link=True, age=DAYS_AGO))
    bare = town.resident("Emily Tanaka")
    want.cause("assigned", bare.event("integrated", link=True), bare.event("default", link=True))
    lucky = town.resident("Chloé Martin")
    gone = lucky.connect()
    want.cause("assigned", lucky.event(gone, link=True, body=all_day(town.now.date() + timedelta(days=9))))
    lucky.account.remove_conferencing_profile(gone)
    expired = town.resident("Maria Santos", token_expires_at=town.now - timedelta(hours=1))
    want.cause("assigned", expired.event(expired.connect(), link=True))
    expired.account.expire_token()


def gone(town: Town, want: Expected) -> list[Planted]:
    who = town.resident("Nguyễn Thị Hương")
    zoom = who.connect()
    missing = [who.event(zoom, age=DAYS_AGO), who.event("default")]
    for event in missing:
        event.event.forget()
    want.cause("unexplained", *missing)
    moved_out = who.event(zoom, link=True)
    later = town.now + timedelta(days=150)
    moved_out.event.move_by_user(later, later + timedelta(hours=1))
    want.cause("assigned", moved_out)
    return missing


def calendars(town: Town, want: Expected) -> None:
    for flaw in ("readonly", "deleted", "removed"):
        who = town.resident(f"Calendar {flaw}")
        zoom = who.connect()
        want.cause("calendar_unavailable", who.event(zoom, stuck=True), who.event("default", stuck=True))
        who.calendar.readonly, who.calendar.deleted = flaw == "readonly", flaw == "deleted"
        if flaw == "removed":
            who.profile.add_calendar()
            who.profile.remove_calendar(who.calendar.calendar_id)
    cut = town.resident("Ioan Popescu", calendars="exchange", data_center="uk")
    zoom = cut.connect()
    waiting = [cut.event(zoom, stuck=True), cut.event("8x8"), cut.event("integrated", stuck=True)]
    cut.profile.connected = False
    want.cause("calendar_disconnected", *waiting)
    want.notice("relink_calendar", cut.profile.profile_id, *waiting, url=relink_url(cut.account, "exchange"))


def settling(town: Town, want: Expected) -> None:
    who = town.resident("Aoife Ní Bhriain")
    zoom = who.connect()
    fresh = timedelta(minutes=2)
    want.cause(
        "settling",
        who.event(zoom, age=fresh, stuck=True),
        who.event("8x8", age=fresh),
        who.event("pro_neverthere", age=fresh, stuck=True),
        who.event(who.connect("go_to", connected=False), age=fresh, stuck=True),
    )


def retired(town: Town, want: Expected) -> None:
    one = town.resident("Κατερίνα Παπαδοπούλου")
    zoom = one.connect()
    one.connect("ms_teams", connected=False)
    event = one.event("8x8", age=DAYS_AGO)
    want.upsert(event, zoom)
    several = town.resident("Олена Шевченко")
    several.connect("ms_teams")
    several.connect("zoom")
    second = several.event("8x8")
    want.upsert(second, "default")
    meet = town.resident("김민준")
    third = meet.event("8x8")
    want.upsert(third, "integrated")
    nothing = town.resident("Hannah Goldberg", integrated=False)
    fourth = nothing.event("8x8")
    want.notice("connect_conferencing", None, fourth)
    want.cause("provider_retired", event, second, third, fourth)


def removed(town: Town, want: Expected) -> None:
    one = town.resident("Céline Dubois")
    old = one.connect("zoom")
    odd = one.event(old, age=DAYS_AGO, body=copy.deepcopy(ODD_BODY) | {"conferencing": {"profile_id": old, "x": [1]}})
    moved = one.event(old)
    later = moved.event.starts_at + timedelta(days=2)
    moved.event.move_by_user(later, later + timedelta(minutes=45))
    zoned_start, zoned_end = (
        {"time": stamp(town.now + timedelta(days=5, hours=hours)), "tzid": "Asia/Tokyo"} for hours in (0, 1)
    )
    zoned = one.event(old, body={"start": zoned_start, "end": zoned_end, "tzid": "Asia/Tokyo"})
    day = town.now.date() + timedelta(days=12)
    whole_day = one.event(old, body=all_day(day) | {"tzid": "America/New_York"})
    moved_day = one.event(old, body=all_day(day))
    moved_day.event.move_by_user(day + timedelta(days=1), day + timedelta(days=3))
    no_body = one.event(old)
    no_body.row["body"] = None
    one.account.remove_conferencing_profile(old)
    new = one.connect("zoom")
    want.upsert(odd, new)
    want.upsert(moved, new, start=stamp(later), end=stamp(later + timedelta(minutes=45)))
    want.upsert(zoned, new)
    want.upsert(whole_day, new)
    want.upsert(moved_day, new, start=str(day + timedelta(days=1)), end=str(day + timedelta(days=3)))
    want.cause("profile_removed", odd, moved, zoned, whole_day, moved_day, no_body)
    none = town.resident("渡辺 翔太", integrated=False)
    lost = none.event("pro_lost", age=DAYS_AGO, stuck=True)
    want.cause("profile_removed", lost)
    want.notice("connect_conferencing", "pro_lost", lost)
    told = town.resident("山本 陽子", integrated=False)
    listed, other = told.connect("zoom"), told.connect("zoom")
    pushed = told.event(listed, stuck=True)
    want.cause("profile_removed", pushed)
    want.upsert(pushed, other)
    stale = told.event(listed, age=timedelta(minutes=40), stuck=True)
    want.cause("unexplained", stale)
    for event, ago in ((pushed, timedelta(minutes=30)), (stale, timedelta(hours=1))):
        notify(town, event, "profile_missing", ago)


def notify(town: Town, event: Planted, subtype: str | None, ago: timedelta) -> None:
    town.query(
        "INSERT INTO reconciler.notifications (received_at, account_id, calendar_id, event_id, type, subtype, payload)"
        " VALUES (%s, %s, %s, %s, 'conferencing_failing', %s, '{}')",
        town.now - ago,
        event.row["account_id"],
        *event.key,
        subtype,
    )


def disconnected(town: Town, want: Expected) -> tuple[Resident, str]:
    who = town.resident("Lukas Brandt", data_center="de")
    zoom = who.connect("zoom")
    waiting = [who.event(zoom), who.event(zoom, age=DAYS_AGO), who.event("default")]
    who.account.disconnect(zoom)
    want.cause("profile_disconnected", *waiting)
    want.notice("relink_conferencing", zoom, *waiting, url=relink_url(who.account, "zoom"))
    both = town.resident("Siân Pritchard")
    first = both.connect("go_to", connected=False)
    second = both.connect("zoom", connected=False)
    event = both.event("default")
    want.cause("profile_disconnected", event)
    want.notice("relink_conferencing", first, event, url=relink_url(both.account, "go_to"))
    want.notice("relink_conferencing", second, event, url=relink_url(both.account, "zoom"))
    return who, zoom


def integrated(town: Town, want: Expected) -> Resident:
    offered = town.resident("鈴木 さくら", integrated=False)
    zoom = offered.connect("zoom")
    event = offered.event("integrated", stuck=True)
    want.cause("integrated_unavailable", event)
    want.upsert(event, zoom)
    nothing = town.resident("João Batista", integrated=False)
    waiting = nothing.event("default")
    want.cause("integrated_unavailable", waiting)
    want.notice("connect_conferencing", None, waiting)
    unpaid = town.resident("王小明", manager="Priya Raman")
    town.world.licence_lost(unpaid.account)
    unlicensed = [unpaid.event("integrated"), unpaid.event("default", age=DAYS_AGO)]
    want.cause("missing_meeting_url", *unlicensed)
    want.notice("restore_licence", unpaid.profile.profile_id, *unlicensed, to=MANAGER)
    unknown = town.resident("Arjun Mehta", calendars="exchange", integrated=None)
    town.world.licence_lost(unknown.account)
    silent = unknown.event("integrated")
    want.cause("missing_meeting_url", silent)
    want.notice("restore_licence", unknown.profile.profile_id, silent, to=MANAGER)
    return unpaid


def outage(town: Town, want: Expected) -> None:
    for number in range(6):
        who = town.resident(f"Webex user {number}")
        profile = who.connect("webex")
        want.cause("provider_outage", who.event(profile), who.event(profile if number else "default"))
    town.world.outage("webex")
    told = town.resident("Rajesh Iyer")
    event = told.event(told.connect("ms_teams"), stuck=True)
    notify(town, event, None, timedelta(minutes=50))
    want.cause("provider_outage", event)


def absent_and_unexplained(town: Town, want: Expected) -> list[Planted]:
    who = town.resident("Mikkel Sørensen")
    zoom = who.connect()
    cleared, nulled = who.event(zoom), who.event("default")
    cleared.event.clear_conferencing()
    nulled.event.set_conferencing({})
    want.cause("conferencing_absent", cleared, nulled)
    slow = [who.event(zoom, stuck=True), who.event(zoom, age=DAYS_AGO, stuck=True)]
    want.cause("unexplained", *slow)
    return slow


def not_due(town: Town, want: Expected) -> None:
    who = town.resident("小林 真央")
    zoom = who.connect()
    room = {"profile_id": "explicit", "provider_description": "Room", "join_url": "https://rooms.example/1"}
    want.not_due(
        who.event("none"),
        who.event(None),
        who.event("explicit", body={"conferencing": room}),
        who.event(zoom, cancelled_at=town.now - timedelta(hours=1)),
        who.event(zoom, starts_in=timedelta(hours=-3)),
        who.event(zoom, starts_in=timedelta(days=205)),
    )
    parked = town.resident("Parked", state="parked", parked_reason="invalid_grant")
    want.not_due(parked.event(parked.connect(), age=DAYS_AGO))
    parked.account.revoke()


# ---------------------------------------------------------------- the two runs


@dataclass
class Snapshot:
    """The reconciler's side after a run."""

    done: Done
    states: dict[Key, Row]
    rows: dict[Key, Row]
    stories: dict[Key, list[str]]
    notices: list[Row]
    writes: dict[Key, int]


@dataclass
class Told:
    """The whole story."""

    town: Town
    program: Program
    want: Expected
    people: Characters
    first: Snapshot
    second: Snapshot
    asked: list[RequestRecord]
    """What the first run asked of Cronofy."""


def snapshot(town: Town, done: Done) -> Snapshot:
    writes = {p.key: len(p.event.writes) for p in town.planted}
    return Snapshot(done, town.states(), town.rows(), town.stories(), town.notices(), writes)


@pytest.fixture(scope="module")
async def told(server: str, template: str) -> AsyncIterator[Told]:
    world = World(seed=11)
    world.settings.rate_per_second, world.settings.rate_per_minute = 100_000, 1_000_000
    world.settings.page_size = 3
    with fresh_database(server, template) as dsn:
        async with Simulator(world) as cronofy:
            town, want = Town(world, dsn), Expected()
            people = build(town, want)
            world.advance(30)
            town.move_in()
            program = Program(settings_for(dsn, cronofy.url) | {"RECONCILER_MAX_REPAIR_SHARE": "0.9"})
            first = snapshot(town, await program("run", "--json", "--reason", "the first night"))
            asked = list(world.requests)
            turn_for_the_better(town, people)
            second = snapshot(town, await program("run", "--json", *EVERYTHING))
            yield Told(town, program, want, people, first, second, asked)


def turn_for_the_better(town: Town, people: Characters) -> None:
    """A day later: links made, a profile relinked, a licence bought, a grant given anew, one profile removed."""
    town.world.outage("webex", on=False)
    people.relinked.account.reconnect(people.relinked_profile)
    town.world.licence_lost(people.unpaid.account, lost=False)
    people.returning.account.authorize()
    town.query(
        "UPDATE reconciler.accounts SET access_token = %s, refresh_token = %s, state = 'active' WHERE account_id = %s",
        people.returning.account.access_token,
        people.returning.account.refresh_token,
        people.returning.account.account_id,
    )
    private = people.same_names.account.conferencing_profiles[1]
    people.same_names.account.remove_conferencing_profile(private.profile_id)
    people.same_names.connection("zoom", "Private")
    town.query(
        "UPDATE reconciler.events SET written_at = %s WHERE calendar_id = %s AND event_id = %s",
        town.now - HOURS_AGO,
        *people.newcomer.key,
    )
    town.world.advance(4000)
    for slow in (*people.slow, people.newcomer):
        slow.event.delay_generation(FOR_EVER)


def named(notice: Row) -> tuple[str, str, str | None]:
    return notice["account_id"], notice["kind"], notice["profile_id"]


def keys_of(notice: Row) -> list[Key]:
    return [(e["calendar_id"], e["event_id"]) for e in notice["events"]]


def test_each_event_has_its_cause_on_record(told: Told) -> None:
    found = {key: row["cause"] for key, row in told.first.states.items()}
    readable = {key: cause for key, cause in told.want.causes.items() if cause != "unreadable"}
    assert {k: (found.get(k), c) for k, c in readable.items() if found.get(k) != c} == {}
    assert found.keys() == readable.keys()


def test_every_cause_but_missing_was_met_at_first(told: Told) -> None:
    assert told.first.done.json["causes"] == Counter(told.want.causes.values())


def test_what_is_none_of_its_business_is_left_alone(told: Told) -> None:
    for planted in told.want.untouched:
        assert planted.key not in told.second.states
        assert planted.event.writes == []
    busy = {p.resident.account.account_id for p in told.town.planted if p.key in told.want.causes}
    asked = {r.account_id for r in told.town.world.requests}
    assert asked <= busy


def test_each_notice_that_is_due_is_queued_and_no_other(told: Told) -> None:
    shown = {named(n): n for n in told.first.notices}
    assert len(shown) == len(told.first.notices)
    assert shown.keys() == told.want.notices.keys()
    for name, want in told.want.notices.items():
        notice = shown[name]
        assert {field: notice[field] for field in ("recipient", "relink_url", "customer", "account_manager")} == {
            field: want[field] for field in ("recipient", "relink_url", "customer", "account_manager")
        }, name
        assert keys_of(notice) == want["events"], name
        assert notice["events_affected"] == len(want["events"])
        assert notice["first_event_at"] == told.first.rows[want["events"][0]]["starts_at"]
        assert notice["sent_count"] == 0


def test_each_repair_is_the_stored_body_with_the_profile_changed_and_nothing_else(told: Told) -> None:
    first = {p.key: p.event.writes[: told.first.writes[p.key]] for p in told.town.planted}
    assert {key: writes for key, writes in first.items() if writes} == {
        key: [body] for key, body in told.want.upserts.items()
    }


def test_the_applications_rows_follow_the_repairs_in_the_profile_alone(told: Told) -> None:
    before = {p.key: p.row for p in told.town.planted}
    for key, row in told.first.rows.items():
        want = dict(before[key])
        if key in told.want.upserts:
            asked = told.want.upserts[key]["conferencing"]["profile_id"]
            want["profile_id"] = asked
            want["body"] = {**want["body"], "conferencing": {**want["body"]["conferencing"], "profile_id": asked}}
        assert row == want, key


def test_nothing_that_was_asked_of_cronofy_was_wrong(told: Told) -> None:
    assert told.town.world.violations == []
    assert all(p.event.links_made <= 1 for p in told.town.planted)


def test_the_summary_adds_up(told: Told) -> None:
    summary, want = told.first.done.json, told.want
    causes = Counter(want.causes.values())
    accounts = {p.resident.account.account_id for p in told.town.planted if p.key in want.causes}
    parked = {
        p.resident.account.account_id for p in told.town.planted if want.causes.get(p.key) == "account_unauthorized"
    }
    failed = {p.resident.account.account_id for p in told.town.planted if want.causes.get(p.key) == "unreadable"}
    assert summary["accounts"] == {
        "due": len(accounts),
        "done": len(accounts) - len(parked) - len(failed),
        "failed": len(failed),
        "parked": len(parked),
        "left": 0,
    }
    settled = causes["assigned"] + causes["event_deleted"] + causes["event_past"]
    unread = causes["unreadable"] + causes["account_unauthorized"]
    assert summary["events"] == {"due": len(want.causes), "read": len(want.causes) - unread, "settled": settled}
    assert summary["outcomes"] == {
        "repaired": len(want.upserts),
        "repair_rejected": 0,
        "repair_in_doubt": 0,
        "confirmed": 0,
        "noticed": len({key for n in want.notices.values() for key in n["events"]}),
        "waiting": causes["settling"] + causes["provider_outage"] + causes["unexplained"] - 1,
        "escalated": 1,
        "reported": causes["calendar_unavailable"] + causes["conferencing_absent"] + 1,
    }
    assert summary["notices"] == {"queued": len(want.notices), "updated": 0, "resolved": 0}
    assert summary["incidents"] == {"opened": 1, "closed": 0}
    assert {error["account_id"] for error in summary["errors"]} == failed
    assert told.first.done.code == 3
    assert (summary["status"], summary["reason"], summary["trigger"]) == ("partial", "the first night", "on_demand")


def test_the_summary_is_the_one_in_the_books_and_counts_what_was_asked(told: Told) -> None:
    summary = told.first.done.json
    (run,) = told.town.query("SELECT * FROM reconciler.runs WHERE run_id = %s", summary["run_id"])
    assert run["summary"] == summary
    kinds = Counter(request.kind for request in told.asked)
    counted = {kind: n for kind, n in summary["requests"].items() if kind not in {"retried", "refused"}}
    assert counted == {
        "total": kinds.total(),
        **{k: kinds[k] for k in ("events", "userinfo", "upsert", "batch", "token")},
    }


def test_userinfo_is_asked_once_and_only_where_something_is_pending(told: Told) -> None:
    asked = Counter(r.account_id for r in told.asked if r.kind == "userinfo")
    content = {
        r.account.account_id
        for r in told.town.residents
        if r.planted and all(told.want.causes.get(p.key) == "assigned" for p in r.planted)
    }
    assert not asked.keys() & content
    assert all(times == 1 for who, times in asked.items())


def test_each_write_has_its_intent_before_and_its_outcome_after(told: Told) -> None:
    for key, story in told.first.stories.items():
        want = ["repair:intended", "repair:applied"] if key in told.want.upserts else None
        escalated = told.first.states[key]["remedy"] == "escalate"
        assert story == (want or ["event:escalated" if escalated else "event:judged"]), key
    assert told.first.stories.keys() == told.first.states.keys()


def test_what_was_unreadable_keeps_no_state_and_stays_due(told: Told) -> None:
    unread = {key for key, cause in told.want.causes.items() if cause == "unreadable"}
    assert not unread & told.first.states.keys()
    assert told.second.done.json["causes"]["unreadable"] == len(unread)
    assert told.second.done.code == 3


def test_the_second_run_does_nothing_twice(told: Told) -> None:
    newcomer = told.people.newcomer.key
    assert {k: n for k, n in told.second.writes.items() if n != told.first.writes[k]} == {newcomer: 1}
    assert told.second.done.json["outcomes"]["repaired"] == 1


def test_the_second_run_confirms_the_repairs(told: Told) -> None:
    assert told.second.done.json["outcomes"]["confirmed"] == len(told.want.upserts)
    for key in told.want.upserts:
        assert told.second.states[key]["cause"] == "assigned"
        assert told.second.states[key]["join_url"]
        assert told.second.stories[key].count("event:confirmed") == 1
        assert told.second.stories[key][:2] == told.first.stories[key]


def test_an_event_found_unchanged_adds_no_entry(told: Told) -> None:
    same = [
        key
        for key, row in told.second.states.items()
        if key in told.first.states and told.first.states[key]["cause"] == row["cause"]
    ]
    waiting = {"profile_disconnected", "calendar_unavailable", "provider_retired", "unexplained", "conferencing_absent"}
    assert waiting <= {told.second.states[key]["cause"] for key in same}
    assert {key: told.second.stories[key] for key in same if told.second.stories[key] != told.first.stories[key]} == {}


def test_notices_whose_cause_went_away_are_resolved_and_the_others_stay(told: Told) -> None:
    resolved = {named(n) for n in told.town.notices("resolved")}
    back = told.people.returning.account.account_id
    assert resolved == {
        (told.people.relinked.account.account_id, "relink_conferencing", told.people.relinked_profile),
        (told.people.unpaid.account.account_id, "restore_licence", told.people.unpaid.profile.profile_id),
        (back, "reauthorize_account", None),
    }
    assert {named(n) for n in told.second.notices} == told.want.notices.keys() - resolved
    assert told.second.done.json["notices"] == {"queued": 0, "updated": 0, "resolved": 3}
    (row,) = told.town.query("SELECT state FROM reconciler.accounts WHERE account_id = %s", back)
    assert row["state"] == "active"
    assert told.second.states[told.people.returned.key]["cause"] == "assigned"


def test_an_event_missing_twice_in_a_row_is_missing(told: Told) -> None:
    for event in told.people.missing:
        assert told.second.states[event.key]["cause"] == "event_missing"
        assert told.second.states[event.key]["conferencing"] == "gone"


def test_the_replacement_is_the_profile_of_the_same_provider_and_name(told: Told) -> None:
    named_alike = [p for p in told.people.same_names.account.conferencing_profiles if p.profile_name == "Private"]
    (replacement,) = (p.profile_id for p in named_alike if p.provider_name == "zoom")
    assert told.people.newcomer.event.writes == [told.people.newcomer.asking_for(replacement)]
    assert told.second.states[told.people.newcomer.key]["cause"] == "profile_removed"


def test_the_incident_is_closed_when_the_provider_is_back(told: Told) -> None:
    assert told.second.done.json["incidents"] == {"opened": 0, "closed": 1}
    (incident,) = told.town.query("SELECT * FROM reconciler.incidents")
    assert incident["provider_name"] == "webex"
    assert incident["closed_at"] is not None


async def test_the_trail_proves_itself(told: Told) -> None:
    for what in ("verify", "replay"):
        done = await told.program("audit", what, "--json")
        assert (done.code, done.json["faults"]) == (0, []), done.err
        assert done.json["entries"] > len(told.want.causes)


async def test_explain_tells_each_kind_of_story(told: Told) -> None:
    by_cause: dict[str, Key] = {}
    for key, cause in told.want.causes.items():
        by_cause.setdefault(cause, key)
    for cause in ("profile_removed", "account_unauthorized", "unexplained"):
        done = await told.program("explain", *by_cause[cause])
        assert (done.code, done.err) == (0, "")
        assert cause in done.out
    done = await told.program("explain", *by_cause["provider_outage"], "--json")
    assert [entry["tag"] for entry in done.json["entries"]] == told.second.stories[by_cause["provider_outage"]]
