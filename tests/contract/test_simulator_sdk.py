"""The official Python SDK against the simulator, changed in nothing but its base URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pycronofy
import pytest
from pycronofy.batch import BatchBuilder
from pycronofy.exceptions import PyCronofyPartialSuccessError, PyCronofyRequestError

from reconciler.simulator import Settings, Simulator, World

START = datetime(2026, 6, 3, 9, 0, tzinfo=UTC)


def an_event(event_id: str, **fields: object) -> dict[str, object]:
    return {
        "event_id": event_id,
        "summary": "Demo",
        "start": START,
        "end": START + timedelta(hours=1),
        "tzid": "Etc/UTC",
        **fields,
    }


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World(settings=Settings(page_size=2), now=datetime(2026, 6, 1, tzinfo=UTC))
    account = made.add_account("acc_1", access_token="access", refresh_token="refresh")
    account.add_calendar_profile().add_calendar("cal_1")
    account.add_conferencing_profile(profile_id="pro_zoom")
    async with Simulator(made) as sim:
        monkeypatch.setattr(pycronofy.settings, "API_BASE_URL", sim.url)
        yield made


def a_client(**tokens: str) -> pycronofy.Client:
    return pycronofy.Client(client_id="sim-client", client_secret="sim-secret", **tokens)


async def test_the_sdk_writes_reads_and_pages(world: World) -> None:
    client = a_client(access_token="access", refresh_token="refresh")

    def use() -> list[dict[str, object]]:
        for number in range(5):
            client.upsert_event("cal_1", an_event(f"e{number}", conferencing={"profile_id": "pro_zoom"}))
        return list(client.read_events(tzid="Etc/UTC", only_managed=True))

    events = await asyncio.to_thread(use)
    assert sorted(str(event["event_id"]) for event in events) == [f"e{number}" for number in range(5)]
    assert all(event["conferencing"] == {"pending": True} for event in events)
    world.advance(3)
    (first, *_) = await asyncio.to_thread(
        lambda: client.read_events(
            from_date=START.date(), to_date=(START + timedelta(days=1)).date(), calendar_ids=("cal_1",)
        ).all()
    )
    assert first["conferencing"]["provider_name"] == "zoom"
    assert world.violations == []


async def test_the_sdk_reads_who_somebody_is(world: World) -> None:
    client = a_client(access_token="access")
    info, account, profiles, calendars = await asyncio.to_thread(
        lambda: (client.userinfo(), client.account(), client.list_profiles(), client.list_calendars())
    )
    assert info["sub"] == account["account_id"] == "acc_1"
    assert profiles[0]["profile_id"] == calendars[0]["profile_id"]
    url = await asyncio.to_thread(client.get_conferencing_services_auth_link, "https://app.example")
    assert url.startswith("https://")
    assert {record.kind for record in world.requests} == {"userinfo", "other"}


async def test_the_sdk_refreshes_and_revokes(world: World) -> None:
    world.settings.rotate_refresh = True
    world.accounts["acc_1"].expire_token()
    client = a_client(refresh_token="refresh")
    tokens = await asyncio.to_thread(client.refresh_authorization)
    assert tokens["refresh_token"] != "refresh"
    assert (await asyncio.to_thread(client.account))["account_id"] == "acc_1"
    await asyncio.to_thread(client.revoke_authorization)
    client = a_client(access_token=tokens["access_token"], refresh_token=tokens["refresh_token"])
    with pytest.raises(PyCronofyRequestError) as refusal:
        await asyncio.to_thread(client.refresh_authorization)
    assert refusal.value.response.json() == {"error": "invalid_grant"}


async def test_the_sdk_sends_batches(world: World) -> None:
    client = a_client(access_token="access")
    good = BatchBuilder().upsert_event("cal_1", an_event("a")).delete_event("cal_1", "b")
    result = await asyncio.to_thread(client.batch, good)
    assert [entry.status() for entry in result.entries] == [202, 202]
    mixed = BatchBuilder().upsert_event("cal_1", an_event("c")).upsert_event("cal_1", an_event("d", summary=""))
    with pytest.raises(PyCronofyPartialSuccessError) as partial:
        await asyncio.to_thread(client.batch, mixed)
    assert [entry.status() for entry in partial.value.batch_response.errors()] == [422]
    assert ("cal_1", "c") in world.events
    assert ("cal_1", "d") not in world.events


async def test_the_sdk_gets_a_readable_422(world: World) -> None:
    client = a_client(access_token="access")
    with pytest.raises(PyCronofyRequestError) as refusal:
        await asyncio.to_thread(client.upsert_event, "cal_1", an_event("x", conferencing={"profile_id": "pro_no"}))
    errors = refusal.value.response.json()["errors"]
    assert errors["conferencing.profile_id"][0]["key"] == "errors.not_recognized"
    assert world.events == {}
