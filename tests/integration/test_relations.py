"""Before anything is sent it is known that the application's relations can take what is written back."""
# ruff: noqa: S608 - statements of our own

from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from reconciler.ports import WrongConfiguration
from reconciler.postgres.pool import open_pool
from reconciler.postgres.relations import check_relations
from reconciler.postgres.statements import sql_folder

EVENTS = "calendar_id, event_id, account_id, starts_at, ends_at, profile_id, body, written_at, cancelled_at"
BOOKINGS = "ALTER TABLE reconciler.events RENAME TO bookings; ALTER TABLE reconciler.bookings SET SCHEMA public"
PEOPLE = "ALTER TABLE reconciler.accounts RENAME TO people; ALTER TABLE reconciler.people SET SCHEMA public"
INSTEAD = (
    "CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE bookings SET profile_id ="
    " NEW.profile_id WHERE calendar_id = NEW.calendar_id AND event_id = NEW.event_id; RETURN NEW; END $$;"
    "CREATE TRIGGER take INSTEAD OF UPDATE ON reconciler.events FOR EACH ROW EXECUTE FUNCTION take()"
)
JOINED = "CREATE VIEW reconciler.events AS SELECT b.* FROM bookings b JOIN reconciler.accounts a USING (account_id)"
OUTER = "CREATE VIEW reconciler.events AS SELECT b.* FROM reconciler.accounts a LEFT JOIN bookings b USING (account_id)"


def shown(**columns: str) -> str:
    """A view in place of events, with other expressions for some columns."""
    names = (f"{columns.get(name, name)} AS {name}" for name in EVENTS.split(", "))
    return f"{BOOKINGS}; CREATE VIEW reconciler.events AS SELECT {', '.join(names)} FROM bookings"


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def fault(dsn: str) -> str | None:
    """What a run would be refused with."""
    async with open_pool(dsn, 1) as pool:
        try:
            await check_relations(pool)
        except WrongConfiguration as error:
            return str(error)
    return None


@pytest.mark.parametrize(
    "change",
    [
        "SELECT 1",
        f"{BOOKINGS}; CREATE VIEW reconciler.events AS SELECT * FROM bookings",
        f"{PEOPLE}; CREATE VIEW reconciler.accounts AS SELECT * FROM people WHERE state <> 'gone'",
        shown(starts_at="starts_at + interval '0'", written_at="greatest(written_at, written_at)"),
        f"{BOOKINGS}; {JOINED}; {INSTEAD}",
        f"{BOOKINGS}; {OUTER}; {INSTEAD}",
        f"{shown(body='body::text::jsonb')}; {INSTEAD}",
        "ALTER TABLE reconciler.events ALTER profile_id TYPE varchar(60), ALTER event_id TYPE varchar(200)",
        "CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN later AS moment;"
        "ALTER TABLE reconciler.events ALTER starts_at TYPE later",
        "CREATE TYPE states AS ENUM ('active', 'parked', 'gone');"
        "ALTER TABLE reconciler.accounts DROP CONSTRAINT accounts_state_check, ALTER state DROP DEFAULT,"
        " ALTER state TYPE states USING state::states",
    ],
    ids=["tables", "events a view", "accounts a view", "expressions that nobody writes", "a join with a trigger",
         "an outer join with a trigger",
         "an expression with a trigger", "varchar", "domains", "an enum for the state"],
)  # fmt: skip
async def test_what_can_be_written_back_to_is_taken(database: str, change: str) -> None:
    execute(database, change)
    assert await fault(database) is None


@pytest.mark.parametrize(
    "change, said",
    [
        ("DROP TABLE reconciler.events", ["reconciler.events is missing", "reconciler migrate"]),
        ("ALTER TABLE reconciler.accounts DROP COLUMN parked_reason", ["reconciler.accounts.parked_reason is missing"]),
        (
            "ALTER TABLE reconciler.events ALTER written_at TYPE timestamp, ALTER ends_at TYPE timestamp",
            ["reconciler.events.written_at is of type timestamp without time zone", "reconciler.events.ends_at"],
        ),
        (
            "ALTER TABLE reconciler.events ALTER body TYPE json",
            ["reconciler.events.body is of type json, which must be jsonb", "change the type"],
        ),
        ("ALTER TABLE reconciler.events ALTER body TYPE text", ["reconciler.events.body is of type text"]),
        ("ALTER TABLE reconciler.events ALTER account_id TYPE int USING 1", ["events.account_id", "integer"]),
        (
            "ALTER TABLE reconciler.accounts ALTER token_expires_at TYPE timestamp",
            ["reconciler.accounts.token_expires_at is of type timestamp without time zone"],
        ),
        (
            f"{BOOKINGS}; {JOINED}",
            ["reconciler.events must be a table or an updatable view", "single table", "INSTEAD OF UPDATE trigger"],
        ),
        (
            f"{BOOKINGS}; CREATE VIEW reconciler.events AS SELECT DISTINCT * FROM bookings",
            ["reconciler.events must be a table or an updatable view", "DISTINCT"],
        ),
        (
            f"{BOOKINGS}; CREATE VIEW reconciler.events AS SELECT * FROM bookings UNION ALL SELECT * FROM bookings",
            ["reconciler.events must be a table or an updatable view", "UNION"],
        ),
        (shown(body="body::text::jsonb"), ["reconciler.events must be", '"body"', "updatable"]),
        (shown(profile_id="coalesce(profile_id, '')"), ["reconciler.events must be", '"profile_id"', "updatable"]),
        (
            f"{PEOPLE}; CREATE VIEW reconciler.accounts AS SELECT account_id, data_center, access_token, refresh_token,"
            " token_expires_at, name, email, customer, account_manager, lower(state) AS state, parked_reason,"
            " updated_at FROM people",
            ["reconciler.accounts must be", '"state"', "updatable"],
        ),
        (
            f"{BOOKINGS}; CREATE MATERIALIZED VIEW reconciler.events AS SELECT * FROM bookings",
            ["reconciler.events is a materialized view", "updatable view"],
        ),
        (
            "ALTER TABLE reconciler.events DROP COLUMN body;"
            "ALTER TABLE reconciler.events ADD body jsonb GENERATED ALWAYS AS ('{}'::jsonb) STORED",
            ["reconciler.events must be", '"body"'],
        ),
        (
            "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER there FOREIGN DATA WRAPPER elsewhere;"
            "ALTER TABLE reconciler.events RENAME TO bookings; CREATE FOREIGN TABLE reconciler.events ("
            "calendar_id text, event_id text, account_id text, starts_at timestamptz, ends_at timestamptz, profile_id"
            " text, body jsonb, written_at timestamptz, cancelled_at timestamptz) SERVER there",
            ["reconciler.events must be a table", "foreign-data wrapper"],
        ),
    ],
    ids=["no relation", "no column", "no zone", "json", "text", "a number", "no zone for tokens", "a join",
         "distinct", "union", "body an expression", "profile an expression", "state an expression", "materialized",
         "generated", "foreign"],
)  # fmt: skip
async def test_what_cannot_is_named_in_one_line_with_its_remedy(database: str, change: str, said: list[str]) -> None:
    execute(database, change)
    why = await fault(database)
    assert why is not None
    assert "\n" not in why
    assert [word for word in said if word not in why] == [], why


@pytest.mark.parametrize(
    "right",
    [
        "UPDATE (body) ON reconciler.events",
        "UPDATE (state) ON reconciler.accounts",
        "UPDATE (updated_at) ON reconciler.accounts",
        "SELECT ON reconciler.events",
        "USAGE ON SCHEMA reconciler",
    ],
)
async def test_a_privilege_that_is_lacking_is_named(database: str, right: str) -> None:
    login = f"meek_{urlsplit(database).path.strip('/')}"
    execute(database, (sql_folder() / "roles.sql").read_text(encoding="utf-8"))
    execute(database, f'CREATE ROLE "{login}" LOGIN', f'GRANT reconciler_worker TO "{login}"')
    parts = urlsplit(database)
    dsn = urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))
    assert await fault(dsn) is None
    execute(database, f"REVOKE {right} FROM reconciler_worker")
    why = await fault(dsn)
    assert why is not None
    verb, _, relation = right.partition(" ")
    assert f"the database role lacks a privilege: {verb} on" in why
    assert relation.split(" ")[-1] in why


async def test_a_view_whose_owner_may_not_update_is_named(database: str) -> None:
    owner = f"owner_{urlsplit(database).path.strip('/')}"
    execute(database, shown(), f'CREATE ROLE "{owner}"', f'GRANT SELECT ON bookings TO "{owner}"')
    execute(database, f'ALTER VIEW reconciler.events OWNER TO "{owner}"')
    why = await fault(database)
    assert why is not None
    assert "privilege for reconciler.events" in why
    assert "bookings" in why
