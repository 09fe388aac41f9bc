"""What a login with the worker's rights can do to the audit trail: it is refused, or `audit` finds it and goes on."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from reconciler.domain.audit import GENESIS, RUNS_CHAIN, AuditEntry, AuditTag, entry_hash
from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey
from tests.acceptance.logins import as_login
from tests.acceptance.program import DAYS_AGO, Planted, Program, Town, query

BOLD = {"RECONCILER_MAX_REPAIR_SHARE": "1"}
COLUMNS = (
    "run_id", "at", "tag", "account_id", "calendar_id", "event_id", "cause", "remedy", "outcome", "evidence", "before",
    "after", "prev_hash", "hash", "chain", "seq",
)  # fmt: skip


@dataclass
class Trail:
    """A trail with one closed run in it, and a login with the worker's rights beside it."""

    town: Town
    event: Planted
    program: Program
    dsn: str
    connection: "psycopg.Connection[dict[str, Any]]"

    @property
    def run_id(self) -> UUID:
        """The closed run."""
        run_id: UUID = self.town.query("SELECT run_id FROM reconciler.runs ORDER BY started_at LIMIT 1")[0]["run_id"]
        return run_id

    @property
    def account(self) -> AccountId:
        """The account that it repaired an event of."""
        return AccountId(self.event.resident.account.account_id)

    @property
    def key(self) -> EventKey:
        """That event."""
        calendar_id, event_id = self.event.key
        return EventKey(CalendarId(calendar_id), EventId(event_id))

    def row(self, **changes: Any) -> dict[str, Any]:
        """An entry that follows the last one of its chain, hashed as a run does it; then the changes."""
        last = self.last(changes.get("chain") or changes.get("account_id", self.account) or RUNS_CHAIN)
        key = self.key if changes.get("tag", "event:judged").partition(":")[0] in {"event", "repair"} else None
        entry = AuditEntry(
            tag=AuditTag(changes.pop("tag", "event:judged")),
            at=changes.pop("at", datetime.now(UTC)),
            run_id=changes.pop("run_id", self.run_id),
            account_id=changes.pop("account_id", self.account),
            key=key,
            cause=Cause(changes.pop("cause", "settling")),
            remedy=changes.pop("remedy", "wait"),
            outcome=changes.pop("outcome", None),
            evidence=changes.pop("evidence", {"version": 1}),
            after=changes.pop("after", {"remedy": "wait"}),
        )
        digest = entry_hash(entry, entry.chain, last["seq"] + 1, last["hash"])
        place = {"prev_hash": last["hash"], "hash": digest, "chain": entry.chain, "seq": last["seq"] + 1}
        names = ("at", "run_id", "account_id", "cause", "remedy", "outcome", "evidence", "before", "after")
        said = {name: getattr(entry, name) for name in names}
        event = {"calendar_id": key.calendar_id, "event_id": key.event_id} if key else {}
        return {**dict.fromkeys(COLUMNS), **said, "tag": entry.tag.value, **event, **place, **changes}

    def last(self, chain: str) -> dict[str, Any]:
        """The last entry of a chain."""
        rows = self.town.query(
            "SELECT seq, hash FROM reconciler.audit_entries WHERE chain = %s ORDER BY seq DESC LIMIT 1", chain
        )
        return rows[0] if rows else {"seq": 0, "hash": GENESIS}

    def append(self, row: dict[str, Any], overriding: str = "") -> int:
        """Insert a row with the worker's rights, in a transaction of its own; its number."""
        return insert(self.connection, row, overriding)

    async def faults(self, what: str = "verify", *words: str) -> list[str]:
        """What a proof finds, under the same login."""
        done = await self.program("audit", what, "--json", *words)
        assert (done.code, done.err) == (1 if done.json["faults"] else 0, ""), done
        return list(done.json["faults"])


def insert(connection: "psycopg.Connection[dict[str, Any]]", row: dict[str, Any], overriding: str = "") -> int:
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    values = [Jsonb(v) if isinstance(v, dict | list) else v for v in row.values()]
    sql = f"INSERT INTO reconciler.audit_entries ({names}) {overriding} VALUES ({marks})"  # noqa: S608 - our own names
    connection.execute(sql.encode(), values)
    found = connection.execute(
        "SELECT max(entry_id) AS id FROM reconciler.audit_entries WHERE hash = %s", (row["hash"],)
    )
    number: int = (found.fetchone() or {})["id"]
    return number


@pytest.fixture
async def trail(town: Town, program: Program) -> AsyncIterator[Trail]:
    who = town.resident()
    who.connect()
    event = who.event("pro_gone", age=DAYS_AGO, stuck=True)
    town.move_in()
    worker = as_login(town, program, "reconciler_worker")
    assert (await worker("run", env=BOLD)).code == 0
    dsn = worker.settings["RECONCILER_DATABASE_URL"]
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        yield Trail(town, event, worker, dsn, connection)


def changed(trail: Trail) -> Iterator[dict[str, Any]]:
    """Entries that no run of ours would write."""
    yield trail.row(run_id=None)
    yield {**trail.row(), "tag": "event:forged"}
    yield {**trail.row(), "cause": "because"}
    yield {**trail.row(), "remedy": "forget"}
    yield {**trail.row(), "outcome": "perfect"}
    yield from ({**trail.row(), name: [1]} for name in ("evidence", "before", "after"))
    yield from (
        {**trail.row(), "at": at} for at in ("infinity", "-infinity", "0044-03-15 BC", "0001-01-01", "20000-01-01")
    )
    yield {**trail.row(), "chain": "acc_other"}
    yield {**trail.row(), "account_id": None, "chain": "runs"}
    yield trail.row(tag="run:finished")
    yield trail.row(account_id="runs")
    yield {**trail.row(), "event_id": None}
    yield {**trail.row(), "hash": "forged"}
    yield {**trail.row(), "prev_hash": ""}
    yield {**trail.row(), "prev_hash": "f" * 64}
    yield {**trail.row(), "seq": 2**63 - 1}
    yield {**trail.row(), "seq": 0}
    yield {**trail.row(account_id="acc_new"), "seq": 2}


async def test_what_no_run_would_write_is_refused(trail: Trail) -> None:
    before = trail.town.query("SELECT count(*) AS n FROM reconciler.audit_entries")
    for row in changed(trail):
        with pytest.raises(psycopg.errors.CheckViolation):
            trail.append(row)
    for number in (0, 10**9, 2**63 - 1):
        for overriding in ("OVERRIDING SYSTEM VALUE", "OVERRIDING USER VALUE"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                trail.append({**trail.row(), "entry_id": number}, overriding)
    for sql in (
        "COPY reconciler.audit_entries (entry_id, at) FROM STDIN",
        "SELECT setval('reconciler.audit_entries_entry_id_seq', 1)",
        "SELECT nextval('reconciler.audit_entries_entry_id_seq')",
        "UPDATE reconciler.audit_entries SET cause = NULL",
        "DELETE FROM reconciler.audit_entries",
        "TRUNCATE reconciler.audit_entries",
        "SELECT 1 FROM reconciler.audit_entries FOR UPDATE",
        "DELETE FROM reconciler.runs",
        "DELETE FROM reconciler.run_units",
        "UPDATE reconciler.runs SET policy = '{}'",
        "UPDATE reconciler.runs SET started_at = now()",
        "DROP TRIGGER audit_entries_no_gap ON reconciler.audit_entries",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(trail.dsn, sql)
    assert trail.town.query("SELECT count(*) AS n FROM reconciler.audit_entries") == before
    assert await trail.faults() == []
    again = await trail.program("run", "--json", "--starting-after", "0s", env=BOLD)
    assert again.code == 0, again


async def test_another_search_path_does_not_talk_the_chains_guard_round(trail: Trail) -> None:
    trail.town.query("GRANT CREATE ON SCHEMA public TO reconciler_worker")
    trail.connection.execute(
        "CREATE FUNCTION public.always(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'"
    )
    trail.connection.execute("CREATE OPERATOR public.= (FUNCTION = public.always, LEFTARG = text, RIGHTARG = text)")
    trail.connection.execute("SET search_path = public, pg_catalog")
    with pytest.raises(psycopg.errors.CheckViolation):
        trail.append({**trail.row(), "prev_hash": "f" * 64})


async def test_what_is_appended_beside_the_runs_is_found(trail: Trail) -> None:
    known: set[tuple[str, str]] = set()

    async def new(what: str = "verify") -> list[str]:
        found = [fault for fault in await trail.faults(what) if (what, fault) not in known]
        known.update((what, fault) for fault in found)
        return found

    nobody, invented = uuid4(), "acc_invented"
    number = trail.append(trail.row(run_id=nobody))
    assert await new() == [f"{place(trail, number)}: belongs to run {nobody}, which reconciler.runs does not hold"]
    number = trail.append(trail.row())
    assert await new() == [f"{place(trail, number)}: was appended to run {trail.run_id} after its seal"]
    number = trail.append(trail.row(account_id=invented))
    assert await new() == [f"{place(trail, number)}: was appended to run {trail.run_id} after its seal"]
    number = trail.append({**trail.row(), "hash": "f" * 64})
    assert f"{place(trail, number)}: was changed after it was written" in await new()
    number = trail.append(
        {**trail.row(), "evidence": psycopg.types.json.Json({"version": 1}, lambda _: '{"a": 1e5000}')}
    )
    assert any(fault.startswith(f"{place(trail, number)}: its evidence cannot be read") for fault in await new())

    assert len(await new("replay")) == 5
    number = trail.append(trail.row(after=None))
    (fault,) = await new("replay")
    assert fault.startswith(f"entry {number}: its evidence cannot be read")
    number = trail.append(trail.row(evidence=None, after=None))
    assert await new("replay") == [f"entry {number} ({trail.key}): event:judged without evidence"]


async def test_a_run_that_never_worked_an_account_and_a_seal_that_is_not_in_the_books(trail: Trail) -> None:
    forged, now = uuid4(), datetime.now(UTC)
    trail.connection.execute(
        "INSERT INTO reconciler.runs (run_id, status, started_at) VALUES (%s, 'running', %s)", (forged, now)
    )
    run = {"run_id": forged, "account_id": None, "cause": "settling", "remedy": None}
    begun = {"scope": {}, "dry_run": False, "reason": None, "policy": {}}
    trail.append(trail.row(tag="run:started", evidence=None, after=begun, **run))
    number = trail.append(trail.row(run_id=forged, account_id="acc_invented"))
    assert await trail.faults() == [f"{place(trail, number)}: is about an account that run {forged} did not work"]
    sealing = trail.row(tag="run:finished", outcome="completed", evidence={"entries": 2, "digest": "0" * 64}, **run)
    trail.append(sealing)
    trail.connection.execute(
        "UPDATE reconciler.runs SET status = 'completed', finished_at = %s WHERE run_id = %s", (now, forged)
    )
    assert f"run {forged}: its entries are not those that were sealed" in await trail.faults()
    assert f"run {forged}: reconciler.runs says another end than its last entry run:finished" in await trail.faults()
    trail.connection.execute(
        'UPDATE reconciler.runs SET summary = \'{"seal": "0"}\' WHERE run_id = %s', (trail.run_id,)
    )
    assert any(
        fault.startswith(f"run {trail.run_id}: reconciler.runs says another end") for fault in await trail.faults()
    )


def place(trail: Trail, number: int) -> str:
    (row,) = trail.town.query("SELECT chain, seq FROM reconciler.audit_entries WHERE entry_id = %s", number)
    return f"entry {number} (chain {row['chain']}, place {row['seq']})"


# ---------------------------------------------------------------- rows from before, or from whoever owns the schema


def unread() -> Iterator[tuple[dict[str, Any], str]]:
    """Entries that cannot be read, and what is said of each."""
    applied = {"tag": "repair:applied", "outcome": "applied"}
    yield {"tag": "event:forged"}, "its tag 'event:forged' is unknown"
    yield {"cause": "because"}, "its cause 'because' is unknown"
    yield {"evidence": [1]}, "its evidence is not a JSON object"
    yield {"at": "infinity", **applied}, "its time is out of range"
    yield {"at": "4000-01-01 BC"}, "its time is out of range"
    yield {"before": ["undoes"], **applied}, "its before is not a JSON object"
    yield {"after": 5, **applied}, "its after is not a JSON object"
    yield {"calendar_id": None, **applied}, "it names half an event"


async def test_entries_that_cannot_be_read_are_named_and_blind_nobody(trail: Trail) -> None:
    town = trail.town
    for name in ("at", "cause", "json", "event", "tag"):
        town.query(f"ALTER TABLE reconciler.audit_entries DROP CONSTRAINT audit_entries_{name}_check")
    said: dict[int, str] = {}
    with psycopg.connect(town.dsn, autocommit=True, row_factory=dict_row) as owner:
        for changes, why in unread():
            row = {**trail.row(), **changes}
            row["after"] = Jsonb(row["after"])
            said[insert(owner, row)] = why
    faults = await trail.faults()
    for number, why in said.items():
        assert f"{place(trail, number)}: {why}" in faults
    replayed = await trail.faults("replay")
    assert any(fault.startswith(f"entry {min(said)}: its tag") for fault in replayed)
    explained = await trail.program("explain", *trail.event.key)
    assert (explained.code, explained.err, "Cronofy accepted the write" in explained.out) == (0, "", True), explained
    told = await trail.program("explain", *trail.event.key, "--json")
    named = {entry["entry_id"]: entry["unreadable"] for entry in told.json["entries"] if entry["unreadable"]}
    assert named == {number: why for number, why in said.items() if "half an event" not in why}
    for words in (("report", "--run", str(trail.run_id)), ("report", "--since", "7d", "--format", "json"), ("status",)):
        done = await trail.program(*words)
        assert (done.code, done.err) == (0, ""), done
    undone = await trail.program("undo", str(trail.run_id), "--json")
    assert undone.code == 0, undone
    assert f"{trail.event.name} is not undone" in undone.err
    again = await trail.program("run", "--json", "--starting-after", "0s", env=BOLD)
    assert (again.code, again.json["accounts"]["failed"]) == (0, 0), again


async def test_entries_of_another_shape_do_not_keep_an_account_from_being_worked(trail: Trail) -> None:
    run = trail.run_id
    for tag, evidence in (("repair:intended", {"read_back": {"start": 5, "end": ["x"]}}), ("repair:rejected", None)):
        row = trail.row(tag=tag, evidence=evidence, outcome="rejected" if evidence is None else None)
        shape = {"profile_id": "pro_1", "keys": 5, "provider_change": "forged", "restores": 1}
        trail.append({**row, "before": {"written_at": "yesterday", "profile_id": 7}, "after": shape})
    trail.append({**trail.row(tag="repair:applied", evidence=None, outcome="applied", after={"provider_change": "x"})})
    again = await trail.program("run", "--json", "--starting-after", "0s", env=BOLD)
    assert (again.code, again.json["accounts"]["failed"]) == (0, 0), again
    for words in (("explain", *trail.event.key), ("report", "--run", str(run)), ("undo", str(run))):
        done = await trail.program(*words)
        assert done.code == 0, done


# ---------------------------------------------------------------- seals kept outside


async def test_every_run_says_its_seal_and_a_trail_put_back_to_before_it_lacks_it(trail: Trail) -> None:
    town = trail.town
    done = await trail.program("run", "--json", "--starting-after", "0s", env=BOLD)
    seal = done.json["seal"]
    ends = town.query("SELECT hash FROM reconciler.audit_entries WHERE chain = 'runs' ORDER BY seq DESC LIMIT 1")
    assert ends == [{"hash": seal}]
    assert town.query("SELECT summary FROM reconciler.runs ORDER BY started_at DESC LIMIT 1")[0]["summary"] == done.json
    assert f'"seal": "{seal}"' in done.err
    of_period = await trail.program("report", "--since", "7d", "--format", "json")
    of_run = await trail.program("report", "--run", done.json["run_id"])
    assert (of_period.json["seal"], seal in of_run.out) == (seal, True)
    first = (await trail.program("report", "--run", str(trail.run_id), "--format", "json")).json["seal"]
    assert await trail.faults("verify", "--seal", seal, "--seal", first.upper()) == []
    told = await trail.program("audit", "verify", "--seal", first)
    assert (told.code, "not proven: what was written since the newest seal given: 1 run" in told.out) == (0, True)

    town.query("ALTER TABLE reconciler.audit_entries DISABLE TRIGGER ALL")
    town.query("DELETE FROM reconciler.audit_entries WHERE run_id = %s", done.json["run_id"])
    town.query("DELETE FROM reconciler.runs WHERE run_id = %s", done.json["run_id"])
    assert await trail.faults() == []
    (fault,) = await trail.faults("verify", "--seal", first, "--seal", seal)
    assert fault.startswith(f"seal {seal}: the trail does not hold it")


async def test_plan_apply_and_undo_say_their_seals_too(trail: Trail) -> None:
    plan = await trail.program("plan", "--json", "--starting-after", "0s")
    undo = await trail.program("undo", str(trail.run_id), "--json")
    apply = await trail.program("undo", str(undo.json["run_id"]))
    seals = [plan.json["seal"], undo.json["seal"]]
    assert (apply.code, len({*seals})) == (0, 2)
    assert await trail.faults("verify", *(word for seal in seals for word in ("--seal", seal))) == []


@pytest.mark.parametrize("seal", ["", "abc", "g" * 64, "0" * 65])
async def test_what_cannot_be_a_seal_is_wrong_usage(program: Program, seal: str) -> None:
    done = await program("audit", "verify", "--seal", seal)
    assert (done.code, "is not a seal" in done.err) == (2, True), done


async def test_a_trail_from_before_there_were_seals_in_summaries_still_holds(trail: Trail) -> None:
    trail.town.query("UPDATE reconciler.runs SET summary = summary - 'seal'")
    assert await trail.faults() == []
    assert await trail.faults("replay") == []


async def test_a_run_that_was_killed_is_not_proven_and_no_fault(trail: Trail) -> None:
    killed = uuid4()
    trail.connection.execute("INSERT INTO reconciler.runs (run_id) VALUES (%s)", (killed,))
    begun = {"scope": {}, "dry_run": False}
    run = {"account_id": None, "remedy": None, "evidence": None}
    trail.append(trail.row(tag="run:started", run_id=killed, after=begun, **run))
    done = await trail.program("audit", "verify")
    assert (done.code, f"not proven: run {killed}: no seal covers 1 entry" in done.out) == (0, True), done
    assert (await trail.program("run")).code == 0
    assert await trail.faults() == []
