"""What a run is limited to: each option alone, several together, and runs that only look."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from reconciler.simulator import Simulator, World
from tests.acceptance.program import DAYS_AGO, Key, Planted, Program, Town, fresh_database, settings_for

EVERYTHING = ("--starting-after", "0s")


@dataclass
class Place:
    """A town in which every option has something to choose."""

    town: Town
    program: Program
    named: dict[str, Planted]

    async def looked_at(self, *words: str) -> set[str]:
        """The names of the events that a run of that scope reads."""
        before = self.town.states()
        done = await self.program("run", "--json", *words)
        assert done.code == 0, done
        after = self.town.states()
        found = {n for n, p in self.named.items() if after[p.key]["read_at"] != before[p.key]["read_at"]}
        assert done.json["events"]["due"] == done.json["events"]["read"] == len(found)
        return found


def build(town: Town) -> dict[str, Planted]:
    anna = town.resident("Anna", customer="Nordlicht GmbH", manager="Marta")
    bo = town.resident("Bo", customer="Nordlicht GmbH", manager="Priya")
    chi = town.resident("Chi", customer="さくらクリニック", manager="Priya")
    zoom, teams = anna.connect("zoom"), bo.connect("ms_teams")
    chi.connect("go_to")
    day = timedelta(days=1)
    dora = town.resident("Dora", customer="Vogel AG", manager="Sven")  # whose calendar alone makes links
    retired = dora.event("8x8", starts_in=day * 30, age=day * 3, stuck=True)
    retired.row["body"] = None
    unrepairable = chi.event("pro_gone", starts_in=day * 20, stuck=True)
    unrepairable.row["body"] = None
    return {
        "anna soon": anna.event(zoom, starts_in=day * 1.5, stuck=True),
        "anna late": anna.event("default", starts_in=day * 40, age=day * 3, stuck=True),
        "anna linked": anna.event(zoom, starts_in=day * 2, link=True),
        "bo": bo.event(teams, starts_in=day * 5, age=day * 2, stuck=True),
        "bo integrated": bo.event("integrated", starts_in=day * 6, stuck=True),
        "chi": chi.event("default", starts_in=day * 10, age=timedelta(hours=30), event_id="a/b c?d", stuck=True),
        "chi removed": unrepairable,
        "dora": dora.event("default", starts_in=day * 30, age=day * 3, stuck=True),
        "dora 8x8": retired,
    }


@pytest.fixture(scope="module")
async def place(server: str, template: str) -> AsyncIterator[Place]:
    world = World(seed=3)
    world.settings.rate_per_second, world.settings.rate_per_minute = 100_000, 1_000_000
    with fresh_database(server, template) as dsn:
        async with Simulator(world) as cronofy:
            town = Town(world, dsn)
            named = build(town)
            town.move_in()
            program = Program(settings_for(dsn, cronofy.url))
            first = await program("run", "--json")
            assert first.json["events"]["due"] == len(named)
            yield Place(town, program, named)


SCOPES: list[tuple[tuple[str, ...], set[str]]] = [
    (EVERYTHING, {"anna soon", "anna late", "bo", "bo integrated", "chi", "chi removed", "dora", "dora 8x8"}),
    (("--customer", "Nordlicht GmbH"), {"anna soon", "anna late", "bo", "bo integrated"}),
    (("--customer", "Nordlicht GmbH", "--customer", "さくらクリニック", "--manager", "Priya"),
     {"bo", "bo integrated", "chi", "chi removed"}),
    (("--provider", "google_meet", "--provider", "ms_teams"), {"bo", "bo integrated", "chi removed", "dora"}),
    (("--provider", "8x8"), {"chi removed", "dora 8x8"}),
    (("--profile", "default", "--provider", "zoom"), {"anna late"}),
    (("--starting-before", "48h"), {"anna soon"}),
    (("--starting-after", "7d", "--starting-before", "15d"), {"chi"}),
    (("--written-after", "24h"), {"anna soon", "bo integrated", "chi removed"}),
    (("--written-after", "P2DT1H", "--written-before", "24h"), {"bo", "chi"}),
    (("--cause", "profile_removed", "--cause", "missing_meeting_url"), {"chi removed", "bo integrated", "dora"}),
    (("--recheck-assigned", "--manager", "Marta"), {"anna soon", "anna late", "anna linked"}),
]  # fmt: skip


@pytest.mark.parametrize("words, want", SCOPES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
async def test_a_scope_holds_what_it_says(place: Place, words: tuple[str, ...], want: set[str]) -> None:
    assert await place.looked_at(*words) == want


async def test_one_account_and_one_event_can_be_named(place: Place) -> None:
    bo, chi, late = place.named["bo"], place.named["chi"], place.named["anna late"]
    assert await place.looked_at("--account", bo.row["account_id"], "--event", bo.name) == {"bo"}
    assert await place.looked_at("--event", chi.name, "--event", late.name) == {"chi", "anna late"}
    assert await place.looked_at("--event", chi.name, "--customer", "Nordlicht GmbH") == set()


async def test_a_scope_that_fits_nothing_is_said_so(place: Place) -> None:
    done = await place.program("run", "--customer", "nordlicht gmbh")
    assert done.code == 0
    assert len(done.complaints) == 1
    assert "scope" in done.complaints[0]


async def test_a_provider_that_nobody_is_known_to_have_is_said_so(place: Place) -> None:
    done = await place.program("plan", "--json", "--provider", "zom", "--provider", "zoom", "--provider", "google_meet")
    assert done.code == 0
    assert len(done.complaints) == 1
    assert " zom:" in done.complaints[0]


async def test_without_a_scope_only_what_is_due_again_is_read(place: Place) -> None:
    done = await place.program("plan", "--json")
    assert done.json["events"]["due"] == 0


def kept(town: Town) -> dict[str, list[dict[str, Any]]]:
    """All that a run that only looks must leave as it is."""
    return {
        "states": town.query("SELECT * FROM reconciler.event_states ORDER BY calendar_id, event_id"),
        "notices": town.query("SELECT * FROM reconciler.notices ORDER BY notice_id"),
        "incidents": town.query("SELECT * FROM reconciler.incidents"),
        "profiles": town.query("SELECT * FROM reconciler.known_profiles ORDER BY account_id, profile_id"),
        "accounts": town.query("SELECT * FROM reconciler.accounts ORDER BY account_id"),
        "events": town.query("SELECT * FROM reconciler.events ORDER BY calendar_id, event_id"),
        "story": town.query("SELECT * FROM reconciler.audit_entries WHERE account_id IS NOT NULL ORDER BY entry_id"),
    }


def trouble(town: Town) -> tuple[Planted, list[Key]]:
    who = town.resident()
    removed = who.event("pro_gone", stuck=True)
    who.connect()
    relink, revoked = town.resident(), town.resident()
    lost = relink.event(relink.connect(connected=False))
    barred = revoked.event(revoked.connect())
    revoked.account.revoke()
    waiting = []
    for _ in range(6):
        user = town.resident()
        waiting.append(user.event(user.connect("webex")).key)
    town.world.outage("webex")
    assert lost.key != barred.key
    return removed, waiting


@pytest.mark.parametrize("words", [("run", "--dry-run"), ("plan",)])
async def test_a_run_that_only_looks_writes_nothing_but_the_plan(
    program: Program, town: Town, words: tuple[str, ...]
) -> None:
    removed, waiting = trouble(town)
    town.move_in()
    before = kept(town)
    done = await program(*words, "--json")
    assert done.code == 0, done
    assert kept(town) == before
    assert {request.kind for request in town.world.requests} <= {"events", "userinfo", "token"}
    summary = done.json
    assert summary["dry_run"] is True
    assert summary["causes"] == {
        "account_unauthorized": 1,
        "profile_removed": 1,
        "profile_disconnected": 1,
        "provider_outage": len(waiting),
    }
    assert (summary["outcomes"]["repaired"], summary["incidents"]["opened"]) == (1, 1)
    (run,) = town.query("SELECT dry_run, status FROM reconciler.runs")
    assert run == {"dry_run": True, "status": "completed"}
    items = town.query("SELECT calendar_id, event_id, cause, remedy FROM reconciler.plan_items")
    assert {(item["cause"], item["remedy"].split()[0]) for item in items} == {
        ("account_unauthorized", "park"),
        ("profile_removed", "reupsert"),
        ("profile_disconnected", "notify"),
    }
    for_real = await program("run", "--json")
    for name in ("accounts", "events", "causes", "outcomes", "notices", "incidents"):
        assert for_real.json[name] == summary[name], name
    assert len(removed.event.writes) == 1


async def test_a_dry_run_says_what_a_run_would_do_and_claims_to_have_done_nothing(program: Program, town: Town) -> None:
    removed, waiting = trouble(town)
    town.move_in()
    (profile,) = removed.resident.account.conferencing_profiles
    done = await program("run", "--dry-run", "-v")
    assert done.code == 0, done
    for would in ("write 1 event again", "queue 2 notices", "park 1 account", "open 1 incident"):
        assert f" would {would}\n" in done.out
    assert f"would wait for the link of {len(waiting)} events\n" in done.out
    assert "; nothing was written\n" in done.out
    assert "1 to be parked" in done.out
    assert "`reconciler plan` with the same options keeps one" in done.out
    lines = {line.split("  ")[0]: line for line in done.complaints}
    assert set(lines) == {planted.name for planted in town.planted}
    assert len(lines) == len(done.complaints)
    assert lines[removed.name].startswith(
        f"{removed.name}  profile_removed  write again: {removed.row['profile_id']} -> {profile.profile_id} (zoom"
    )
    assert {lines["/".join(key)].split("  ", 1)[1] for key in waiting} == {"provider_outage  wait"}
    planned = await program("plan")
    (stored,) = town.query("SELECT plan_id FROM reconciler.plans WHERE digest IS NOT NULL")
    assert f"reconciler apply {stored['plan_id']}\n" in planned.out
    assert f"{removed.name}: {removed.row['profile_id']} -> {profile.profile_id}" in planned.out


async def test_a_run_says_in_one_line_each_what_became_of_the_events(program: Program, town: Town) -> None:
    _, waiting = trouble(town)
    town.move_in()
    for _ in range(2):
        done = await program("run", "-v", "--starting-after", "1s")
        said = [line for line in done.complaints if line.startswith(tuple("/".join(key) for key in waiting))]
        assert {line.split("  ", 1)[1] for line in said} == {"provider_outage  wait"}
        assert len(said) == len(waiting)


async def test_a_dry_run_says_where_a_run_would_stop_short(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    for _ in range(30):
        who.event("pro_gone", age=DAYS_AGO, stuck=True)
    town.move_in()
    done = await program("run", "--dry-run")
    assert " would write 30 events again\n" in done.out
    (said,) = done.complaints
    assert "a run would make at most 19 of these 30 repairs" in said


async def test_a_plan_says_what_it_is_and_what_it_costs(program: Program, town: Town) -> None:
    removed, waiting = trouble(town)
    town.move_in()
    done = await program("plan", "--json")
    plan = done.json
    (stored,) = town.query("SELECT plan_id, digest FROM reconciler.plans")
    assert (plan["plan_id"], plan["digest"]) == (str(stored["plan_id"]), stored["digest"])
    counted = {name: plan["remedies"].get(name) for name in ("reupsert", "notify", "park")}
    assert counted == {"reupsert": 1, "notify": 1, "park": 1}
    assert plan["causes"]["provider_outage"] == len(waiting)
    assert plan["expected_requests"] >= 2
    assert plan["expected_seconds"] >= 0
    assert plan["requests"]["total"] == len(town.world.requests)
    (books,) = town.query("SELECT summary FROM reconciler.runs")
    assert {**books["summary"], "items": plan["items"]} == plan
    (write,) = [item for item in plan["items"] if item["detail"]["remedy"] == "reupsert"]
    assert (write["calendar_id"], write["event_id"]) == removed.key
    assert write["detail"]["provider_change"] == "unknown"
    again = (await program("plan", "--json")).json
    assert again["digest"] == plan["digest"]
    assert again["plan_id"] != plan["plan_id"]
    text = (await program("plan")).out
    for shown in ("plan ", "digest ", "remedies ", f"requests   about {plan['expected_requests']} to", removed.name):
        assert shown in text
    town.world.advance(1)
    removed.resident.connect("ms_teams")
    assert (await program("plan", "--json")).json["digest"] != plan["digest"]
