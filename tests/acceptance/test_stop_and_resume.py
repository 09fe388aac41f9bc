"""Stopped, killed, started twice: what was begun is finished once, and nothing is left lying."""

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from reconciler.simulator.faults import Fault
from tests.acceptance.program import DAYS_AGO, Done, Planted, Program, Resident, Row, Running, Town

PARTIAL, STOPPED, ALREADY = 3, 5, 75
BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1", "RECONCILER_CONCURRENCY": "2"}


def people_to_repair(town: Town, number: int, each: int = 2) -> list[Planted]:
    """People with a removed profile and another in its place, and besides one who must relink."""
    events = []
    for _ in range(number):
        who = town.resident()
        events += [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(each)]
        who.connect()
        town.resident().event("default", link=True)
        waiting = town.resident()
        waiting.event(waiting.connect(connected=False))
    return events


def asked(town: Town, kind: str) -> int:
    return sum(request.kind == kind for request in town.world.requests)


def answered(town: Town) -> int:
    return sum(request.status is not None for request in town.world.requests)


def open_runs(town: Town) -> list[Row]:
    return town.query("SELECT * FROM reconciler.runs WHERE status = 'running'")


def assert_finished_once(town: Town, repaired: list[Planted]) -> None:
    """Everything was done, nothing twice."""
    assert town.world.violations == []
    states = town.states()
    assert states.keys() == {p.key for p in town.planted}
    for event in repaired:
        assert all(
            body == event.asking_for(event.resident.account.conferencing_profiles[0].profile_id)
            for body in event.event.writes
        )
        assert event.event.links_made <= 1
    notices = town.query("SELECT account_id, kind, profile_id FROM reconciler.notices")
    assert len(notices) == len({tuple(n.values()) for n in notices}) == len(repaired and town.residents) // 3
    assert open_runs(town) == []
    stories = town.stories()
    for event in repaired:
        story = stories[event.key]
        assert story[0] == "repair:intended"
        assert story.count("repair:intended") == sum(
            tag in {"repair:applied", "repair:in_doubt", "repair:unsent", "repair:unneeded"} for tag in story
        ), story


async def test_sigterm_ends_what_is_in_flight_and_leaves_the_rest_due(program: Program, town: Town) -> None:
    repaired = people_to_repair(town, 5)
    town.move_in()
    town.world.settings.latency = 0.3
    running = await program.start("run", "--json", "--run-key", "night", env=BOLD)
    await running.until(lambda: answered(town) >= 3)
    running.signal(signal.SIGTERM)
    done = await running.end()
    assert done.code == STOPPED, done
    assert done.complaints == ["reconciler: stopped early; the rest stays due"]
    accounts = done.json["accounts"]
    assert accounts["done"] >= 1
    assert accounts["left"] >= 1
    assert accounts["done"] + accounts["left"] == accounts["due"] == 15
    assert all(request.status is not None for request in town.world.requests)
    worked = {request.account_id for request in town.world.requests}
    assert {p.row["account_id"] for p in town.planted if p.key in town.states()} == worked
    town.world.settings.latency = 0
    again = await program("run", "--json", "--run-key", "night", "--provider", "zoom", env=BOLD)
    assert again.code == 0, again
    assert again.json["run_id"] == done.json["run_id"]
    assert "a run goes on with the scope it was begun with" in again.err
    assert again.json["accounts"] == {"due": 15, "done": 15, "failed": 0, "parked": 0, "left": 0}
    assert again.json["outcomes"]["repaired"] == len(repaired)
    assert_finished_once(town, repaired)
    for what in ("verify", "replay"):
        assert (await program("audit", what)).code == 0


async def test_sigterm_before_anything_is_planned_is_no_crash(program: Program, town: Town) -> None:
    people_to_repair(town, 1)
    town.move_in()
    with psycopg.connect(town.dsn) as blocker:
        blocker.execute("LOCK TABLE reconciler.run_units")
        running = await program.start("run", "--json", env=BOLD)
        await running.until(lambda: bool(open_runs(town)))
        running.signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
    done = await running.end()
    assert done.code in {0, STOPPED}, done
    assert "Traceback" not in done.err
    assert open_runs(town) == []


async def test_sigint_stops_as_gently(program: Program, town: Town) -> None:
    people_to_repair(town, 2)
    town.move_in()
    town.world.settings.latency = 0.3
    running = await program.start("run", env=BOLD)
    await running.until(lambda: answered(town) >= 1)
    running.signal(signal.SIGINT)
    done = await running.end()
    assert (done.code, "Traceback" in done.err) == (STOPPED, False), done


@pytest.mark.parametrize("engine", ["local", "pgqueuer"])
async def test_a_run_that_is_to_end_waits_for_no_pause_and_counts_what_it_sent(
    program: Program, town: Town, engine: str
) -> None:
    repaired = people_to_repair(town, 4)
    town.move_in()
    pause = Fault("status", status=429, headers={"Retry-After": "3600"}, match_path="^/v1/(calendars|batch)")
    town.world.faults.add(pause)
    night = ("run", "--json", "--run-key", "night")
    env = {**BOLD, "RECONCILER_ENGINE": engine, "RECONCILER_HEARTBEAT": "5s"}
    running = await program.start(*night, env=env)
    await running.until(lambda: pause.hits >= 1)
    running.signal(signal.SIGTERM)
    done = await running.end()
    assert done.code == STOPPED, done
    assert done.json["accounts"]["left"] >= 1
    assert done.json["requests"]["total"] == len(town.world.requests)
    assert done.json["requests"]["refused"] == pause.hits
    town.world.faults.remove(pause)
    town.query("DELETE FROM reconciler.request_budget")  # the pause is over
    again = await program(*night, env=env)
    assert (again.code, again.json["accounts"]["left"]) == (0, 0), again
    assert again.json["requests"]["total"] == len(town.world.requests)
    assert_finished_once(town, repaired)


MOMENTS: dict[str, Callable[[Town], bool]] = {
    "a listing is under way": lambda town: asked(town, "events") >= 1,
    "some are recorded": lambda town: bool(
        town.query("SELECT 1 FROM reconciler.event_states WHERE read_at IS NOT NULL")
    ),
    "a second write is under way": lambda town: asked(town, "upsert") + asked(town, "batch") >= 2,
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_the_next_run_of_the_key_finishes(program: Program, town: Town, moment: str) -> None:
    repaired = people_to_repair(town, 3)
    town.move_in()
    town.world.settings.latency = 0.15
    running = await program.start("run", "--json", "--run-key", "night", env=BOLD)
    await running.until(lambda: MOMENTS[moment](town))
    running.signal(signal.SIGKILL)
    await running.end()
    assert len(open_runs(town)) == 1
    town.world.settings.latency = 0
    done = await program("run", "--json", "--run-key", "night", env=BOLD)
    assert done.code == 0, done
    assert done.json["accounts"]["left"] == 0
    town.world.advance(60)
    after = await program("run", "--json", env=BOLD)
    assert after.code == 0, after
    assert_finished_once(town, repaired)
    assert all(town.states()[event.key]["cause"] == "assigned" for event in repaired)


async def test_killed_after_the_link_came_the_next_run_writes_nothing_more(program: Program, town: Town) -> None:
    (event,) = people_to_repair(town, 1, each=1)
    town.move_in()
    town.world.faults.add(Fault("hang", match_path="^/v1/(calendars|batch)", after_commit=True))
    running = await program.start("run", "--run-key", "night", env=BOLD)
    await running.until(lambda: len(event.event.writes) == 1)
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.faults.clear()
    town.world.advance(30)
    done = await program("run", "--json", "--run-key", "night", env=BOLD)
    assert done.code == 0, done
    assert len(event.event.writes) == 1
    assert_finished_once(town, [event])
    assert done.json["outcomes"]["repaired"] == done.json["outcomes"]["confirmed"] == 1
    assert town.rows()[event.key]["profile_id"] == event.resident.account.conferencing_profiles[0].profile_id


async def test_killed_again_and_again_over_a_write_every_intent_has_its_outcome(program: Program, town: Town) -> None:
    (event,) = people_to_repair(town, 1, each=1)
    town.move_in()
    town.world.faults.add(Fault("hang", match_path="^/v1/(calendars|batch)"))
    for kills in (1, 2):
        running = await program.start("run", env=BOLD)
        await running.until(lambda kills=kills: asked(town, "upsert") == kills)  # type: ignore[misc]
        running.signal(signal.SIGKILL)
        await running.end()
        town.query("UPDATE reconciler.event_states SET intended_at = intended_at - interval '1 minute'")
    town.world.faults.clear()
    assert (await program("run", env=BOLD)).code == 0
    in_doubt, applied = ["repair:intended", "repair:in_doubt"], ["repair:intended", "repair:applied"]
    assert town.stories()[event.key] == [*in_doubt, *in_doubt, *applied]
    assert_finished_once(town, [event])


async def test_killed_between_the_last_account_and_the_conclusion(program: Program, town: Town) -> None:
    who = town.resident()
    held = who.event(who.connect(), stuck=True)
    town.move_in()
    with psycopg.connect(town.dsn) as blocker:
        blocker.execute("LOCK TABLE reconciler.incidents")
        running = await program.start("run", "--run-key", "night")
        await running.until(lambda: bool(town.query("SELECT 1 FROM reconciler.run_held")))
        running.signal(signal.SIGKILL)
        await running.end()
    assert town.states()[held.key]["cause"] is None
    done = await program("run", "--json", "--run-key", "night")
    assert done.code == 0, done
    assert done.json["causes"] == {"unexplained": 1}
    assert town.states()[held.key]["cause"] == "unexplained"
    assert town.query("SELECT 1 FROM reconciler.run_held") == []
    assert open_runs(town) == []


async def test_what_an_abandoned_run_had_held_back_is_judged_by_the_next_and_forgotten(
    program: Program, town: Town
) -> None:
    who, other = town.resident(), town.resident()
    held = who.event(who.connect(), stuck=True)
    late = other.event(other.connect(), link=True)
    town.move_in()
    lost = town.world.faults.add(Fault("hang", account_id=other.account.account_id))
    running = await program.start("run", "--run-key", "night")
    await running.until(lambda: bool(town.query("SELECT 1 FROM reconciler.run_held")))
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.faults.remove(lost)
    held.event.assign()
    assert (await program("run")).code == 0
    assert town.causes() == {held.key: "assigned", late.key: "assigned"}
    assert town.query("SELECT 1 FROM reconciler.run_held") == []
    resumed = await program("run", "--json", "--run-key", "night")
    assert (resumed.code, resumed.json["accounts"]["left"]) == (0, 0), resumed
    assert town.causes() == {held.key: "assigned", late.key: "assigned"}, "old evidence decides nothing anew"


UNHEARD_OF = {
    "held evidence": "UPDATE reconciler.run_held SET evidence = '{\"rules\": [null]}' WHERE account_id = %s",
    "a state": "UPDATE reconciler.event_states SET rejections = '[1]' WHERE account_id = %s",
}


@pytest.mark.parametrize("what", UNHEARD_OF)
async def test_a_verdict_that_cannot_be_given_costs_its_account_alone(program: Program, town: Town, what: str) -> None:
    events = []
    for _ in range(4):
        who = town.resident()
        events.append(who.event(who.connect(), stuck=True))
    town.move_in()
    odd = sorted(events, key=lambda event: event.resident.account.account_id)[1]
    account_id = odd.resident.account.account_id
    with psycopg.connect(town.dsn) as blocker:
        blocker.execute("LOCK TABLE reconciler.incidents")
        running = await program.start("run", "--json")
        await running.until(lambda: len(town.query("SELECT 1 FROM reconciler.run_held")) == len(events))
        town.query(UNHEARD_OF[what], account_id)
    done = await running.end()
    assert (done.code, done.json["status"]) == (PARTIAL, "partial"), done
    assert done.complaints == ["reconciler: 1 account could not be read or written; it stays due"]
    assert done.json["accounts"] == {"due": 4, "done": 3, "failed": 1, "parked": 0, "left": 0}
    assert [(error["account_id"], error["kind"]) for error in done.json["errors"]] == [(account_id, "internal")]
    assert done.json["causes"] == {"unexplained": 3}
    assert town.causes() == {event.key: None if event is odd else "unexplained" for event in events}
    town.query("UPDATE reconciler.event_states SET rejections = '[]'")
    again = await program("run", "--json")
    assert (again.code, again.json["accounts"]["due"]) == (0, 1), again
    assert town.causes()[odd.key] == "unexplained"
    for proof in ("verify", "replay"):
        assert (await program("audit", proof)).code == 0


async def test_explain_says_that_a_write_is_in_doubt_whose_process_was_killed(program: Program, town: Town) -> None:
    who = town.resident()
    event = who.event("pro_gone", age=DAYS_AGO, stuck=True)
    who.connect()
    town.move_in()
    held = town.world.faults.add(Fault("hold", match_path="^/v1/calendars/"))
    running = await program.start("run", env=BOLD)
    await running.until(lambda: asked(town, "upsert") == 1)
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.faults.remove(held)
    in_doubt = "whether the write took effect is not known; the next run reads it before anything is written again"
    assert f"expected next: {in_doubt}\n" in (await program("explain", *event.key)).out
    assert (await program("explain", *event.key, "--json")).json["expected_next"] == in_doubt
    assert (await program("run", env=BOLD)).code == 0
    assert in_doubt not in (await program("explain", *event.key)).out


async def test_a_run_without_a_key_takes_up_what_a_killed_one_left(program: Program, town: Town) -> None:
    repaired = people_to_repair(town, 2)
    town.move_in()
    town.world.settings.latency = 0.2
    running = await program.start("run", "--run-key", "night", env=BOLD)
    await running.until(lambda: answered(town) >= 3)
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.settings.latency = 0
    assert (await program("run", env=BOLD)).code == 0
    statuses = [row["status"] for row in town.query("SELECT status FROM reconciler.runs ORDER BY started_at")]
    assert statuses == ["partial", "completed"]
    assert_finished_once(town, repaired)


async def test_a_dry_run_that_was_killed_does_not_go_on_in_earnest(program: Program, town: Town) -> None:
    repaired = people_to_repair(town, 2)
    town.move_in()
    town.world.settings.latency = 0.2
    running = await program.start("run", "--dry-run", "--run-key", "night", env=BOLD)
    await running.until(lambda: answered(town) >= 3)
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.settings.latency = 0
    refused = await program("run", "--run-key", "night", env=BOLD)
    assert (refused.code, "dry run" in refused.complaints[-1]) == (ALREADY, True), refused
    assert all(event.event.writes == [] for event in repaired)
    assert open_runs(town) == []


async def test_a_deadline_stops_a_run(program: Program, town: Town) -> None:
    people_to_repair(town, 4)
    town.move_in()
    town.world.settings.latency = 0.4
    done = await program("run", "--json", "--max-duration", "1s", env=BOLD)
    assert (done.code, done.json["status"]) == (STOPPED, "stopped"), done
    assert done.json["accounts"]["left"] > 0
    by_start = sorted((p for p in town.planted), key=lambda p: p.row["starts_at"])
    known = town.states().keys()
    seen = [p.key in known for p in by_start]
    assert seen == sorted(seen, reverse=True), "the soonest are taken first"


async def test_a_finished_key_is_not_done_again(program: Program, town: Town) -> None:
    people_to_repair(town, 1)
    town.move_in()
    assert (await program("run", "--run-key", "night", env=BOLD)).code == 0
    requests = len(town.world.requests)
    again = await program("run", "--json", "--run-key", "night", env=BOLD)
    assert (again.code, again.out, len(again.complaints)) == (ALREADY, "", 1)
    assert "night" in again.complaints[0]
    assert len(town.world.requests) == requests
    assert len(town.query("SELECT 1 FROM reconciler.runs")) == 1


async def test_two_runs_at_once_share_the_work(program: Program, town: Town) -> None:
    repaired = people_to_repair(town, 4)
    town.move_in()
    town.world.settings.latency = 0.1
    one, other, same_key, refused = await started(
        program, ("run", "--json"), ("run", "--json"), ("run", "--run-key", "k"), ("run", "--run-key", "k")
    )
    assert {one.code, other.code} == {0}, (one, other)
    assert sorted((same_key.code, refused.code)) == [0, ALREADY]
    town.world.advance(60)
    town.world.settings.latency = 0
    assert (await program("run", env=BOLD)).code == 0
    assert_finished_once(town, repaired)
    assert all(len(event.event.writes) == 1 for event in repaired)
    assert (await program("audit", "verify")).code == 0


async def started(program: Program, *commands: tuple[str, ...]) -> list[Done]:
    running: list[Running] = [await program.start(*words, env=BOLD) for words in commands]
    return [await process.end() for process in running]


async def test_a_lost_answer_is_resolved_by_reading(program: Program, town: Town) -> None:
    who = town.resident()
    events = [who.event("pro_gone", stuck=True) for _ in range(2)]
    zoom = who.connect()
    town.move_in()
    town.world.settings.generation_delay = 0
    town.world.faults.add(Fault("reset", match_path="^/v1/(calendars|batch)", after_commit=True, times=1))
    done = await program("run", "--json", env=BOLD)
    assert done.code == 0, done
    assert [event.event.writes for event in events] == [[event.asking_for(zoom)] for event in events]
    assert done.json["outcomes"]["repaired"] == 2
    assert town.world.violations == []


async def test_a_dropped_write_is_never_believed(program: Program, town: Town) -> None:
    who = town.resident()
    event = who.event("pro_gone", stuck=True)
    who.connect()
    town.move_in()
    town.world.faults.add(Fault("drop_write", match_path="^/v1/calendars", times=1))
    assert (await program("run", "--json", env=BOLD)).json["outcomes"]["repaired"] == 1
    again = await program("run", "--json", env=BOLD)
    assert again.json["outcomes"]["confirmed"] == 0
    assert again.json["causes"] == {"settling": 1}
    assert len(event.event.writes) == 1


async def test_verify_after_confirms_within_the_run(program: Program, town: Town) -> None:
    who = town.resident()
    event = who.event("pro_gone", stuck=True)
    who.connect()
    town.move_in()
    town.world.settings.generation_delay = 0.2
    done = await program("run", "--json", "--verify-after", "1s", env=BOLD)
    assert (done.code, done.json["outcomes"]["repaired"], done.json["outcomes"]["confirmed"]) == (0, 1, 1)
    assert town.stories()[event.key][-1] == "event:confirmed"
    assert done.json["events"] == {"due": 1, "read": 1, "settled": 1}


async def test_nought_on_the_command_line_turns_the_second_look_off(program: Program, town: Town) -> None:
    who = town.resident()
    who.event("pro_gone", stuck=True)
    who.connect()
    town.move_in()
    off = await program("run", "--json", "--verify-after", "0", env={**BOLD, "RECONCILER_VERIFY_AFTER": "10s"})
    assert (off.code, off.json["outcomes"]["confirmed"]) == (0, 0)
    assert off.json["duration_seconds"] < 10


async def test_a_limit_refuses_the_rest_and_keeps_it_for_apply(program: Program, town: Town) -> None:
    events = people_to_repair(town, 3, each=1)
    town.move_in()
    done = await program("run", "--json", env={**BOLD, "RECONCILER_MAX_REPAIRS": "2", "RECONCILER_CONCURRENCY": "1"})
    assert (done.code, done.json["status"]) == (4, "refused"), done
    assert sum(len(event.event.writes) for event in events) == 2
    (kept,) = [event for event in events if not event.event.writes]
    (plan,) = town.query("SELECT plan_id FROM reconciler.plans")
    assert str(plan["plan_id"]) in done.complaints[0]
    items = town.query("SELECT calendar_id, event_id FROM reconciler.plan_items")
    assert [tuple(item.values()) for item in items] == [kept.key]
    assert kept.key not in town.states() or town.states()[kept.key]["settled_at"] is None
    again = await program("run", "--json", env=BOLD)
    assert (again.code, len(kept.event.writes)) == (0, 1)


def broken(town: Town, number: int) -> list[Resident]:
    """People for whom Cronofy answers 500, with the soonest events of all."""
    lost = []
    for index in range(number):
        who = town.resident()
        who.event(who.connect(), starts_in=timedelta(days=1, minutes=index), link=True)
        fault = Fault("status", status=500, account_id=who.account.account_id, match_path="^/v1/")
        town.world.faults.add(fault)
        lost.append(who)
    return lost


async def test_a_broken_account_costs_itself_alone(program: Program, town: Town) -> None:
    broken(town, 3)
    late = town.resident()
    event = late.event(late.connect(), link=True)
    town.move_in()
    done = await program("run", "--json")
    assert (done.code, done.json["accounts"]["failed"]) == (PARTIAL, 3), done
    assert town.causes() == {event.key: "assigned"}


async def test_status_names_the_first_accounts_that_the_last_run_could_not_read(program: Program, town: Town) -> None:
    who = town.resident()
    who.event(who.connect(), link=True)
    lost = [resident.account.account_id for resident in broken(town, 7)]
    town.move_in()
    done = await program("run", "--json")
    assert done.code == PARTIAL, done
    told, last = (await program("status")).out, (await program("status", "--json")).json["last_run"]
    assert last["trouble"] == {"accounts": 7, "errors": done.json["errors"][:5]}
    assert [error["account_id"] for error in last["trouble"]["errors"]] == lost[:5]
    lines = [line for line in told.splitlines() if line.startswith("  failed ")]
    assert [line.startswith(f"  failed     {lost[n]}: server_error: ") for n, line in enumerate(lines[:5])] == [
        True
    ] * 5
    assert lines[5:] == ["  failed     and 2 more"]
    town.world.faults.clear()
    assert (await program("run")).code == 0
    told, last = (await program("status")).out, (await program("status", "--json")).json["last_run"]
    assert ("  failed " in told, last["trouble"]) == (False, {"accounts": 0, "errors": []})


async def test_several_broken_accounts_at_the_end_are_no_outage(program: Program, town: Town) -> None:
    broken(town, 4)
    who = town.resident()
    who.event(who.connect(), link=True)
    town.move_in()
    done = await program("run", "--json")
    assert (done.code, done.json["accounts"]["failed"]) == (PARTIAL, 4), done


async def test_several_broken_accounts_do_not_keep_the_others_from_being_read_for_ever(
    program: Program, town: Town
) -> None:
    broken(town, 4)
    late = town.resident()
    event = late.event(late.connect(), link=True)
    town.move_in()
    done = await program("run", "--json", env={"RECONCILER_CONCURRENCY": "1"})
    assert town.causes() == {event.key: "assigned"}, done


async def test_a_hanging_account_costs_no_more_than_its_timeouts(program: Program, town: Town) -> None:
    stuck, fine = town.resident(), town.resident()
    stuck.event(stuck.connect(), link=True)
    event = fine.event(fine.connect(), link=True)
    town.world.faults.add(Fault("hang", account_id=stuck.account.account_id))
    town.move_in()
    done = await program("run", "--json", env={"RECONCILER_HTTP_TIMEOUT": "0.5s"})
    assert (done.code, done.json["errors"][0]["kind"]) == (PARTIAL, "timeout"), done
    assert done.json["duration_seconds"] < 5
    assert town.causes() == {event.key: "assigned"}


async def test_the_report_of_a_killed_run_says_so_and_that_it_ended_early_once_it_is_closed(
    program: Program, town: Town
) -> None:
    people_to_repair(town, 1)
    town.move_in()
    held = town.world.faults.add(Fault("hold", match_path="^/v1/events"))
    running = await program.start("run")
    await running.until(lambda: asked(town, "events") >= 1)
    (run,) = open_runs(town)
    report = ("report", "--run", str(run["run_id"]))
    assert "The run is still under way" in (await program(*report)).out
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.faults.remove(held)
    told = (await program(*report)).out
    assert ("its process is gone" in told, "still under way" in told.lower()) == (True, False)
    assert (await program("run", env=BOLD)).code == 0
    told = (await program(*report)).out
    assert "Ended early: 3 of 3 accounts were not looked at. It read 0 meetings in 0 accounts." in told
    assert "could not be read or written" not in told


SPENT = (
    "INSERT INTO reconciler.notices (kind, account_id, events, last_event_at)"
    " VALUES ('relink_conferencing', %s, '[]', now() - interval '1 hour')"
)


async def test_status_counts_accounts_left_to_another_run_as_left(program: Program, town: Town) -> None:
    done, shared, reading = [town.resident() for _ in range(3)]
    for who in (done, shared, reading):
        who.event(who.connect(), link=True)
    town.move_in()
    holds = [
        town.world.faults.add(Fault("hold", match_path="^/v1/events", account_id=who.account.account_id))
        for who in (shared, reading)
    ]
    first = await program.start("run", "--account", shared.account.account_id)
    await first.until(lambda: asked(town, "events") == 1)
    second = await program.start("run", "--run-key", "night", "--json")
    count = "SELECT count(*) AS n FROM reconciler.run_units WHERE state = 'skipped' OR state = 'done'"
    await second.until(lambda: town.query(count) == [{"n": 2}])
    told, data = (await program("status")).out, (await program("status", "--json")).json
    (run,) = [run for run in data["runs"] if run["run_key"] == "night"]
    for hold in holds:
        town.world.faults.remove(hold)
    assert (run["accounts"], run["accounts_done"], run["accounts_left"]) == (3, 1, 2)
    assert "(night): 1 of 3 accounts" in told
    assert (await first.end()).code == 0
    ended = await second.end()
    accounts = ended.json["accounts"]
    assert (ended.code, accounts["done"], accounts["left"]) == (0, 2, 1)
    assert ended.complaints == ["reconciler: 1 account is in another run's hands, which looks after it"]


@pytest.mark.parametrize(
    "key, words",
    [("night", "a run with its key goes on with it, any other closes it"), (None, "the next run closes it")],
)
async def test_status_says_what_becomes_of_a_run_whose_process_is_gone(
    program: Program, town: Town, key: str | None, words: str
) -> None:
    people_to_repair(town, 1)
    town.move_in()
    held = town.world.faults.add(Fault("hold", match_path="^/v1/events"))
    running = await program.start("run", *(("--run-key", key) if key else ()))
    await running.until(lambda: asked(town, "events") >= 1)
    running.signal(signal.SIGKILL)
    await running.end()
    town.world.faults.remove(held)
    assert f"(its process is gone; {words})\n" in (await program("status")).out


async def test_a_run_resolves_no_notice_of_an_account_that_another_has_in_hand(program: Program, town: Town) -> None:
    busy, other = town.resident(), town.resident()
    event = busy.event("pro_gone", age=DAYS_AGO, stuck=True)
    busy.connect()
    other.event("default", link=True)
    town.move_in()
    town.query(SPENT, busy.account.account_id)
    writing = town.world.faults.add(Fault("hold", match_path="/calendars/", times=1))
    running = await program.start("run", "--json", "--account", busy.account.account_id, env=BOLD)
    await running.until(lambda: writing.held == 1)
    beside = await program("run", "--json", "--account", other.account.account_id, env=BOLD)
    assert beside.code == 0, beside
    assert town.query("SELECT status FROM reconciler.notices") == [{"status": "queued"}]
    town.world.faults.remove(writing)
    done = await running.end()
    assert (done.code, done.json["outcomes"]["repaired"]) == (0, 1), done
    assert town.query("SELECT status FROM reconciler.notices") == [{"status": "resolved"}]
    assert town.stories()[event.key][:2] == ["repair:intended", "repair:applied"]
    assert (await program("audit", "verify")).code == 0


async def test_an_entry_that_came_between_costs_nobody_his_record(program: Program, town: Town) -> None:
    who = town.resident()
    who.event("default", link=True)
    town.move_in()
    reading = town.world.faults.add(Fault("hold", match_path="^/v1/events", times=1))
    running = await program.start("run", "--json", env=BOLD)
    await running.until(lambda: reading.held == 1)
    account = who.account.account_id
    town.query(
        "INSERT INTO reconciler.audit_entries (run_id, at, tag, account_id, prev_hash, hash, chain, seq)"
        " SELECT run_id, now(), 'notice:resolved', %s, repeat('0', 64), repeat('1', 64), %s, 1 FROM reconciler.runs",
        account, account,
    )  # fmt: skip
    town.world.faults.remove(reading)
    done = await running.end()
    assert (done.code, done.json["accounts"]["done"]) == (0, 1), done
    chain = town.query("SELECT seq, prev_hash FROM reconciler.audit_entries WHERE chain = %s ORDER BY seq", account)
    assert [(row["seq"], row["prev_hash"][0]) for row in chain] == [(1, "0"), (2, "1")]


@pytest.mark.parametrize(
    "words, trigger",
    [
        (("--run-key", "night"), "schedule"),
        (("--run-key", "on-demand-1", "--reason", "after the Zoom outage"), "on_demand"),
        (("--reason", "a look"), "on_demand"),
        ((), "on_demand"),
    ],
)
async def test_a_run_with_a_key_and_no_reason_counts_as_scheduled(
    program: Program, town: Town, words: tuple[str, ...], trigger: str
) -> None:
    assert (await program("run", "--json", *words)).json["trigger"] == trigger
    assert town.query("SELECT trigger FROM reconciler.runs") == [{"trigger": trigger}]
