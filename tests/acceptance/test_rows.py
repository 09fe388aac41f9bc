"""What the application may store and we cannot use costs the event, or the account, that it is stored for: named."""

from collections.abc import Mapping

import psycopg
import pytest

from tests.acceptance.program import Done, Planted, Program, Town

EVERYTHING = ("--starting-after", "0s")
PARTIAL = 3
MILLISECONDS, INFINITE, PAST, ANCIENT = "to_timestamp(1790000000000)", "'infinity'", "'-infinity'", "'0044-03-15 BC'"
NO_TIME = "is infinite or beyond the years 1 to 9999"


def no_traceback(done: Done) -> Done:
    assert "Traceback" not in done.err, done.err
    assert "internal" not in done.out, done.out
    assert done.code in {0, PARTIAL}, done
    return done


def errors_of(done: Done) -> list[tuple[str, str]]:
    return [(e["kind"], e["message"]) for e in done.json["errors"]]


def put(town: Town, relation: str, column: str, value: str, key: str, of: str) -> None:
    """Write a value as SQL writes it."""
    town.query(f"UPDATE reconciler.{relation} SET {column} = {value} WHERE {key} = %s", of)  # noqa: S608 - our own words


def neighbours(town: Town) -> tuple[Planted, Planted]:
    """A removed profile of somebody else's, which is repaired; and an event of the same person with its link."""
    other = town.resident()
    other.connect()
    return other.event("pro_gone", stuck=True), other.event("default", link=True)


async def shown_by_every_command(program: Program, town: Town, odd: Planted, what: str) -> None:
    """`what` stands where somebody looks for it, and nobody sees a traceback."""
    explained = no_traceback(await program("explain", *odd.key))
    assert f"cannot be used: {what}" in explained.out, explained.out
    assert what in no_traceback(await program("explain", *odd.key, "--json")).json["event"]["faults"]
    assert what in no_traceback(await program("status")).out
    for form in ("html", "csv", "json"):
        no_traceback(await program("report", "--since", "1d", "--format", form))
    run_id = town.query("SELECT run_id FROM reconciler.runs ORDER BY started_at LIMIT 1")[0]["run_id"]
    report = no_traceback(await program("report", "--run", str(run_id), "--format", "json"))
    assert "unusable_row" in report.out
    for words in (("audit", "verify"), ("audit", "replay"), ("undo", str(run_id))):
        no_traceback(await program(*words))


@pytest.mark.parametrize("value", [MILLISECONDS, INFINITE, PAST, ANCIENT])
@pytest.mark.parametrize("column", ["starts_at", "ends_at", "written_at", "cancelled_at"])
async def test_a_time_that_python_cannot_hold_costs_that_event_alone(
    program: Program, town: Town, column: str, value: str
) -> None:
    who = town.resident()
    odd, same = who.event(who.connect(), stuck=True), who.event("default", link=True)
    repaired, linked = neighbours(town)
    town.move_in()
    put(town, "events", column, value, "event_id", odd.row["event_id"])
    done = no_traceback(await program("run", "-v", "--json"))
    assert (done.code, errors_of(done)) == (
        PARTIAL,
        [("unusable_row", f"reconciler.events: {column} {NO_TIME} (event {odd.name})")],
    )
    assert repaired.event.writes
    assert odd.event.writes == []
    assert {key for key, cause in town.causes().items() if cause == "assigned"} == {same.key, linked.key}
    assert odd.key not in town.states()
    plan = no_traceback(await program("plan", "--json", *EVERYTHING))
    no_traceback(await program("apply", plan.json["plan_id"]))
    await shown_by_every_command(program, town, odd, f"{column} {NO_TIME}")


async def test_several_rows_of_one_account_are_an_error_each_and_many_are_counted(program: Program, town: Town) -> None:
    who = town.resident()
    zoom = who.connect()
    odd = [who.event(zoom, link=True) for _ in range(30)]
    fine = who.event(zoom, link=True)
    town.move_in()
    town.query("UPDATE reconciler.events SET ends_at = 'infinity' WHERE event_id <> %s", fine.row["event_id"])
    done = await program("run", "--json")
    told = errors_of(done)
    assert done.code == PARTIAL
    assert [message.partition("event ")[2].rstrip(")") for _, message in told[:-1]] == [p.name for p in odd[:20]]
    assert told[-1] == ("unusable_row", "10 more values of this account's events cannot be used")
    assert town.causes() == {fine.key: "assigned"}
    assert done.json["accounts"] == {"due": 1, "done": 0, "failed": 1, "parked": 0, "left": 0}


@pytest.mark.parametrize(
    "column, value",
    [(c, v) for c in ("token_expires_at", "updated_at") for v in (MILLISECONDS, INFINITE, PAST, ANCIENT)],
)
async def test_a_time_that_python_cannot_hold_costs_that_account_alone(
    program: Program, town: Town, column: str, value: str
) -> None:
    who = town.resident()
    odd = who.event(who.connect(), stuck=True)
    repaired, linked = neighbours(town)
    town.move_in()
    put(town, "accounts", column, value, "account_id", who.row["account_id"])
    done = no_traceback(await program("run", "--json"))
    error = {"account_id": who.row["account_id"], "kind": "unusable_row"}
    assert done.json["errors"] == [{**error, "message": f"reconciler.accounts: {column} {NO_TIME}"}]
    assert done.code == PARTIAL
    assert repaired.event.writes
    assert town.causes()[linked.key] == "assigned"
    assert odd.key not in town.states()
    explained = no_traceback(await program("explain", *odd.key))
    assert f"cannot be used: its account's {column} {NO_TIME}" in explained.out


@pytest.mark.parametrize("value", [MILLISECONDS, INFINITE])
async def test_a_notification_of_no_time_proves_nothing_and_is_named(program: Program, town: Town, value: str) -> None:
    who = town.resident()
    event = who.event(who.connect(), stuck=True)
    repaired, _ = neighbours(town)
    town.move_in()
    town.query(
        "INSERT INTO reconciler.notifications (account_id, calendar_id, event_id, type, subtype)"
        " VALUES (%s, %s, %s, 'conferencing_failing', 'missing_meeting_url')",
        who.row["account_id"],
        *event.key,
    )
    put(town, "notifications", "received_at", value, "event_id", event.row["event_id"])
    done = no_traceback(await program("run", "--json"))
    assert (done.code, errors_of(done)) == (
        PARTIAL,
        [("unusable_row", f"reconciler.notifications: received_at {NO_TIME} (event {event.name})")],
    )
    assert town.causes()[event.key] == "unexplained"
    assert repaired.event.writes
    no_traceback(await program("explain", *event.key))


@pytest.mark.parametrize(
    "columns, what",
    [
        ({"event_id": ""}, "event_id is empty"),
        ({"calendar_id": ""}, "calendar_id is empty"),
        ({"account_id": ""}, "account_id is empty"),
        ({"event_id": "e" * 2600}, "event_id is too long (the ids may have 2500 bytes together)"),
        ({"calendar_id": "ü" * 1300}, "calendar_id is too long (the ids may have 2500 bytes together)"),
        ({"account_id": "a" * 3000}, "account_id is too long (the ids may have 2500 bytes together)"),
        (
            {"profile_id": "pro_" + "x" * 5000},
            "profile_id is too long (account_id and profile_id may have 2500 bytes together)",
        ),
    ],
)
async def test_an_id_that_our_tables_refuse_costs_that_event_alone(
    program: Program, town: Town, columns: Mapping[str, str], what: str
) -> None:
    who = town.resident()
    odd = who.event("pro_gone", stuck=True)
    same = who.event("default", link=True)
    repaired, _ = neighbours(town)
    odd.row |= columns
    town.move_in()
    if "account_id" in columns:
        town.query("UPDATE reconciler.accounts SET updated_at = now()")
    done = no_traceback(await program("run", "-v", "--json"))
    assert done.code == PARTIAL
    [(kind, message)] = errors_of(done)
    assert kind == "unusable_row"
    assert message.startswith(f"reconciler.events: {what} (event ")
    assert len(message) < 400
    assert repaired.event.writes
    assert town.causes()[same.key] == "assigned"
    assert odd.event.writes == []
    assert "too long" in no_traceback(await program("status")).out or "empty" in what
    explained = no_traceback(await program("explain", "/".join(odd.key)) if all(odd.key) else await program("status"))
    assert what in explained.out
    no_traceback(await program("plan"))


async def test_a_long_id_that_our_tables_take_is_an_id_like_any_other(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    long = "".join(chr(ord("a") + (n * 7919 + n * n) % 26) for n in range(2400))
    event = who.event("pro_gone", stuck=True, event_id=long)
    town.move_in()
    done = await program("run", "--json")
    assert (done.code, done.json["errors"]) == (0, [])
    assert event.event.writes


def as_view(town: Town) -> None:
    """The application's own table behind a view, which promises nothing that a table would."""
    with psycopg.connect(town.dsn) as connection:
        connection.execute("ALTER TABLE reconciler.events RENAME TO own_events")
        connection.execute("ALTER TABLE reconciler.own_events DROP CONSTRAINT events_pkey")
        for column in ("calendar_id", "event_id", "account_id", "starts_at", "written_at"):
            connection.execute(f"ALTER TABLE reconciler.own_events ALTER {column} DROP NOT NULL")
        connection.execute("CREATE VIEW reconciler.events AS SELECT * FROM reconciler.own_events")


@pytest.mark.parametrize("column", ["calendar_id", "event_id", "account_id", "starts_at", "written_at"])
async def test_a_null_where_a_view_promises_none_costs_that_event_alone(
    program: Program, town: Town, column: str
) -> None:
    who = town.resident()
    odd, same = who.event(who.connect(), stuck=True), who.event("default", link=True)
    repaired, _ = neighbours(town)
    town.move_in()
    as_view(town)
    put(town, "own_events", column, "NULL", "event_id", odd.row["event_id"])
    done = no_traceback(await program("run", "--json"))
    assert done.code == PARTIAL
    [(kind, message)] = errors_of(done)
    assert (kind, f"reconciler.events: {column} is null" in message) == ("unusable_row", True)
    assert repaired.event.writes
    assert town.causes()[same.key] == "assigned"
    no_traceback(await program("status"))
    no_traceback(await program("report", "--since", "1d", "--format", "html"))
    if column not in {"calendar_id", "event_id"}:
        assert f"{column} is null" in no_traceback(await program("explain", *odd.key)).out


async def test_a_key_that_a_view_shows_twice_with_other_values_is_not_written(program: Program, town: Town) -> None:
    who = town.resident()
    twice, same = who.event("pro_gone", stuck=True), who.event("default", link=True)
    repaired, _ = neighbours(town)
    town.move_in()
    as_view(town)
    town.query(
        "INSERT INTO reconciler.own_events SELECT * FROM reconciler.own_events WHERE event_id = %s",
        twice.row["event_id"],
    )
    town.query(
        "UPDATE reconciler.own_events SET written_at = written_at - interval '1 h'"
        " WHERE ctid = (SELECT max(ctid) FROM reconciler.own_events)"
    )
    done = no_traceback(await program("run", "--json"))
    what = "calendar_id and event_id are not unique: another row has the same, and other values"
    assert done.code == PARTIAL
    assert errors_of(done) == [("unusable_row", f"reconciler.events: {what} (event {twice.name})")]
    assert twice.event.writes == []
    assert repaired.event.writes
    assert town.causes()[same.key] == "assigned"
    await shown_by_every_command(program, town, twice, what)


async def test_an_event_that_stands_beside_itself_deleted_is_not_written(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    twice = who.event("pro_gone", stuck=True)
    town.move_in()
    as_view(town)
    town.query("INSERT INTO reconciler.own_events SELECT * FROM reconciler.own_events")
    town.query(
        "UPDATE reconciler.own_events SET cancelled_at = now()"
        " WHERE ctid = (SELECT ctid FROM reconciler.own_events LIMIT 1)"
    )
    no_traceback(await program("run", "--json"))
    assert twice.event.writes == []


def accounts_as_view(town: Town) -> None:
    with psycopg.connect(town.dsn) as connection:
        connection.execute("ALTER TABLE reconciler.accounts RENAME TO own_accounts")
        connection.execute("ALTER TABLE reconciler.own_accounts DROP CONSTRAINT accounts_pkey")
        connection.execute("ALTER TABLE reconciler.own_accounts DROP CONSTRAINT accounts_state_check")
        for column in ("data_center", "state", "updated_at", "account_id"):
            connection.execute(f"ALTER TABLE reconciler.own_accounts ALTER {column} DROP NOT NULL")
        connection.execute("CREATE VIEW reconciler.accounts AS SELECT * FROM reconciler.own_accounts")


@pytest.mark.parametrize(
    "change, what",
    [
        ("UPDATE reconciler.own_accounts SET state = NULL WHERE account_id = %s", "state is null"),
        ("UPDATE reconciler.own_accounts SET state = 'on holiday' WHERE account_id = %s", "state is 'on holiday'"),
        (
            "INSERT INTO reconciler.own_accounts SELECT * FROM reconciler.own_accounts WHERE account_id = %s",
            "account_id is not unique: another row has the same",
        ),
    ],
)
async def test_a_row_of_an_account_that_cannot_be_used_costs_that_account_alone(
    program: Program, town: Town, change: str, what: str
) -> None:
    who = town.resident()
    event = who.event("pro_gone", stuck=True)
    repaired, _ = neighbours(town)
    town.move_in()
    accounts_as_view(town)
    town.query(change, who.row["account_id"])
    done = no_traceback(await program("run", "--json"))
    assert done.code == PARTIAL
    [(kind, message)] = errors_of(done)
    assert kind == "unusable_row"
    assert message.startswith(f"reconciler.accounts: {what}")
    assert repaired.event.writes
    assert event.event.writes == []
    assert what in no_traceback(await program("explain", *event.key)).out
    no_traceback(await program("report", "--since", "1d", "--format", "html"))


async def test_nulls_that_mean_nothing_cost_nothing(program: Program, town: Town) -> None:
    who = town.resident()
    event = who.event("default", link=True)
    town.move_in()
    accounts_as_view(town)
    town.query("UPDATE reconciler.own_accounts SET data_center = NULL, updated_at = NULL, name = NULL, email = NULL")
    done = await program("run", "--json")
    assert (done.code, done.json["errors"]) == (0, [])
    assert town.causes() == {event.key: "assigned"}


async def test_a_body_of_fifty_megabytes_is_not_loaded(program: Program, town: Town) -> None:
    who = town.resident()
    who.connect()
    huge, large = who.event("pro_gone", stuck=True), who.event("pro_gone", stuck=True)
    repaired, _ = neighbours(town)
    large.row["body"] = {**large.row["body"], "notes": "ß" * 400_000}
    town.move_in()
    town.query(
        "UPDATE reconciler.events SET body = body || jsonb_build_object('description', repeat('x', 50000000))"
        " WHERE event_id = %s",
        huge.row["event_id"],
    )
    done = no_traceback(await program("run", "--json"))
    assert (done.code, errors_of(done)) == (
        PARTIAL,
        [
            (
                "unusable_row",
                f"reconciler.events: body is larger than 1 MB, or than 64 kB in what is read of it (event {huge.name})",
            )
        ],
    )
    assert huge.event.writes == []
    assert town.causes()[huge.key] == "profile_removed"
    assert large.event.writes
    assert repaired.event.writes
    await shown_by_every_command(program, town, huge, "body is larger than 1 MB, or than 64 kB in what is read of it")


async def test_an_event_that_passes_to_another_account_is_judged_by_it_as_never_read(
    program: Program, town: Town
) -> None:
    before, after = town.resident(), town.resident(name="Ben Oduya")
    event, stays = before.event(before.connect(), link=True), before.event("default", link=True)
    after.event(after.connect(), link=True)
    town.move_in()
    assert (await program("run")).code == 0
    states = town.states()
    town.query(
        "UPDATE reconciler.events SET account_id = %s WHERE event_id = %s",
        after.row["account_id"],
        event.row["event_id"],
    )
    done = await program("run", "--json")
    assert done.json["events"]["due"] == 1
    assert done.json["causes"] == {"calendar_unavailable": 1}  # the calendar is not the new account's
    moved = town.states()[event.key]
    assert (moved["account_id"], moved["join_url"], moved["settled_at"]) == (after.row["account_id"], None, None)
    assert town.states()[stays.key] == states[stays.key]


async def test_an_event_of_an_account_that_is_not_there_is_an_error(program: Program, town: Town) -> None:
    who = town.resident()
    orphan = who.event(who.connect(), account_id="acc_nobody", stuck=True)
    fine = who.event("default", link=True)
    town.move_in()
    done = await program("run", "--json")
    assert done.code == PARTIAL
    assert [(e["account_id"], e["kind"]) for e in done.json["errors"]] == [("acc_nobody", "no_account")]
    assert town.causes() == {fine.key: "assigned"}
    assert "holds no such account" in (await program("explain", *orphan.key)).out
