"""The application's database refuses what is written back: that costs the correction alone.

The event is not written again for it. A time that a trigger gives the row on our correction is none of the
application's writes.
"""

from datetime import timedelta

import psycopg
import pytest

from tests.acceptance.logins import as_login
from tests.acceptance.program import DAYS_AGO, FOR_EVER, Done, Planted, Program, Resident, Town
from tests.acceptance.test_rewriting import writing

PARTIAL = 3
NOW = {"RECONCILER_MAX_REPAIR_SHARE": "1", "RECONCILER_GRACE": "1s"}
AGAIN = ("run", "--json", "--starting-after", "1s")
SHARED = {**NOW, "RECONCILER_ENGINE": "pgqueuer", "RECONCILER_HEARTBEAT": "5s"}


def before_update(what: str, on: str = "events") -> str:
    """A trigger of the application's before each update of a row; `secret` in its words must reach nobody."""
    return (
        f"CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NEW; END $$;"
        f"CREATE TRIGGER guard BEFORE UPDATE ON reconciler.{on} FOR EACH ROW EXECUTE FUNCTION public.guard()"
    )


AFTER = (
    "CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE reconciler.events"
    " SET profile_id = OLD.profile_id WHERE event_id = NEW.event_id; RETURN NULL; END $$;"
    "CREATE TRIGGER guard AFTER UPDATE ON reconciler.events FOR EACH ROW"
    " WHEN (OLD.profile_id IS DISTINCT FROM NEW.profile_id AND pg_trigger_depth() = 0) EXECUTE FUNCTION public.guard()"
)
REFERENCE = (
    "CREATE TABLE profiles (id text PRIMARY KEY);"
    "INSERT INTO profiles SELECT DISTINCT profile_id FROM reconciler.events;"
    "ALTER TABLE reconciler.events ADD CONSTRAINT known_profile FOREIGN KEY (profile_id) REFERENCES profiles"
)
VIEW = (
    "ALTER TABLE reconciler.events RENAME TO bookings; ALTER TABLE reconciler.bookings SET SCHEMA public;"
    "CREATE VIEW reconciler.events AS SELECT * FROM bookings WHERE profile_id = 'pro_gone' WITH CHECK OPTION"
)
TWICE = (
    "ALTER TABLE reconciler.events DROP CONSTRAINT events_pkey;"
    "INSERT INTO reconciler.events SELECT * FROM reconciler.events"
)
REFUSALS = {
    "a trigger that raises": (before_update("RAISE EXCEPTION 'secret: %', NEW.body"), "function guard refuses it"),
    "a trigger that returns null": (before_update("RETURN NULL"), "changed nothing"),
    "a trigger that puts it back": (before_update("NEW.profile_id := OLD.profile_id"), "changed nothing"),
    "a trigger that keeps the body": (before_update("NEW.body := OLD.body"), "changed nothing"),
    "a trigger that puts it back later": (AFTER, "changed nothing"),
    "a trigger that is cancelled": (before_update("RAISE SQLSTATE '57014'"), "57014"),
    "a trigger that ends the session": (
        before_update("PERFORM pg_terminate_backend(pg_backend_pid())"), "connection to Postgres was lost",
    ),
    "a check": (
        "ALTER TABLE reconciler.events ADD CONSTRAINT only_gone CHECK (profile_id = 'pro_gone')",
        "constraint only_gone",
    ),
    "a foreign key": (REFERENCE, "constraint known_profile"),
    "a foreign key checked at the end": (f"{REFERENCE} DEFERRABLE INITIALLY DEFERRED", "constraint known_profile"),
    "a unique key": (
        "CREATE UNIQUE INDEX one_each ON reconciler.events ((profile_id <> 'pro_gone')) WHERE profile_id <> 'pro_gone';"
        "INSERT INTO reconciler.events SELECT calendar_id, 'another', account_id, now() - interval '1 day', ends_at,"
        " 'default', body, written_at FROM reconciler.events LIMIT 1", "constraint one_each",
    ),
    "a view's own condition": (VIEW, "WithCheckOption"),
    "the same key twice": (TWICE, "2 times"),
    "a policy": (
        "ALTER TABLE reconciler.events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY look ON reconciler.events FOR SELECT USING (true);"
        "CREATE POLICY change ON reconciler.events FOR UPDATE USING (true) WITH CHECK (profile_id = 'pro_gone')",
        "42501",
    ),
}  # fmt: skip


def execute(town: Town, statements: str) -> None:
    with psycopg.connect(town.dsn, autocommit=True) as connection:
        connection.execute(statements.encode())


def somebody(town: Town, events: int = 1) -> tuple[Resident, list[Planted], str]:
    """A person whose profile was removed, and the one in its place; no link comes by itself."""
    who = town.resident()
    planted = [who.event("pro_gone", age=DAYS_AGO, stuck=True) for _ in range(events)]
    zoom = who.connect()
    town.world.settings.generation_delay = FOR_EVER
    return who, planted, zoom


def rewind(town: Town) -> None:
    """As if all that was written or repaired had been so an hour ago, and the grace long over."""
    town.query("UPDATE reconciler.event_states SET repaired_at = repaired_at - interval '1 hour'")


def kinds(done: Done) -> list[str]:
    return [error["kind"] for error in done.json["errors"]]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refused_correction_costs_itself_alone(program: Program, town: Town, refusal: str) -> None:
    statements, said = REFUSALS[refusal]
    _, (event,), zoom = somebody(town)
    town.move_in()
    if refusal == "a policy":  # which binds no superuser
        program = as_login(town, program, "reconciler_worker")
    execute(town, statements)
    done = await program("run", "--json", env=NOW)
    assert (done.code, kinds(done)) == (PARTIAL, ["correction_refused"]), done
    assert said in done.json["errors"][0]["message"], done.json["errors"]
    assert "secret" not in done.err + done.out
    assert (done.json["outcomes"]["repaired"], done.json["accounts"]["done"]) == (1, 1)
    assert event.event.writes == [event.asking_for(zoom)]
    state = town.states()[event.key]
    assert (state["repairs"], state["intended_at"], state["uncorrected_profile"]) == (1, None, zoom)
    assert town.stories()[event.key] == ["repair:intended", "repair:applied", "correction:refused"]

    rewind(town)
    again = await program(*AGAIN, env=NOW)
    assert (again.code, again.json["requests"]["upsert"], again.json["outcomes"]["repaired"]) == (0, 0, 0), again
    assert town.states()[event.key]["cause"] == "unexplained"
    event.event.assign()
    last = await program(*AGAIN, env=NOW)
    assert (last.code, last.json["outcomes"]["confirmed"], last.json["causes"]) == (0, 1, {"assigned": 1}), last
    assert len(event.event.writes) == 1
    for words in ("verify", "replay"):
        assert (await program("audit", words)).code == 0
    told = await program("explain", *event.key)
    assert "the application's database refused to put that into its row" in told.out
    assert "secret" not in told.out


async def test_one_events_refused_correction_leaves_its_neighbours_corrected(program: Program, town: Town) -> None:
    _, events, zoom = somebody(town, 4)
    other, (elsewhere,), _ = somebody(town)
    town.move_in()
    bad = events[1]
    execute(town, before_update(f"IF NEW.event_id = '{bad.row['event_id']}' THEN RAISE EXCEPTION 'no'; END IF"))
    done = await program("run", "--json", env=NOW)
    assert (done.code, kinds(done), done.json["outcomes"]["repaired"]) == (PARTIAL, ["correction_refused"], 5), done
    rows = town.rows()
    assert [rows[e.key]["profile_id"] for e in events] == [zoom, "pro_gone", zoom, zoom]
    assert rows[elsewhere.key]["profile_id"] == other.account.conferencing_profiles[0].profile_id
    assert [e["account_id"] for e in done.json["errors"]] == [bad.row["account_id"]]


async def test_a_refusal_that_is_lifted_lets_the_next_look_correct_the_row(program: Program, town: Town) -> None:
    _, (event,), zoom = somebody(town)
    town.move_in()
    execute(town, before_update("RETURN NULL"))
    assert (await program("run", env=NOW)).code == PARTIAL
    execute(town, "DROP TRIGGER guard ON reconciler.events")
    done = await program(*AGAIN, env=NOW)
    assert (done.code, len(event.event.writes)) == (0, 1), done
    row, state = town.rows()[event.key], town.states()[event.key]
    assert (row["profile_id"], row["body"], row["written_at"]) == (
        zoom, event.asking_for(zoom), event.row["written_at"],
    )  # fmt: skip
    assert (state["uncorrected_profile"], state["uncorrected_reason"]) == (None, None)


async def test_what_the_application_writes_after_a_refused_correction_is_judged_by_itself(
    program: Program, town: Town
) -> None:
    _, (event,), _ = somebody(town)
    town.move_in()
    execute(town, before_update("IF NEW.written_at = OLD.written_at THEN RETURN NULL; END IF"))
    assert (await program("run", env=NOW)).code == PARTIAL
    town.query("UPDATE reconciler.events SET written_at = now() + interval '2 s'")
    rewind(town)
    done = await program(*AGAIN, env={**NOW, "RECONCILER_GRACE": "1d"})
    assert (done.code, done.json["causes"]) == (0, {"settling": 1}), done
    assert town.states()[event.key]["uncorrected_profile"] is None
    assert len(event.event.writes) == 1


async def test_a_profile_that_is_lost_anew_is_another_reason_to_write(program: Program, town: Town) -> None:
    who, (event,), zoom = somebody(town)
    town.move_in()
    execute(town, before_update("RETURN NULL"))
    assert (await program("run", env=NOW)).code == PARTIAL
    who.account.remove_conferencing_profile(zoom)
    second = who.connect()
    rewind(town)
    done = await program(*AGAIN, env=NOW)
    assert (done.code, kinds(done)) == (PARTIAL, ["correction_refused"]), done
    assert event.event.writes == [event.asking_for(zoom), event.asking_for(second)]
    assert town.states()[event.key]["uncorrected_profile"] == second


async def test_two_rows_of_one_event_that_differ_are_never_written(program: Program, town: Town) -> None:
    _, (event,), _ = somebody(town)
    town.move_in()
    execute(town, TWICE)
    town.query("UPDATE reconciler.events SET written_at = written_at - interval '1 h' WHERE ctid IN"
               " (SELECT max(ctid) FROM reconciler.events)")  # fmt: skip
    for _ in range(2):
        done = await program(*AGAIN, env=NOW)
        assert "Traceback" not in done.err
        assert done.code in {0, PARTIAL}, done
    assert event.event.writes == []


async def test_a_refused_correction_can_be_undone(program: Program, town: Town) -> None:
    _, (event,), zoom = somebody(town)
    town.world.settings.unknown_profile = "late"
    town.move_in()
    execute(town, before_update("RETURN NULL"))
    run = (await program("run", "--json", env=NOW)).json["run_id"]
    done = await program("undo", run, "--json", env=NOW)
    assert (done.code, done.json["asked"]["carried_out"]) == (0, 1), done
    assert event.event.writes == [event.asking_for(zoom), event.asking_for("pro_gone")]
    assert town.states()[event.key]["uncorrected_profile"] is None


async def test_processes_that_share_a_run_record_a_refused_correction_too(program: Program, town: Town) -> None:
    _, (event,), zoom = somebody(town)
    town.move_in()
    execute(town, before_update("RAISE EXCEPTION 'no'"))
    done = await program("run", "--json", "--run-key", "night", env=SHARED)
    assert (done.code, kinds(done)) == (PARTIAL, ["correction_refused"]), done
    assert town.states()[event.key]["uncorrected_profile"] == zoom


async def test_a_row_that_somebody_keeps_locked_is_corrected_by_a_later_look(program: Program, town: Town) -> None:
    _, (event, neighbour), zoom = somebody(town, 2)
    async with writing(program, town, after_commit=True) as running:
        locked = psycopg.connect(town.dsn)
        locked.execute(b"UPDATE reconciler.events SET ends_at = ends_at WHERE event_id = %s", event.key[1:])
    try:
        done = await running.end()
    finally:
        locked.close()
    assert (done.code, kinds(done)) == (PARTIAL, ["correction_refused"]), done
    assert "locked" in done.json["errors"][0]["message"]
    assert town.rows()[neighbour.key]["profile_id"] == zoom
    assert (await program(*AGAIN, env=NOW)).code == 0
    assert town.rows()[event.key]["profile_id"] == zoom
    assert len(event.event.writes) == 1


JOINED = """
ALTER TABLE reconciler.events RENAME TO bookings; ALTER TABLE reconciler.bookings SET SCHEMA public;
CREATE VIEW reconciler.events AS SELECT b.calendar_id, b.event_id, account_id, b.starts_at, b.ends_at, b.profile_id,
    b.body::text::jsonb AS body, b.written_at, b.cancelled_at
    FROM bookings b JOIN reconciler.accounts USING (account_id);
CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE bookings SET profile_id = NEW.profile_id, body = NEW.body, written_at = now()
    WHERE calendar_id = NEW.calendar_id AND event_id = NEW.event_id; RETURN NEW; END $$;
CREATE TRIGGER take INSTEAD OF UPDATE ON reconciler.events FOR EACH ROW EXECUTE FUNCTION take()
"""


async def test_a_view_over_a_join_takes_a_correction_by_its_trigger(program: Program, town: Town) -> None:
    _, (event,), zoom = somebody(town)
    town.move_in()
    execute(town, JOINED)
    done = await program("run", "--json", env=NOW)
    assert (done.code, done.json["outcomes"]["repaired"]) == (0, 1), done
    row = town.rows()[event.key]
    assert (row["profile_id"], row["body"]) == (zoom, event.asking_for(zoom))
    event.event.assign()
    again = await program(*AGAIN, env=NOW)
    assert (again.code, again.json["outcomes"]["confirmed"], len(event.event.writes)) == (0, 1, 1), again


# ---------------------------------------------------------------- a time that a trigger gives the row

STAMPS = {
    "before the update": before_update("NEW.written_at := clock_timestamp()"),
    "to the transaction's time": before_update("NEW.written_at := now()"),
    "ahead of time": before_update("NEW.written_at := now() + interval '2 days'"),
    "after the update": (
        "CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE reconciler.events"
        " SET written_at = clock_timestamp() WHERE event_id = NEW.event_id; RETURN NULL; END $$;"
        "CREATE TRIGGER guard AFTER UPDATE ON reconciler.events FOR EACH ROW WHEN (pg_trigger_depth() = 0)"
        " EXECUTE FUNCTION public.guard()"
    ),
}


@pytest.mark.parametrize("stamp", STAMPS)
async def test_a_time_given_on_our_own_correction_is_no_write_of_the_applications(
    program: Program, town: Town, stamp: str
) -> None:
    _, (event,), zoom = somebody(town)
    town.move_in()
    execute(town, STAMPS[stamp])
    done = await program("run", "--json", env=NOW)
    assert (done.code, done.json["errors"], done.json["requests"]["events"]) == (0, [], 1), done
    row, state = town.rows()[event.key], town.states()[event.key]
    assert (row["profile_id"], row["written_at"] != event.row["written_at"]) == (zoom, True)
    assert (state["seen_written_at"], state["stamped_from"]) == (row["written_at"], event.row["written_at"])

    rewind(town)
    again = await program(*AGAIN, env=NOW)
    assert (again.code, again.json["causes"], again.json["requests"]["upsert"]) == (0, {"unexplained": 1}, 0), again
    event.event.assign()
    last = await program(*AGAIN, env=NOW)
    assert (last.code, last.json["outcomes"]["confirmed"]) == (0, 1), last
    assert (await program("run", "--json", env=NOW)).json["events"]["due"] == 0
    assert len(event.event.writes) == 1
    assert town.stories()[event.key] == ["repair:intended", "repair:applied", "event:judged", "event:judged",
                                         "event:confirmed"]  # fmt: skip
    assert (await program("audit", "replay")).code == 0


async def test_a_stamped_repair_that_finds_its_link_at_once_is_not_due_again(program: Program, town: Town) -> None:
    """The outcome of the write is not known until a read proves it: then state and correction come at one moment."""
    _, (event,), zoom = somebody(town)
    town.move_in()
    execute(town, STAMPS["before the update"])
    town.world.settings.generation_delay = 0
    town.query(
        "INSERT INTO reconciler.event_states (calendar_id, event_id, account_id, intended_at, intended_profile,"
        " next_read_at, seen_written_at) SELECT calendar_id, event_id, account_id, now() - interval '1 min', %s,"
        " now(), written_at FROM reconciler.events", zoom,
    )  # fmt: skip
    event.event.assign()
    done = await program("run", "--json", env=NOW)
    assert (done.code, done.json["outcomes"]["confirmed"]) == (0, 1), done
    assert town.rows()[event.key]["profile_id"] == zoom
    assert (await program("run", "--json", env=NOW)).json["events"]["due"] == 0


async def test_a_stamped_repair_can_be_undone(program: Program, town: Town) -> None:
    _, (event,), _ = somebody(town)
    town.world.settings.unknown_profile = "late"
    town.move_in()
    execute(town, STAMPS["before the update"])
    run = (await program("run", "--json", env=NOW)).json["run_id"]
    done = await program("undo", run, "--json", env=NOW)
    assert (done.code, done.json["asked"]["carried_out"]) == (0, 1), done
    assert town.rows()[event.key]["profile_id"] == "pro_gone"
    assert town.states()[event.key]["stamped_from"] == event.row["written_at"]


async def test_what_the_application_writes_after_a_stamp_is_its_own(program: Program, town: Town) -> None:
    _, (event,), _ = somebody(town)
    town.move_in()
    execute(town, STAMPS["to the transaction's time"])
    assert (await program("run", env=NOW)).code == 0
    execute(town, "DROP TRIGGER guard ON reconciler.events")
    town.query("UPDATE reconciler.events SET written_at = now() + interval '1 min'")
    done = await program(*AGAIN, env={**NOW, "RECONCILER_GRACE": "1d"})
    assert (done.code, done.json["causes"]) == (0, {"settling": 1}), done
    assert town.states()[event.key]["stamped_from"] is None


# ---------------------------------------------------------------- the accounts' rows


@pytest.mark.parametrize(
    "refusal",
    [
        before_update("IF NEW.state = 'parked' THEN RAISE EXCEPTION 'secret'; END IF", "accounts"),
        before_update("NEW.state := OLD.state", "accounts"),
        "ALTER TABLE reconciler.accounts ADD CONSTRAINT never_parked CHECK (state = 'active')",
    ],
    ids=["raises", "puts it back", "a check"],
)
async def test_an_account_that_cannot_be_parked_is_its_own_error(program: Program, town: Town, refusal: str) -> None:
    who, fine = town.resident(), town.resident()
    lost, found = who.event(who.connect()), fine.event(fine.connect(), link=True)
    who.account.revoke()
    town.move_in()
    execute(town, refusal)
    done = await program("run", "--json", env=NOW)
    assert (done.code, kinds(done)) == (PARTIAL, ["parking_refused"]), done
    assert "secret" not in done.err + done.out
    assert town.states()[found.key]["cause"] == "assigned"
    assert town.states()[lost.key]["cause"] == "account_unauthorized"
    assert [notice["kind"] for notice in town.notices()] == ["reauthorize_account"]


@pytest.mark.parametrize(
    "refusal",
    [
        before_update("IF NEW.access_token <> OLD.access_token THEN RAISE EXCEPTION 'secret'; END IF", "accounts"),
        before_update("RETURN NULL", "accounts"),
        before_update("NEW.access_token := OLD.access_token", "accounts"),
        "ALTER TABLE reconciler.accounts ADD CONSTRAINT short CHECK (length(access_token) < 20) NOT VALID",
    ],
    ids=["raises", "returns null", "puts it back", "a check"],
)
async def test_tokens_that_cannot_be_stored_cost_their_account_alone(
    program: Program, town: Town, refusal: str
) -> None:
    who = town.resident(token_expires_at=town.now - timedelta(hours=1))
    fine = town.resident()
    left, found = who.event(who.connect()), fine.event(fine.connect(), link=True)
    town.move_in()
    execute(town, refusal)
    done = await program("run", "--json", env=NOW)
    assert (done.code, kinds(done)) == (PARTIAL, ["token_not_stored"]), done
    assert "secret" not in done.err + done.out
    assert (done.json["accounts"]["failed"], list(town.states())) == (1, [found.key])
    assert left.key not in town.states()
    execute(town, "DROP TRIGGER IF EXISTS guard ON reconciler.accounts;"
                  "ALTER TABLE reconciler.accounts DROP CONSTRAINT IF EXISTS short")  # fmt: skip
    assert (await program("run", "--json", env=NOW)).code == 0


# ---------------------------------------------------------------- our own rows


async def test_a_refusal_is_told_beside_another_error_of_its_account(program: Program, town: Town) -> None:
    somebody(town)
    town.move_in()
    execute(town, before_update("RETURN NULL"))
    execute(town, "ALTER TABLE reconciler.known_profiles ADD CONSTRAINT none_at_all CHECK (false)")
    done = await program("run", "--json", env=NOW)
    assert (done.code, kinds(done)) == (PARTIAL, ["internal", "correction_refused"]), done
    assert "Cronofy accepted the repair" in done.json["errors"][1]["message"]


@pytest.mark.parametrize("relation", ["known_profiles", "notices"])
async def test_an_accepted_write_is_on_record_where_something_else_of_its_account_cannot_be(
    program: Program, town: Town, relation: str
) -> None:
    """As by a value of Cronofy's that the relation does not take."""
    who, (event,), zoom = somebody(town)
    asks = who.event(who.connect("go_to", connected=False), age=DAYS_AGO, stuck=True)
    town.move_in()
    execute(town, f"ALTER TABLE reconciler.{relation} ADD CONSTRAINT none_at_all CHECK (false)")
    done = await program("run", "--json", env=NOW)
    assert (done.code, kinds(done), done.json["outcomes"]["repaired"]) == (PARTIAL, ["internal"], 1), done
    assert "Traceback" not in done.err
    state = town.states()[event.key]
    assert (state["repairs"], state["intended_at"], town.rows()[event.key]["profile_id"]) == (1, None, zoom)
    assert town.stories() == {event.key: ["repair:intended", "repair:applied"]}
    execute(town, f"ALTER TABLE reconciler.{relation} DROP CONSTRAINT none_at_all")
    rewind(town)
    again = await program(*AGAIN, env=NOW)
    assert (again.code, len(event.event.writes)) == (0, 1), again
    assert town.causes()[asks.key] == "profile_disconnected"
