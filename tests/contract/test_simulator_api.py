"""The simulated Cronofy over real HTTP: identity, listings, writes, batches, tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from reconciler.simulator import Settings, Simulator, World
from reconciler.simulator.accounts import Account, Calendar

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
READ = {"tzid": "Etc/UTC", "only_managed": "true"}


@dataclass
class Stand:
    """A served world with one account, one calendar and one Zoom profile."""

    sim: Simulator
    session: aiohttp.ClientSession
    world: World
    account: Account
    calendar: Calendar
    zoom: str

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        options.setdefault("headers", {"Authorization": f"Bearer {self.account.access_token}"})
        url = path if path.startswith("http") else self.sim.url + path
        async with self.session.request(method, url, **options) as response:
            text = await response.text()
            return response.status, await response.json() if text.startswith("{") else text

    async def read(self, **query: Any) -> dict[str, Any]:
        status, listing = await self.call("GET", "/v1/events", params=READ | query)
        assert status == 200, listing
        return {event.get("event_id", event["summary"]): event for event in listing["events"]}

    async def upsert(self, body: dict[str, Any]) -> tuple[int, Any]:
        return await self.call("POST", f"/v1/calendars/{quote(self.calendar.calendar_id, safe='')}/events", json=body)

    def body(self, event_id: str = "e1", days: float = 1, **fields: Any) -> dict[str, Any]:
        start = self.world.now() + timedelta(days=days)
        return {
            "event_id": event_id,
            "summary": "Interview",
            "start": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end": (start + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **fields,
        }

    def asking(self, event_id: str = "e1", profile_id: str | None = None, **fields: Any) -> dict[str, Any]:
        return self.body(event_id, conferencing={"profile_id": profile_id or self.zoom}, **fields)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    world = World(seed=3, settings=Settings(rate_per_second=1000, rate_per_minute=60000), now=NOW)
    account = world.add_account(name="Zoë Ünal", email="zoë@example.com")
    calendar = account.add_calendar_profile().add_calendar("cal_with/slash@and_ü")
    zoom = account.add_conferencing_profile().profile_id
    async with Simulator(world) as sim, aiohttp.ClientSession() as session:
        yield Stand(sim, session, world, account, calendar, zoom)


async def test_userinfo_tells_profiles_and_relink_urls_only_while_disconnected(stand: Stand) -> None:
    lost = stand.account.add_conferencing_profile("go_to")
    stand.account.disconnect(lost.profile_id)
    unsaid = stand.account.profiles[0].add_calendar(name="Old", integrated=None)
    status, info = await stand.call("GET", "/v1/userinfo")
    assert status == 200
    data = info["cronofy.data"]
    zoom, goto = data["conferencing_profiles"]
    assert "profile_relink_url" not in zoom
    assert goto["profile_relink_url"].startswith("https://app.cronofy.com/v2/relink/go_to?email=")
    first, second = data["profiles"][0]["profile_calendars"]
    assert first["calendar_integrated_conferencing_available"] is True
    assert second["calendar_id"] == unsaid.calendar_id
    assert "calendar_integrated_conferencing_available" not in second
    stand.account.reconnect(lost.profile_id)
    stand.account.remove_conferencing_profile(stand.zoom)
    _, info = await stand.call("GET", "/v1/userinfo")
    (left,) = info["cronofy.data"]["conferencing_profiles"]
    assert left["profile_connected"] is True


async def test_account_profiles_and_calendars_are_listed(stand: Stand) -> None:
    stand.account.data_center = "de"
    stand.account.disconnect(stand.account.profiles[0].profile_id)
    assert (await stand.call("GET", "/v1/account"))[1]["account"]["email"] == "zoë@example.com"
    (profile,) = (await stand.call("GET", "/v1/profiles"))[1]["profiles"]
    assert profile["profile_relink_url"].startswith("https://app-de.cronofy.com/")
    assert profile["provider_service"] == "gsuite"
    (calendar,) = (await stand.call("GET", "/v1/calendars"))[1]["calendars"]
    assert calendar["calendar_id"] == stand.calendar.calendar_id
    assert calendar["profile_id"] == profile["profile_id"]


async def test_an_upsert_answers_202_with_nothing_and_the_event_is_pending_then_linked(stand: Stand) -> None:
    assert await stand.upsert(stand.asking()) == (202, "")
    assert (await stand.read())["e1"]["conferencing"] == {"pending": True}
    stand.world.advance(3)
    conferencing = (await stand.read())["e1"]["conferencing"]
    assert conferencing["provider_name"] == "zoom"
    assert conferencing["join_url"].startswith("https://us02web.zoom.us/j/")
    assert stand.world.event(stand.calendar.calendar_id, "e1").writes[0]["summary"] == "Interview"


@pytest.mark.parametrize(
    "change, field, key",
    [
        ({"summary": None}, "summary", "errors.required"),
        ({"summary": "x" * 1025}, "summary", "errors.too_long"),
        ({"description": "x" * 4097}, "description", "errors.too_long"),
        ({"description": 5}, "description", "errors.not_recognized"),
        ({"event_id": ""}, "event_id", "errors.required"),
        ({"start": None}, "start", "errors.required"),
        ({"start": "soon"}, "start", "errors.not_recognized"),
        ({"end": 5}, "end", "errors.not_recognized"),
        ({"end": "2026-06-09"}, "end", "errors.invalid_time_pair"),
        ({"end": "2026-01-01T00:00:00Z"}, "end", "errors.invalid_time_pair"),
        ({"tzid": "Mars/Base"}, "tzid", "errors.tzid_unrecognized"),
        ({"tzid": 7}, "tzid", "errors.tzid_unrecognized"),
        ({"reminders": [{}] * 6}, "reminders", "errors.not_recognized"),
        ({"location": "here"}, "location", "errors.not_recognized"),
        ({"attendees": {"invite": [{}]}}, "attendees", "errors.not_recognized"),
        ({"subscriptions": "none"}, "subscriptions", "errors.not_recognized"),
        ({"conferencing": {}}, "conferencing.profile_id", "errors.required"),
        ({"conferencing": {"profile_id": "pro_gone"}}, "conferencing.profile_id", "errors.not_recognized"),
        (
            {"conferencing": {"profile_id": "explicit"}},
            "conferencing.join_url",
            "errors.required",
        ),
    ],
    ids=str,
)
async def test_an_invalid_upsert_is_refused_with_422(
    stand: Stand, change: dict[str, Any], field: str, key: str
) -> None:
    status, answer = await stand.upsert(stand.body() | change)
    assert status == 422
    assert answer["errors"][field][0]["key"] == key


async def test_an_upsert_that_is_no_json_object_is_refused(stand: Stand) -> None:
    path = f"/v1/calendars/{quote(stand.calendar.calendar_id, safe='')}/events"
    for data in (b"[1]", b"{nonsense"):
        status, _ = await stand.call("POST", path, data=data)
        assert status == 422


async def test_calendars_that_cannot_be_written_say_so(stand: Stand) -> None:
    assert (await stand.call("POST", "/v1/calendars/cal_unknown/events", json=stand.body()))[0] == 404
    stand.calendar.readonly = True
    assert (await stand.upsert(stand.body()))[0] == 403
    stand.calendar.readonly = False
    stand.calendar.profile.connected = False
    assert (await stand.upsert(stand.body()))[0] == 423
    stand.calendar.deleted = True
    assert (await stand.upsert(stand.body()))[0] == 404


async def test_integrated_conferencing_is_refused_where_it_is_not_available(stand: Stand) -> None:
    stand.calendar.integrated = False
    status, answer = await stand.upsert(stand.asking(profile_id="integrated"))
    assert status == 422
    assert answer["errors"]["conferencing.profile_id"][0]["key"] == "errors.integrated_conferencing_not_available"


async def test_omitted_fields_are_cleared_or_kept_and_some_always_kept(stand: Stand) -> None:
    whole = stand.body(
        description="Agenda",
        location={"description": "Berlin", "lat": "1", "long": "2"},
        attendees={"invite": [{"email": "a@example.com"}, {"email": "b@example.com"}]},
    )
    await stand.upsert(whole)
    event = (await stand.read(include_geo="true"))["e1"]
    assert event["description"] == "Agenda"
    assert event["location"] == {"description": "Berlin", "lat": "1", "long": "2"}
    await stand.upsert(stand.body(attendees={"remove": [{"email": "a@example.com"}]}))
    event = (await stand.read())["e1"]
    assert event["description"] == ""
    assert "location" not in event
    assert [guest["email"] for guest in event["attendees"]] == ["b@example.com"]
    assert "partial upsert, without description, location" in stand.world.violations[0]
    stand.world.settings.omitted_fields = "keep"
    await stand.upsert(whole)
    await stand.upsert(stand.body())
    event = (await stand.read())["e1"]
    assert event["description"] == "Agenda"
    assert event["location"] == {"description": "Berlin"}


async def test_times_are_read_back_as_utc_as_dates_or_localized(stand: Stand) -> None:
    zoned = {"time": "2026-06-03T09:00:00+02:00", "tzid": "Europe/Berlin"}
    until = {"time": "2026-06-03T10:00:00", "tzid": "Europe/Berlin"}
    await stand.upsert(stand.body("zoned") | {"start": zoned, "end": until})
    await stand.upsert(stand.body("day") | {"start": "2026-06-04", "end": "2026-06-05"})
    await stand.upsert(stand.body("odd") | {"start": "2026-06-05 10:00:00Z", "end": "2026-06-05T11:00:00UTC"})
    events = await stand.read()
    assert (events["zoned"]["start"], events["zoned"]["end"]) == ("2026-06-03T07:00:00Z", "2026-06-03T08:00:00Z")
    assert (events["day"]["start"], events["day"]["transparency"]) == ("2026-06-04", "transparent")
    assert events["odd"]["end"] == "2026-06-05T11:00:00Z"
    localized = await stand.read(localized_times="true")
    assert localized["zoned"]["start"] == {"time": "2026-06-03T09:00:00+02:00", "tzid": "Europe/Berlin"}
    assert localized["day"]["start"] == {"time": "2026-06-04", "tzid": "Etc/UTC"}


async def test_a_listing_leaves_out_managed_events_unless_asked(stand: Stand) -> None:
    await stand.upsert(stand.body())
    day = stand.world.now() + timedelta(days=1)
    stand.world.add_external_event(stand.account, stand.calendar.calendar_id, start=day, end=day)
    status, listing = await stand.call("GET", "/v1/events", params={"tzid": "Etc/UTC"})
    assert status == 200
    assert [event["summary"] for event in listing["events"]] == ["Dentist"]
    assert "event_id" not in listing["events"][0]
    assert (await stand.read(only_managed="false", include_managed="true")).keys() == {"Dentist", "e1"}
    assert (await stand.read()).keys() == {"e1"}


async def test_managed_events_are_exempt_from_the_default_window_only(stand: Stand) -> None:
    for name, days in (("ancient", -90.0), ("far", 300.0), ("near", 3.0)):
        stand.world.write_event(stand.account, stand.calendar.calendar_id, stand.body(name, days))
    old = stand.world.now() - timedelta(days=90)
    stand.world.add_external_event(stand.account, stand.calendar.calendar_id, start=old, end=old)
    everything = await stand.read(only_managed="false", include_managed="True")
    assert everything.keys() == {"ancient", "far", "near"}
    assert (await stand.read(**{"from": "2026-06-01"})).keys() == {"near"}
    assert (await stand.read(to="2026-06-04")).keys() == set()
    assert (await stand.read(to="2026-06-05T12:00:00Z")).keys() == {"near"}


async def test_the_zone_decides_where_a_day_begins(stand: Stand) -> None:
    late = {"start": "2026-06-10T14:30:00Z", "end": "2026-06-10T15:00:00Z"}
    await stand.upsert(stand.body("late") | late)
    assert "late" in await stand.read(to="2026-06-11")
    assert "late" not in await stand.read(to="2026-06-11", tzid="Australia/Sydney")
    assert "late" in await stand.read(**{"from": "2026-06-11"}, tzid="Australia/Sydney")


@pytest.mark.parametrize(
    "query, field, key",
    [
        ({}, "tzid", "errors.required"),
        ({"tzid": "Nowhere"}, "tzid", "errors.tzid_unrecognized"),
        ({"tzid": "Etc/UTC", "from": "2026-04-19"}, "from", "errors.out_of_range"),
        ({"tzid": "Etc/UTC", "to": "2026-12-20"}, "to", "errors.out_of_range"),
        ({"tzid": "Etc/UTC", "from": "2026-06-03", "to": "2026-06-03"}, "to", "errors.invalid_time_pair"),
        ({"tzid": "Etc/UTC", "from": "yesterday"}, "from", "errors.not_recognized"),
        ({"tzid": "Etc/UTC", "only_managed": "perhaps"}, "only_managed", "errors.not_recognized"),
    ],
    ids=str,
)
async def test_a_bad_listing_is_refused_with_422(stand: Stand, query: dict[str, str], field: str, key: str) -> None:
    status, answer = await stand.call("GET", "/v1/events", params=query)
    assert status == 422
    assert answer["errors"][field][0]["key"] == key


async def test_the_widest_window_is_accepted(stand: Stand) -> None:
    assert await stand.read(**{"from": "2026-04-20", "to": "2026-12-19"}) == {}


async def test_deleted_moved_and_forgotten_events_are_listed_as_documented(stand: Stand) -> None:
    for name in ("kept", "gone", "moved", "forgotten"):
        await stand.upsert(stand.body(name, days=2))
    event = {name: stand.world.event(stand.calendar.calendar_id, name) for name in ("gone", "moved", "forgotten")}
    stand.world.advance(60)
    before = stand.world.now()
    event["gone"].delete_by_user()
    event["moved"].move_by_user("2026-07-01T10:00:00Z", "2026-07-01T11:00:00Z")
    event["forgotten"].forget()
    assert (await stand.read()).keys() == {"kept", "moved"}
    assert (await stand.read(include_deleted="true"))["gone"]["deleted"] is True
    assert (await stand.read(to="2026-06-10")).keys() == {"kept"}
    assert (await stand.read(to="2026-06-10", include_moved="true")).keys() == {"kept", "moved"}
    changed = await stand.read(last_modified=before.strftime("%Y-%m-%dT%H:%M:%SZ"), include_deleted="true")
    assert changed.keys() == {"gone", "moved"}
    assert (await stand.read(last_modified="2026-06-02T00:00:00Z")).keys() == set()


async def test_calendar_ids_narrow_a_listing_and_removed_calendars_vanish(stand: Stand) -> None:
    other = stand.account.profiles[0].add_calendar("cal_other")
    await stand.upsert(stand.body("one"))
    await stand.call("POST", "/v1/calendars/cal_other/events", json=stand.body("two"))
    assert (await stand.read(**{"calendar_ids[]": other.calendar_id})).keys() == {"two"}
    stand.account.profiles[0].remove_calendar("cal_other")
    assert (await stand.read()).keys() == {"one"}


async def test_pages_are_absolute_expire_and_belong_to_one_account(stand: Stand) -> None:
    stand.world.settings.page_size = 2
    for number in range(5):
        await stand.upsert(stand.body(f"e{number}", days=1 + number))
    _, page = await stand.call("GET", "/v1/events", params=READ)
    assert page["pages"]["total"] == 3
    second = page["pages"]["next_page"]
    assert second.startswith(stand.sim.url + "/v1/events/pages/")
    _, page = await stand.call("GET", second)
    third = page["pages"]["next_page"]
    _, page = await stand.call("GET", third)
    assert page["pages"] == {"current": 3, "total": 3}
    assert [event["event_id"] for event in page["events"]] == ["e4"]
    stranger = stand.world.add_account(email="other@example.com")
    headers = {"Authorization": f"Bearer {stranger.access_token}"}
    assert (await stand.call("GET", second, headers=headers))[0] == 404
    assert (await stand.call("GET", second + "?tzid=Etc/UTC"))[0] == 200
    stand.world.advance(301)
    assert (await stand.call("GET", second))[0] == 404
    assert len(stand.world.violations) == 2


@pytest.mark.parametrize("mode, seen", [("snapshot", 3), ("live", 2)])
async def test_pages_may_be_a_snapshot_or_live(stand: Stand, mode: Any, seen: int) -> None:
    stand.world.settings.page_size, stand.world.settings.read_mode = 2, mode
    for number in range(3):
        await stand.upsert(stand.body(f"e{number}", days=1 + number))
    _, page = await stand.call("GET", "/v1/events", params=READ)
    stand.world.event(stand.calendar.calendar_id, "e0").delete_by_user()
    _, rest = await stand.call("GET", page["pages"]["next_page"])
    assert len(page["events"] + rest["events"]) == seen
    assert rest["pages"] == {"current": 2, "total": 2}


async def test_a_batch_answers_207_entry_by_entry(stand: Stand) -> None:
    url = f"/v1/calendars/{quote(stand.calendar.calendar_id, safe='')}/events"
    entries: list[dict[str, Any]] = [
        {"method": "POST", "relative_url": url, "data": stand.asking("a")},
        {"method": "POST", "relative_url": url, "data": stand.body("b") | {"summary": ""}},
        {"method": "POST", "relative_url": "/v1/calendars/cal_x/events", "data": stand.body("c")},
        {"method": "DELETE", "relative_url": url, "data": {"event_id": "a"}},
        {"method": "DELETE", "relative_url": "/v1/calendars/cal_x/events", "data": {"event_id": "a"}},
        {"method": "DELETE", "relative_url": url, "data": {}},
    ]
    status, answer = await stand.call("POST", "/v1/batch", json={"batch": entries})
    assert status == 207
    assert [row["status"] for row in answer["batch"]] == [202, 422, 404, 202, 404, 422]
    assert answer["batch"][1]["data"]["errors"]["summary"][0]["key"] == "errors.required"
    assert stand.world.requests[-1].cost == 6
    assert (await stand.read(include_deleted="true"))["a"]["deleted"] is True


@pytest.mark.parametrize(
    "batch",
    [
        [],
        "x",
        [{"method": "POST", "relative_url": "/v1/calendars/c/events"}] * 51,
        [{"method": "GET", "relative_url": "/v1/events"}],
        [{"method": "POST", "relative_url": "/v1/userinfo"}],
        ["x"],
    ],
    ids=["empty", "no list", "too many", "a read", "elsewhere", "no object"],
)
async def test_a_batch_that_cannot_be_served_is_refused_whole(stand: Stand, batch: Any) -> None:
    assert (await stand.call("POST", "/v1/batch", json={"batch": batch}))[0] == 422


async def test_a_deletion_is_accepted_alone_too(stand: Stand) -> None:
    await stand.upsert(stand.body())
    path = f"/v1/calendars/{quote(stand.calendar.calendar_id, safe='')}/events"
    assert await stand.call("DELETE", path, json={"event_id": "unknown"}) == (202, "")
    assert await stand.call("DELETE", path, json={"event_id": "e1"}) == (202, "")
    assert await stand.read() == {}


async def test_a_conferencing_authorization_gives_an_address(stand: Stand) -> None:
    path = "/v1/conferencing_service_authorizations"
    status, answer = await stand.call("POST", path, json={"redirect_uri": "https://app.example"})
    assert status == 200
    assert answer["authorization_request"]["url"].startswith("https://app.cronofy.com/conferencing_services/")
    assert (await stand.call("POST", path, json={}))[0] == 422


def renewal(stand: Stand, **changes: str) -> dict[str, str]:
    return {
        "client_id": "sim-client",
        "client_secret": "sim-secret",
        "grant_type": "refresh_token",
        "refresh_token": stand.account.refresh_token,
    } | changes


@pytest.mark.parametrize("how", ["json", "data"])
async def test_a_refresh_in_json_or_form_gives_a_new_access_token(stand: Stand, how: str) -> None:
    before = stand.account.refresh_token
    stand.account.expire_token()
    assert (await stand.call("GET", "/v1/userinfo"))[0] == 401
    status, answer = await stand.call("POST", "/oauth/token", headers={}, **{how: renewal(stand)})
    assert status == 200
    assert (answer["expires_in"], answer["refresh_token"]) == (3600, before)
    assert (await stand.call("GET", "/v1/userinfo"))[0] == 200
    assert stand.world.requests[-2].account_id == stand.account.account_id
    assert stand.world.requests[-2].json["refresh_token"] == "[redacted]"


async def test_tokens_run_out_on_the_virtual_clock(stand: Stand) -> None:
    stand.world.advance(3590)
    assert (await stand.call("GET", "/v1/account"))[0] == 200
    stand.world.advance(11)
    assert (await stand.call("GET", "/v1/account"))[0] == 401


async def test_rotation_ends_the_old_refresh_token(stand: Stand) -> None:
    stand.world.settings.rotate_refresh = True
    first = renewal(stand)
    _, answer = await stand.call("POST", "/oauth/token", json=first)
    assert answer["refresh_token"] != first["refresh_token"]
    assert await stand.call("POST", "/oauth/token", json=first) == (400, {"error": "invalid_grant"})


async def test_an_early_refresh_may_return_the_same_token(stand: Stand) -> None:
    stand.world.settings.sticky_refresh = True
    before = stand.account.access_token
    stand.world.advance(600)
    _, answer = await stand.call("POST", "/oauth/token", json=renewal(stand))
    assert answer["access_token"] == before
    assert 2990 <= answer["expires_in"] <= 3000
    stand.world.advance(2500)
    _, answer = await stand.call("POST", "/oauth/token", json=renewal(stand))
    assert answer["access_token"] != before


async def test_token_errors(stand: Stand) -> None:
    async def refused(**changes: str) -> tuple[int, Any]:
        return await stand.call("POST", "/oauth/token", json=renewal(stand, **changes))

    assert await refused(client_id="nobody") == (400, {"error": "invalid_client"})
    stand.world.settings.invalid_client_status = 401
    assert await refused(client_secret="wrong") == (401, {"error": "invalid_client"})
    assert await refused(grant_type="password") == (400, {"error": "unsupported_grant_type"})
    assert await refused(refresh_token="") == (400, {"error": "invalid_request"})
    assert await refused(refresh_token="unknown") == (400, {"error": "invalid_grant"})
    assert (await stand.call("POST", "/oauth/token", data=b"nonsense"))[0] == 401


async def test_a_revoked_grant_answers_401_and_invalid_grant_until_authorized_again(stand: Stand) -> None:
    stand.account.revoke()
    assert (await stand.call("GET", "/v1/account"))[0] == 401
    assert (await stand.call("POST", "/oauth/token", json=renewal(stand)))[1] == {"error": "invalid_grant"}
    stand.account.authorize()
    assert (await stand.call("GET", "/v1/account"))[0] == 200


@pytest.mark.parametrize("by", ["access", "refresh", "sub"])
async def test_revocation_by_either_token_or_sub(stand: Stand, by: str) -> None:
    named = {
        "access": {"token": stand.account.access_token},
        "refresh": {"token": stand.account.refresh_token},
        "sub": {"sub": stand.account.account_id},
    }[by]
    credentials = {"client_id": "sim-client", "client_secret": "sim-secret"}
    assert (await stand.call("POST", "/oauth/token/revoke", json=named))[0] == 400
    assert (await stand.call("POST", "/oauth/token/revoke", json=credentials))[0] == 200
    assert not stand.account.revoked
    assert await stand.call("POST", "/oauth/token/revoke", json=credentials | named) == (200, "")
    assert stand.account.revoked


async def test_a_missing_scope_answers_403_in_the_chosen_dress(stand: Stand) -> None:
    stand.account.scope = "list_calendars"
    assert await stand.call("GET", "/v1/events", params=READ) == (403, "")
    assert (await stand.call("GET", "/v1/calendars"))[0] == 200
    entry = {"method": "POST", "relative_url": "/v1/calendars/x/events", "data": {}}
    stand.world.settings.error_body = "json"
    assert await stand.call("GET", "/v1/events", params=READ) == (403, {"error": "status_403"})
    stand.world.settings.error_body = "html"
    assert "<html>" in (await stand.call("GET", "/v1/events", params=READ))[1]
    _, answer = await stand.call("POST", "/v1/batch", json={"batch": [entry]})
    assert answer["batch"] == [{"status": 404}]
    assert (await stand.upsert(stand.body()))[0] == 403


async def test_an_unknown_bearer_answers_401_and_says_why(stand: Stand) -> None:
    url = stand.sim.url + "/v1/userinfo"
    for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer unknown"}):
        async with stand.session.get(url, headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert not stand.world.violations


async def test_what_looks_like_a_real_secret_is_refused_and_noted(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": "Bearer CRN_marker"}
    assert (await stand.call("GET", "/v1/userinfo", headers=headers))[0] == 401
    await stand.call("POST", "/oauth/token", json=renewal(stand, client_secret="CRN_marker"))
    assert len(stand.world.violations) == 2
    assert "real secret" in caplog.text
    assert "marker" not in caplog.text + str(stand.world.violations) + str(stand.world.requests)


async def test_a_token_of_another_data_center_is_refused_where_one_is_set(stand: Stand) -> None:
    stand.world.settings.data_center = "de"
    assert (await stand.call("GET", "/v1/userinfo"))[0] == 401
    assert stand.world.violations == ["bearer token of data centre us sent to de"]
    stand.account.data_center = "de"
    assert (await stand.call("GET", "/v1/userinfo"))[0] == 200


async def test_unknown_paths_and_methods_are_answered_and_recorded(stand: Stand) -> None:
    assert (await stand.call("GET", "/v1/free_busy"))[0] == 404
    assert (await stand.call("PUT", "/v1/userinfo"))[0] == 405
    assert [record.status for record in stand.world.requests] == [404, 405]


async def test_requests_are_recorded_without_tokens(stand: Stand) -> None:
    await stand.upsert(stand.body())
    await stand.call("GET", "/v1/events", params=[*READ.items(), ("calendar_ids[]", "a"), ("calendar_ids[]", "b")])
    await stand.call("GET", "/v1/userinfo", params={"access_token": "marker"})
    upsert, events, userinfo = stand.world.requests
    assert (upsert.kind, upsert.status, upsert.cost) == ("upsert", 202, 1)
    assert upsert.json["event_id"] == "e1"
    assert upsert.account_id == stand.account.account_id
    assert upsert.at.tzinfo is not None
    assert (events.kind, events.method, events.path) == ("events", "GET", "/v1/events")
    assert events.query[-2:] == [("calendar_ids[]", "a"), ("calendar_ids[]", "b")]
    assert userinfo.query == [("access_token", "[redacted]")]
    stand.world.clear_requests()
    assert stand.world.requests == []


async def test_harmful_requests_are_noted(stand: Stand) -> None:
    world, violations = stand.world, stand.world.violations
    await stand.upsert(stand.asking("fresh") | {"event_uid": "evt_external_1"})
    assert violations.pop().startswith("upsert with both event_id and event_uid")
    world.advance(3)
    await stand.upsert(stand.asking("fresh", event_uid="evt_external_1"))
    world.advance(3)
    assert violations[-1] == f"upsert on an event that has a link: {stand.calendar.calendar_id}/fresh"
    assert world.event(stand.calendar.calendar_id, "fresh").links_made == 2
    violations.clear()
    deleted = world.write_event(stand.account, stand.calendar.calendar_id, stand.body("deleted"))
    deleted.delete_by_user()
    await stand.upsert(stand.body("deleted"))
    assert "was deleted" in violations.pop()
    assert deleted.deleted is False
    vanished = world.write_event(stand.account, stand.calendar.calendar_id, stand.body("vanished"))
    vanished.forget()
    await stand.upsert(stand.body("vanished"))
    assert "no longer listed" in violations.pop()
    world.write_event(stand.account, stand.calendar.calendar_id, stand.body("past", days=-1))
    await stand.upsert(stand.body("past"))
    assert "start is past" in violations.pop()
    await stand.call("GET", "/v1/events", params=READ | {"calendar_ids": "x"})
    assert violations.pop() == "unknown query parameter calendar_ids"
    await stand.call("GET", "/v1/events")
    assert violations.pop() == "listing without tzid"
    stranger = world.add_account(email="other@example.com").add_calendar_profile().add_calendar()
    await stand.call("GET", "/v1/events", params=READ | {"calendar_ids[]": stranger.calendar_id})
    assert "another account" in violations.pop()
    await stand.call("POST", f"/v1/calendars/{stranger.calendar_id}/events", json=stand.body())
    assert "foreign calendar" in violations.pop()
    assert violations == []
