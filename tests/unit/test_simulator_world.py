"""The simulated world by itself: how conferencing comes about on the virtual clock, and what stands in its way."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from reconciler.simulator import Settings, World
from reconciler.simulator.accounts import Account, Calendar
from reconciler.simulator.events import Event

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PENDING = {"pending": True}


class Scene:
    """A world with one account and one calendar, and events written into it."""

    def __init__(self, **settings: Any) -> None:
        self.world = World(settings=Settings(**settings), now=NOW)
        self.account: Account = self.world.add_account()
        self.calendar: Calendar = self.account.add_calendar_profile().add_calendar()

    def write(self, profile_id: str | None, days: float = 1, *, ago: float = 0, **more: str) -> Event:
        start = NOW + timedelta(days=days)
        body: dict[str, Any] = {
            "event_id": f"e{len(self.world.events)}",
            "summary": "Call",
            "start": start.isoformat(),
            "end": (start + timedelta(hours=1)).isoformat(),
        }
        if profile_id is not None:
            body["conferencing"] = {"profile_id": profile_id, **more}
        return self.again(body, ago)

    def again(self, body: dict[str, Any], ago: float = 0) -> Event:
        written_at = self.world.now() - timedelta(seconds=ago)
        return self.world.write_event(self.account, self.calendar.calendar_id, body, written_at)


def test_an_event_is_pending_until_the_delay_has_passed() -> None:
    scene = Scene(generation_delay=30)
    event = scene.write(scene.account.add_conferencing_profile().profile_id)
    assert (event.conferencing, event.join_url) == (PENDING, None)
    scene.world.advance(29)
    assert event.conferencing == PENDING
    scene.world.advance(2)
    assert event.conferencing == {"provider_name": "zoom", "join_url": event.join_url}
    assert (event.links_made, event.changed_outside) == (1, None)


def test_an_event_written_a_while_ago_has_its_link_by_now() -> None:
    scene = Scene()
    event = scene.write(scene.account.add_conferencing_profile().profile_id, ago=60)
    assert event.join_url


@pytest.mark.parametrize(
    "provider, calendar, shown, link",
    [
        ("zoom", "google", "zoom", "https://us02web.zoom.us/j/"),
        ("go_to", "google", "go_to", "https://meet.goto.com/"),
        ("ms_teams", "google", "ms_teams", "https://teams.microsoft.com/l/meetup-join/"),
        ("google_meet_api", "google", "google_meet", "https://meet.google.com/"),
        ("webex", "google", "webex", "https://meet.example.com/webex/"),
        (None, "google", "google_meet", "https://meet.google.com/"),
        (None, "exchange", "ms_teams_for_business", "https://teams.microsoft.com/"),
    ],
    ids=str,
)
def test_providers_are_named_in_a_read_as_documented(
    provider: str | None, calendar: str, shown: str, link: str
) -> None:
    scene = Scene()
    scene.calendar.profile.provider_name = calendar
    asked = scene.account.add_conferencing_profile(provider).profile_id if provider else "integrated"
    events = [scene.write(asked, ago=60) for _ in range(2)]
    assert events[0].conferencing["provider_name"] == shown
    assert events[0].conferencing["join_url"].startswith(link)
    assert events[0].join_url != events[1].join_url


def test_a_disconnected_profile_keeps_it_pending_and_a_relink_helps_at_the_next_attempt() -> None:
    scene = Scene()
    zoom = scene.account.add_conferencing_profile()
    event = scene.write(zoom.profile_id)
    scene.account.disconnect(zoom.profile_id)
    scene.world.advance(70)
    assert event.conferencing == PENDING
    scene.account.reconnect(zoom.profile_id)
    scene.world.advance(200)
    assert event.conferencing == PENDING
    scene.world.advance(100)
    assert event.join_url


def test_attempts_stop_when_the_event_starts() -> None:
    scene = Scene()
    zoom = scene.account.add_conferencing_profile(connected=False)
    event = scene.write(zoom.profile_id, days=1)
    scene.world.advance(86401)
    scene.account.reconnect(zoom.profile_id)
    scene.world.advance(7200)
    assert event.conferencing == PENDING
    assert event.conference.next_attempt is None


@pytest.mark.parametrize("choice, shown", [("pending", PENDING), ("absent", None)])
def test_a_removed_profile_reads_as_chosen(choice: str, shown: Any) -> None:
    scene = Scene(removed_profile_read=choice)
    zoom = scene.account.add_conferencing_profile()
    event = scene.write(zoom.profile_id)
    scene.account.remove_conferencing_profile(zoom.profile_id)
    scene.world.advance(7200)
    assert event.conferencing == shown
    with pytest.raises(KeyError):
        scene.account.remove_conferencing_profile(zoom.profile_id)


def test_an_upsert_with_a_current_profile_repairs_a_removed_one() -> None:
    scene = Scene()
    event = scene.write("pro_gone", ago=3600)
    assert event.conferencing == PENDING
    zoom = scene.account.add_conferencing_profile()
    scene.again(event.body | {"conferencing": {"profile_id": zoom.profile_id}})
    scene.world.advance(3)
    assert event.join_url
    assert (event.links_made, event.writes) == (1, [])


@pytest.mark.parametrize("mode", ["reject", "late"])
def test_an_unknown_profile_is_rejected_or_accepted_by_the_api_rules(mode: str) -> None:
    from reconciler.simulator.api import write

    scene = Scene(unknown_profile=mode)
    body = scene.write(None).body | {"conferencing": {"profile_id": "pro_gone"}}
    status, errors = write(scene.world, scene.account, scene.calendar.calendar_id, body)
    assert (status, errors is None) == ((202, True) if mode == "late" else (422, False))
    unlike_an_id = body | {"conferencing": {"profile_id": "zoom"}}
    assert write(scene.world, scene.account, scene.calendar.calendar_id, unlike_an_id)[0] == 422


@pytest.mark.parametrize("choice, shown", [("absent", None), ("pending", PENDING)])
def test_nothing_is_generated_for_a_past_start_even_after_a_move(choice: str, shown: Any) -> None:
    scene = Scene(past_read=choice)
    event = scene.write(scene.account.add_conferencing_profile().profile_id, days=-1)
    event.move_by_user(NOW + timedelta(days=1), NOW + timedelta(days=2))
    scene.world.advance(60)
    assert event.conferencing == shown
    scene.again(event.body | {"start": "2026-06-05", "end": "2026-06-06"})
    scene.world.advance(60)
    assert event.join_url


@pytest.mark.parametrize("choice, shown", [("absent", None), ("pending", PENDING)])
def test_default_with_nothing_to_be_had_reads_as_chosen(choice: str, shown: Any) -> None:
    scene = Scene(default_nothing_read=choice)
    scene.calendar.integrated = False
    assert scene.write("default", ago=60).conferencing == shown


def test_default_takes_the_chosen_profile_else_the_first_else_the_calendars_own() -> None:
    scene = Scene()
    assert scene.write("default", ago=60).conferencing["provider_name"] == "google_meet"
    scene.account.add_conferencing_profile("zoom")
    teams = scene.account.add_conferencing_profile("ms_teams")
    assert scene.write("default", ago=60).conferencing["provider_name"] == "zoom"
    scene.account.default_profile_id = teams.profile_id
    assert scene.write("default", ago=60).conferencing["provider_name"] == "ms_teams"
    scene.account.disconnect(teams.profile_id)
    assert scene.write("default", ago=60).conferencing == PENDING


def test_8x8_and_none_generate_nothing_and_explicit_needs_no_generation() -> None:
    scene = Scene()
    explicit = scene.write("explicit", provider_description="Room", join_url="https://room.example/1")
    assert explicit.conferencing == PENDING
    scene.world.advance(60)
    assert explicit.conferencing == {"provider_name": None, "join_url": "https://room.example/1"}
    assert scene.write("8x8", ago=60).conferencing is None
    assert scene.write("none", ago=60).conferencing is None
    assert scene.write(None, ago=60).conferencing is None
    linked = scene.write("integrated", ago=60)
    assert linked.join_url
    scene.again(linked.body | {"conferencing": {"profile_id": "none"}})
    assert linked.conferencing is None


def test_integrated_waits_for_licence_availability_and_its_calendar() -> None:
    scene = Scene(retry_schedule=(60,))
    scene.world.licence_lost(scene.account)
    unlicensed = scene.write("integrated")
    scene.world.advance(60)
    assert unlicensed.conferencing == PENDING
    scene.world.licence_lost(scene.account, lost=False)
    scene.world.advance(60)
    assert unlicensed.join_url
    scene.calendar.integrated = False
    assert scene.write("integrated", ago=60).conferencing == PENDING
    scene.calendar.integrated, scene.calendar.readonly = None, True
    readonly = scene.write("integrated", ago=60)
    assert readonly.conferencing == PENDING
    scene.calendar.readonly = False
    scene.world.advance(60)
    assert readonly.join_url


@pytest.mark.parametrize("name", ["go_to", "google_meet"])
def test_an_outage_stops_one_provider_until_it_ends(name: str) -> None:
    scene = Scene(retry_schedule=(60,))
    goto, zoom = (scene.account.add_conferencing_profile(p).profile_id for p in ("go_to", "zoom"))
    scene.world.outage(name)
    hit = scene.write(goto if name == "go_to" else "integrated")
    spared = scene.write(zoom)
    scene.world.advance(3600)
    assert (hit.conferencing, bool(spared.join_url)) == (PENDING, True)
    scene.world.outage(name, False)
    scene.world.advance(60)
    assert hit.join_url


def test_a_deleted_event_gets_no_link() -> None:
    scene = Scene()
    event = scene.write(scene.account.add_conferencing_profile().profile_id)
    event.delete_by_user()
    scene.world.advance(60)
    assert event.conferencing == PENDING


@pytest.mark.parametrize("touches", [False, True])
def test_a_new_link_moves_updated_only_where_asked(touches: bool) -> None:
    scene = Scene(assignment_touches_updated=touches)
    event = scene.write(scene.account.add_conferencing_profile().profile_id)
    written = event.updated
    scene.world.advance(60)
    assert event.join_url
    assert (event.updated > written, event.changed_outside is not None) == (touches, touches)


def test_tests_can_put_anything_in_the_place_of_conferencing() -> None:
    scene = Scene()
    event = scene.write(scene.account.add_conferencing_profile().profile_id)
    oddities: list[Any] = [None, {}, [], "soon", {"join_url": 7}, {"pending": True, "extra": 1}]
    for raw in oddities:
        event.set_conferencing(raw)
        assert event.conferencing == raw
        assert event.as_read()["conferencing"] == raw
        assert event.join_url is None
    event.set_conferencing({"join_url": "https://x.example"})
    assert event.conference.has_link()
    event.assign()
    assert event.conferencing["provider_name"] == "zoom"
    event.clear_conferencing()
    assert "conferencing" not in event.as_read()


def test_a_link_can_be_given_whatever_stands_in_the_way() -> None:
    scene = Scene()
    lost = scene.write("pro_gone")
    lost.assign("https://x.example/1")
    assert lost.conferencing == {"provider_name": "zoom", "join_url": "https://x.example/1"}
    scene.world.licence_lost(scene.account)
    integrated = scene.write("default")
    integrated.assign()
    assert integrated.conferencing["provider_name"] == "google_meet"


def test_generation_can_be_put_off() -> None:
    scene = Scene()
    event = scene.write(scene.account.add_conferencing_profile().profile_id, ago=60)
    event.delay_generation(500)
    scene.world.advance(499)
    assert event.conferencing == PENDING
    scene.world.advance(2)
    assert event.join_url


def test_ids_look_real_and_repeat_with_the_seed() -> None:
    first, second, other = (World(seed=seed, now=NOW).add_account() for seed in (1, 1, 2))
    assert first.account_id.startswith("acc_")
    assert len(first.account_id) == 28
    assert len(first.access_token) == len(first.refresh_token) == 32
    assert first.account_id == second.account_id != other.account_id
    assert first.access_token not in repr(first)
    calendar = first.add_calendar_profile().add_calendar()
    assert calendar.calendar_id.startswith("cal_" + calendar.profile.profile_id.removeprefix("pro_"))
    assert calendar.primary


def test_ids_are_unique_and_real_secrets_refused() -> None:
    scene = Scene()
    with pytest.raises(ValueError, match="already"):
        scene.world.add_account(scene.account.account_id)
    with pytest.raises(ValueError, match="already"):
        scene.account.add_calendar_profile().add_calendar(scene.calendar.calendar_id)
    for tokens in ({"access_token": "CRN_marker"}, {"refresh_token": "CRN_marker"}):
        with pytest.raises(ValueError, match="real Cronofy secret") as refusal:
            scene.world.add_account(**tokens)
        assert "marker" not in str(refusal.value)
    with pytest.raises(KeyError):
        scene.account.disconnect("pro_unknown")
    with pytest.raises(KeyError):
        scene.world.event("cal", "unknown")


def test_external_events_take_dates_times_and_an_id() -> None:
    scene = Scene()
    day = date(2026, 6, 3)
    event = scene.world.add_external_event(
        scene.account, scene.calendar.calendar_id, start=day, end=day, event_uid="evt_external_1", description="x"
    )
    assert event.key == (scene.calendar.calendar_id, "evt_external_1")
    assert event.as_read()["description"] == "x"
    assert not event.managed


def test_the_clock_runs_and_can_only_go_forward() -> None:
    world = World(now=NOW)
    assert timedelta() <= world.now() - NOW < timedelta(seconds=1)
    world.advance(3600)
    assert world.now() - NOW >= timedelta(hours=1)
    with pytest.raises(ValueError, match="go back"):
        world.advance(-1)
    with pytest.raises(ValueError, match="hundred years"):
        world.advance(100 * 366 * 86_400)
    with pytest.raises(ValueError, match="aware"):
        World(now=datetime(2026, 6, 1))  # noqa: DTZ001 - refused
    assert abs(World().now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_long_jump_leaves_the_next_attempt_where_the_schedule_has_it() -> None:
    scene = Scene(retry_schedule=(60, 300, 3600), generation_delay=10)
    profile = scene.account.add_conferencing_profile(connected=False)
    event = scene.write(profile.profile_id)
    scene.world.advance(10 * 3600 + 1)
    due = event.updated + timedelta(seconds=10 + 60 + 300 + 10 * 3600)
    assert (event.conference.next_attempt, event.conference.failures) == (due, 12)


def test_a_long_jump_costs_no_time_however_short_the_gaps() -> None:
    scene = Scene(retry_schedule=(0.001,), generation_delay=10)
    event = scene.write(scene.account.add_conferencing_profile(connected=False).profile_id, days=400)
    scene.world.advance(365 * 86_400)
    assert event.conference.failures >= (365 * 86_400 - 10) * 1000
    assert event.conference.next_attempt is not None
