"""The client against the simulator: what the pipeline relies on, over real HTTP, with Cronofy's behaviour behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from reconciler.cronofy.client import ClientSettings, CronofyClient, open_session
from reconciler.domain.event import Absent, Assigned, Pending
from reconciler.domain.evidence import Found
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.outcome import Applied, InDoubt, Outcome, Rejected, Unsent
from reconciler.domain.remedy import Drift
from reconciler.domain.times import AllDay, Instant
from reconciler.ports import (
    AccountUnauthorized,
    AccountUnreadable,
    ClientRejected,
    Credentials,
    Listing,
    Tokens,
    UpsertRequest,
    Window,
)
from reconciler.simulator import Fault, Settings, Simulator, World
from tests.fakes import FakeBudget, FakeClock, FakeMeter, FakeSleep, FakeTokenStore

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CALENDAR = CalendarId("cal_g@1_a")


@dataclass
class Town:
    """A simulated Cronofy with one person in it, and a client that speaks for her."""

    world: World
    client: CronofyClient
    session: aiohttp.ClientSession
    settings: ClientSettings
    store: FakeTokenStore
    budget: FakeBudget
    meter: FakeMeter
    sleep: FakeSleep
    clock: FakeClock

    @property
    def jane(self) -> Any:
        return self.world.accounts["acc_jane"]

    @property
    def who(self) -> Credentials:
        return Credentials(AccountId("acc_jane"), "us", self.store.stored[AccountId("acc_jane")])

    def another(self, **changed: Any) -> CronofyClient:
        settings = replace(self.settings, **changed)
        return CronofyClient(self.session, settings, self.store, self.budget, self.meter, self.clock, sleep=self.sleep)

    async def listing(self, window: Window | None = None, *calendars: CalendarId) -> Listing:
        return await self.client.list_events(self.who, window, calendars)

    async def found(self, n: int = 1) -> Found:
        read = (await self.listing()).events[key(n)]
        assert isinstance(read, Found)
        return read

    async def upsert(self, *requests: UpsertRequest) -> list[Outcome]:
        return list(await self.client.upsert(self.who, requests))

    def kinds(self) -> list[str]:
        return [record.kind for record in self.world.requests]


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    world = World(settings=Settings(rate_per_second=10_000, rate_per_minute=100_000), now=NOW)
    jane = world.add_account("acc_jane", email="marker@example.com")
    profile = jane.add_calendar_profile(profile_id="pro_g@1")
    profile.add_calendar(CALENDAR)
    jane.add_conferencing_profile("zoom", "pro_zoom", "Jane's Zoom")
    tokens = Tokens(jane.access_token, jane.refresh_token, NOW + timedelta(hours=1))
    store, budget, meter, sleep = (
        FakeTokenStore({AccountId("acc_jane"): tokens}),
        FakeBudget(),
        FakeMeter(),
        FakeSleep(),
    )
    clock = FakeClock(NOW)
    async with Simulator(world) as sim:
        settings = ClientSettings("sim-client", "sim-secret", sim.url, timeout=2.0)
        async with open_session(settings) as session:
            client = CronofyClient(session, settings, store, budget, meter, clock, sleep=sleep)
            yield Town(world, client, session, settings, store, budget, meter, sleep, clock)


def key(n: int = 1) -> EventKey:
    return EventKey(CALENDAR, EventId(f"evt-{n}"))


def a_body(n: int = 1, profile_id: str = "pro_zoom", **other: Any) -> dict[str, Any]:
    return {
        "event_id": f"evt-{n}",
        "summary": "Vorstellungsgespräch — 面接",
        "description": "marker body",
        "start": "2026-03-09T09:00:00Z",
        "end": "2026-03-09T10:00:00Z",
        "conferencing": {"profile_id": profile_id},
        **other,
    }


def written(town: Town, n: int = 1, **other: Any) -> Any:
    return town.world.write_event(town.jane, CALENDAR, a_body(n, **other))


def a_repair(n: int = 1, profile_id: str = "pro_new", drift: Drift | None = None, **other: Any) -> UpsertRequest:
    body = json.dumps(a_body(n, "pro_gone", **other), ensure_ascii=False)
    return UpsertRequest(key(n), body, ProfileId(profile_id), drift)


# ---------------------------------------------------------------- reading


async def test_an_event_is_pending_and_then_has_its_link(town: Town) -> None:
    event = written(town)
    assert (await town.found()).conferencing == Pending()
    town.world.advance(10)
    assert (await town.found()).conferencing == Assigned(event.join_url, "zoom")


@pytest.mark.parametrize("raw", [None, {}, {"pending": False}, {"join_url": ""}])
async def test_odd_ways_of_saying_nothing_are_absent(town: Town, raw: Any) -> None:
    written(town).set_conferencing(raw)
    assert (await town.found()).conferencing == Absent()


async def test_deleted_and_moved_events_are_listed_too(town: Town) -> None:
    written(town, 1).delete_by_user()
    written(town, 2).move_by_user("2026-04-20T09:00:00Z", "2026-04-20T10:00:00Z")
    listing = await town.listing(Window(date(2026, 3, 2), date(2026, 3, 20)))
    assert listing.events.keys() == {key(1), key(2)}
    deleted, moved = (listing.events[key(n)] for n in (1, 2))
    assert isinstance(deleted, Found)
    assert isinstance(moved, Found)
    assert deleted.deleted
    assert moved.start == Instant(datetime(2026, 4, 20, 9, tzinfo=UTC))


async def test_every_kind_of_time_is_read(town: Town) -> None:
    written(town, 1, start="2026-03-09", end="2026-03-10")
    paris = {"start": {"time": "2026-03-09T10:00:00", "tzid": "Europe/Paris"}}
    written(town, 2, **paris, end={"time": "2026-03-09T11:00:00", "tzid": "Europe/Paris"})
    assert (await town.found(1)).start == AllDay(date(2026, 3, 9))
    assert (await town.found(2)).start == Instant(datetime(2026, 3, 9, 9, tzinfo=UTC))


async def test_other_peoples_events_are_not_asked_for(town: Town) -> None:
    written(town)
    day = {"start": "2026-03-09T09:00:00Z", "end": "2026-03-09T10:00:00Z"}
    town.world.add_external_event(town.jane, CALENDAR, **day)
    assert (await town.listing()).events.keys() == {key()}


async def test_pages_are_followed_to_the_last(town: Town) -> None:
    town.world.settings.page_size = 7
    for n in range(20):
        written(town, n)
    listing = await town.listing()
    assert len(listing.events) == 20
    assert listing.page_size == 7
    assert town.meter.counts == {"events": 3}


async def test_an_event_that_changes_pages_while_they_are_read_is_listed_once(town: Town) -> None:
    settings = town.world.settings
    settings.change({"page_size": 2, "read_mode": "live"})
    for n in range(6):
        written(town, n)
    assert (await town.listing()).events.keys() == {key(n) for n in range(6)}


async def test_calendars_and_window_narrow_the_listing(town: Town) -> None:
    other = CalendarId(town.jane.profiles[0].add_calendar().calendar_id)
    written(town, 1)
    town.world.write_event(town.jane, other, a_body(2))
    assert (await town.listing(None, other)).events.keys() == {EventKey(other, EventId("evt-2"))}
    assert (await town.listing(Window(date(2026, 3, 10), date(2026, 3, 20)), other)).events == {}
    assert len((await town.listing(Window(date(2026, 3, 2), date(2026, 9, 18)))).events) == 2


async def test_no_listing_of_any_shape_breaks_a_rule_of_the_api(town: Town) -> None:
    await town.listing()
    await town.listing(Window(NOW.date(), NOW.date() + timedelta(days=200)), CALENDAR)
    assert town.world.violations == []


async def test_userinfo_shows_profiles_and_where_to_relink_them(town: Town) -> None:
    town.jane.add_conferencing_profile("go_to", "pro_goto")
    town.jane.disconnect("pro_goto")
    roster = await town.client.userinfo(town.who)
    assert [(p.profile_id, p.provider_name, p.connected) for p in roster.conferencing] == [
        ("pro_zoom", "zoom", True),
        ("pro_goto", "go_to", False),
    ]
    assert list(roster.relink_urls) == ["pro_goto"]
    calendar = roster.calendar(CALENDAR)
    assert calendar is not None
    assert calendar.integrated is True
    assert town.meter.counts == {"userinfo": 1}


@pytest.mark.parametrize("kind", ["status", "reset", "html", "truncate"])
async def test_a_fault_that_passes_costs_another_attempt(town: Town, kind: Any) -> None:
    written(town)
    town.world.faults.add(Fault(kind, times=2))
    assert (await town.listing()).events.keys() == {key()}
    assert town.meter.counts == {"events": 3, "retried": 2}


@pytest.mark.parametrize("kind", ["status", "reset", "html", "truncate"])
async def test_a_fault_that_stays_costs_that_account_alone(town: Town, kind: Any) -> None:
    bob = town.world.add_account("acc_bob")
    town.world.faults.add(Fault(kind, account_id="acc_jane"))
    who = Credentials(AccountId("acc_bob"), "us", Tokens(bob.access_token, None, None))
    await town.client.list_events(who, None)
    with pytest.raises(AccountUnreadable):
        await town.listing()
    await town.client.list_events(who, None)


@pytest.mark.parametrize("form", ["seconds", "date", "none", "garbage"])
async def test_the_limit_is_met_with_a_pause_in_every_form_it_is_told(town: Town, form: Any) -> None:
    town.world.settings.change({"rate_per_second": 1, "retry_after": form})
    await town.listing()
    with pytest.raises(AccountUnreadable) as raised:
        await town.listing()
    assert raised.value.kind == "rate_limited"
    assert len(town.budget.holds) == 4
    assert town.meter.counts["refused"] == town.world.limits.refused == 4
    assert all(0 < held <= 120 for held in town.budget.holds)


# ---------------------------------------------------------------- tokens


async def test_an_expired_token_is_refreshed_and_stored(town: Town) -> None:
    town.jane.expire_token()
    await town.listing()
    assert town.kinds() == ["events", "token", "events"]
    assert town.store.stored[AccountId("acc_jane")].access == town.jane.access_token


async def test_a_refresh_token_that_rotates_is_never_used_twice(town: Town) -> None:
    town.world.settings.change({"rotate_refresh": True})
    held = town.who
    for _ in range(3):
        town.jane.expire_token()
        await asyncio.gather(*(town.client.list_events(held, None) for _ in range(5)))
    assert town.kinds().count("token") == 3
    assert [tokens.refresh for tokens in town.store.saved][-1] == town.jane.refresh_token
    assert len({tokens.refresh for tokens in town.store.saved}) == 3


async def test_the_same_access_token_given_again_is_tried_once_more_and_no_further(town: Town) -> None:
    town.world.settings.change({"sticky_refresh": True})
    town.world.faults.add(Fault("status", status=401, match_path="/v1/events"))
    with pytest.raises(AccountUnauthorized):
        await town.listing()
    assert town.kinds() == ["events", "token", "events"]


async def test_a_revoked_grant_asks_for_the_person(town: Town) -> None:
    town.jane.revoke()
    with pytest.raises(AccountUnauthorized, match="invalid_grant"):
        await town.listing()
    assert await town.upsert(a_repair()) == [Unsent("invalid_grant", unauthorized=True)]


@pytest.mark.parametrize("status", [400, 401])
async def test_wrong_client_credentials_stop_the_run(town: Town, status: int) -> None:
    town.world.settings.change({"invalid_client_status": status})
    town.jane.expire_token()
    with pytest.raises(ClientRejected):
        await town.another(client_secret="wrong").list_events(town.who, None)


async def test_a_rotation_whose_answer_was_lost_is_in_doubt(town: Town) -> None:
    town.world.settings.change({"rotate_refresh": True})
    town.world.faults.add(Fault("reset", match_path="/oauth/token", after_commit=True, times=1))
    town.jane.expire_token()
    with pytest.raises(AccountUnreadable) as raised:
        await town.listing()
    assert raised.value.kind == "token_in_doubt"


async def test_a_missing_scope_asks_for_the_person(town: Town) -> None:
    town.jane.scope = "create_event"
    with pytest.raises(AccountUnauthorized, match="403"):
        await town.listing()


# ---------------------------------------------------------------- writing


async def test_a_repair_takes_effect_and_changes_nothing_else(town: Town) -> None:
    town.jane.add_conferencing_profile("zoom", "pro_new")
    event = written(town, reminders=[{"minutes": 5}], location={"description": "Zürich"})
    town.jane.remove_conferencing_profile("pro_zoom")
    before = json.loads(json.dumps(event.body))
    request = a_repair(reminders=[{"minutes": 5}], location={"description": "Zürich"})
    assert await town.upsert(request) == [Applied()]
    assert event.writes == [{**before, "conferencing": {"profile_id": "pro_new"}}]
    town.world.advance(10)
    assert isinstance((await town.found()).conferencing, Assigned)
    assert town.world.violations == []


async def test_an_event_the_person_moved_stays_where_it_is(town: Town) -> None:
    town.jane.add_conferencing_profile("zoom", "pro_new")
    written(town, start="2026-03-09T10:00:00+01:00", tzid="Europe/Paris").move_by_user(
        "2026-03-12T15:00:00Z", "2026-03-12T16:00:00Z"
    )
    found = await town.found()
    drift = Drift(found.start_text, found.end_text)
    assert await town.upsert(a_repair(drift=drift, tzid="Europe/Paris")) == [Applied()]
    after = await town.found()
    assert (after.start, after.end) == (found.start, found.end)


async def test_several_repairs_travel_together_each_with_its_own_outcome(town: Town) -> None:
    town.jane.add_conferencing_profile("zoom", "pro_new")
    for n in range(3):
        written(town, n)
    outcomes = await town.upsert(a_repair(0), a_repair(1, profile_id="pro_unknown"), a_repair(2, summary=None))
    assert outcomes[0] == Applied()
    assert outcomes[1] == Rejected(422, ("errors.not_recognized",))
    assert isinstance(outcomes[2], Rejected)
    assert town.kinds() == ["batch"]
    assert town.budget.reserved == [3]


async def test_batches_can_be_kept_smaller_than_cronofy_allows(town: Town) -> None:
    town.jane.add_conferencing_profile("zoom", "pro_new")
    outcomes = await town.another(batch_size=4).upsert(town.who, [a_repair(n) for n in range(9)])
    assert outcomes == [Applied()] * 9
    assert town.budget.reserved == [4, 4, 1]


async def test_a_calendar_that_is_gone_or_read_only_refuses(town: Town) -> None:
    town.jane.profiles[0].calendars[0].readonly = True
    (outcome,) = await town.upsert(a_repair(profile_id="pro_zoom"))
    assert outcome == Unsent("403: scope or permission missing", unauthorized=True)
    gone = replace(a_repair(), key=EventKey(CalendarId("cal_none"), EventId("evt-1")))
    assert await town.upsert(gone) == [Rejected(404)]


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_write_whose_answer_is_lost_is_sent_once_only(town: Town, after_commit: bool) -> None:
    event = written(town)
    town.world.faults.add(Fault("reset", match_path="/events$", after_commit=after_commit))
    (outcome,) = await town.upsert(a_repair(profile_id="pro_zoom"))
    assert isinstance(outcome, InDoubt)
    assert len(event.writes) == after_commit
    assert town.kinds() == ["upsert"]


async def test_a_write_above_the_limit_waits_and_is_carried_out_once(town: Town) -> None:
    event = written(town)
    town.world.faults.add(Fault("status", status=429, headers={"Retry-After": "3"}, times=1))
    assert await town.upsert(a_repair(profile_id="pro_zoom")) == [Applied()]
    assert town.sleep.slept == [3.0]
    assert len(event.writes) == 1


async def test_a_write_that_silently_comes_to_nothing_is_applied_until_a_read_shows_otherwise(town: Town) -> None:
    event = written(town)
    town.world.faults.add(Fault("drop_write"))
    assert await town.upsert(a_repair(profile_id="pro_zoom")) == [Applied()]
    assert event.body["conferencing"] == {"profile_id": "pro_zoom"}
