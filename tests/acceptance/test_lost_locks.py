"""A process frozen while its locks go with their connection: the next one has its run, and it writes nothing more."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.acceptance.program import HOURS_AGO, Program, Row, Running, Town

UNREACHABLE = 69
SHARED = {"RECONCILER_ENGINE": "pgqueuer", "RECONCILER_HEARTBEAT": "30s"}
LOCAL = {"RECONCILER_ENGINE": "local"}
RUN = ("run", "--json", "--run-key", "night")
PASSING_BY = ("run", "--json", "--account", "nobody")
"""A run that has nothing of its own to do."""
ENGINES = pytest.mark.parametrize("env", [pytest.param(LOCAL, id="local"), pytest.param(SHARED, id="pgqueuer")])
BOOKS = ("runs", "run_units", "run_held", "incidents", "notices", "event_states", "audit_entries", "plans")


@dataclass
class Gate:
    """What keeps a process from going on: tables or rows that it cannot get at."""

    town: Town
    _closed: dict[str, ExitStack] = field(default_factory=dict)

    def shut(self, relation: str, mode: str) -> None:
        """Let nobody get at a table in a way that conflicts with this mode."""
        self.put(relation, f"LOCK TABLE reconciler.{relation} IN {mode} MODE")

    def put(self, what: str, sql: str, *arguments: object) -> None:
        """Have a statement carried out and not committed: whoever comes upon the same row waits."""
        stack = self._closed[what] = ExitStack()
        connection = stack.enter_context(psycopg.connect(self.town.dsn))
        stack.callback(connection.rollback)
        connection.execute(sql.encode(), arguments)

    def open(self, relation: str) -> None:
        """Let them."""
        self._closed.pop(relation).close()

    def anybody_at(self, relation: str) -> bool:
        """Whether somebody waits there."""
        at = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        return bool(self.town.query(at, f"reconciler.{relation}"))

    def release(self) -> None:
        """Let them everywhere."""
        for relation in list(self._closed):
            self.open(relation)


@pytest.fixture
def gate(town: Town) -> Iterator[Gate]:
    """All open, and open again at the end."""
    closed = Gate(town)
    yield closed
    closed.release()


@contextmanager
def thawed_at_last(running: Running) -> Iterator[None]:
    """Whatever comes of it, leave no process frozen."""
    try:
        yield
    finally:
        running.signal(signal.SIGCONT)


def freeze_without_locks(town: Town, running: Running) -> None:
    """Stop the process where it is, and end the session that holds its locks."""
    running.signal(signal.SIGSTOP)
    cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'reconciler locks'"
    assert len(town.query(cut + " AND datname = current_database()")) == 1


@asynccontextmanager
async def frozen(
    program: Program, town: Town, gate: Gate, relation: str, env: dict[str, str]
) -> AsyncIterator[Running]:
    """A run frozen, its locks gone, where it wants to write to a relation (of incidents: to read)."""
    gate.shut(relation, "ACCESS EXCLUSIVE" if relation == "incidents" else "SHARE")
    running = await program.start(*RUN, env=env)
    with thawed_at_last(running):
        await running.until(lambda: gate.anybody_at(relation))
        freeze_without_locks(town, running)
        gate.release()
        yield running


async def gives_up(running: Running) -> None:
    """It ends with one line and the code that says so, and claims nothing."""
    done = await running.end()
    assert (done.code, done.out, len(done.complaints)) == (UNREACHABLE, "", 1), done
    assert "Traceback" not in done.err


def waiting(town: Town) -> int:
    """How many sessions wait for a lock."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return len(town.query(sql))


def books(town: Town) -> dict[str, list[Row]]:
    """All that runs write down."""
    return {name: town.query(f"SELECT * FROM reconciler.{name} ORDER BY 1, 2") for name in BOOKS}  # noqa: S608 - ours


def spent_notice(town: Town) -> None:
    """A notice that any run resolves at its end."""
    town.query(
        "INSERT INTO reconciler.notices (kind, account_id, events, last_event_at)"
        " VALUES ('relink_conferencing', %s, '[]', now() - interval '1 hour')",
        town.residents[0].account.account_id,
    )


def incident(town: Town) -> None:
    """An outage that any run closes at its end."""
    town.query("INSERT INTO reconciler.incidents (provider_name) VALUES ('zoom')")


def down(town: Town) -> None:
    """Five people who wait for Zoom: whoever concludes opens an incident."""
    for _ in range(5):
        who = town.resident()
        who.event(who.connect(), age=HOURS_AGO, stuck=True)
    town.move_in()


def up_again(town: Town) -> None:
    """An incident, and somebody with a link of its provider's: whoever concludes closes it."""
    who = town.resident()
    who.event(who.connect(), link=True)
    town.move_in()
    incident(town)


def healthy(town: Town) -> None:
    """Nothing to conclude but the books."""
    for _ in range(2):
        town.resident().event("default", link=True)
    town.move_in()


def nothing(_: Town) -> None:
    """Nothing comes up."""


Deed = Callable[[Town], None]
SCENES = pytest.mark.parametrize(
    "scene, meanwhile",
    [
        pytest.param(down, nothing, id="an incident to open"),
        pytest.param(up_again, incident, id="an incident to close"),
        pytest.param(healthy, spent_notice, id="a notice to resolve"),
        pytest.param(healthy, nothing, id="only the books"),
    ],
)
"""Who lives there, and what comes up when another process has closed the run and is through."""


@ENGINES
@SCENES
async def test_frozen_before_it_concludes_it_leaves_its_closed_books_as_they_are(
    program: Program, town: Town, gate: Gate, env: dict[str, str], scene: Deed, meanwhile: Deed
) -> None:
    scene(town)
    async with frozen(program, town, gate, "incidents", env=env) as running:
        other = await program(*PASSING_BY, env=LOCAL)
        assert other.code == 0, other
        meanwhile(town)
        before = books(town)
        statuses = sorted((run["status"], run["summary"]["status"]) for run in before["runs"])
        assert statuses == [("completed", "completed"), ("partial", "partial")]
    await gives_up(running)
    assert books(town) == before
    assert (await program("audit", "verify")).code == 0


@ENGINES
async def test_frozen_before_it_concludes_it_leaves_its_run_to_who_went_on_with_it(
    program: Program, town: Town, gate: Gate, env: dict[str, str]
) -> None:
    healthy(town)
    async with frozen(program, town, gate, "incidents", env=env) as running:
        other = await program(*RUN, env=env)
        assert other.code == 0, other
        before = books(town)
        assert [(run["status"], run["summary"]) for run in before["runs"]] == [("completed", other.json)]
    await gives_up(running)
    assert books(town) == before
    assert (await program("audit", "verify")).code == 0


@ENGINES
async def test_frozen_while_it_opens_its_books_it_plans_nothing_more(
    program: Program, town: Town, gate: Gate, env: dict[str, str]
) -> None:
    healthy(town)
    async with frozen(program, town, gate, "audit_entries", env=env) as running:
        pass
    await gives_up(running)
    left = books(town)
    assert [len(left[name]) for name in ("runs", "run_units", "audit_entries")] == [1, 0, 1]
    assert (await program(*PASSING_BY, env=LOCAL)).code == 0
    assert [run["status"] for run in town.query("SELECT status FROM reconciler.runs WHERE run_key IS NOT NULL")] == [
        "partial"
    ]
    assert (await program("audit", "verify")).code == 0


NOTICE = "INSERT INTO reconciler.notices (kind, account_id, profile_id) VALUES ('relink_conferencing', %s, %s)"


def to_be_told(town: Town) -> tuple[str, str]:
    """Somebody who must relink, with that profile: judgement and notice are one transaction, the notice its end."""
    who = town.resident()
    profile_id = who.connect(connected=False)
    who.event(profile_id)
    town.move_in()
    return who.account.account_id, profile_id


@ENGINES
async def test_what_a_process_was_writing_when_it_lost_its_locks_is_under_the_seal(
    program: Program, town: Town, gate: Gate, env: dict[str, str]
) -> None:
    """Its transaction began while they stood; whoever closes the run waits for its end."""
    to_be_told(town)
    gate.shut("notices", "SHARE")
    running = await program.start(*RUN, env=env)
    with thawed_at_last(running):
        await running.until(lambda: gate.anybody_at("notices"))
        freeze_without_locks(town, running)
        other = await program.start(*PASSING_BY, env=LOCAL)
        await other.until(lambda: waiting(town) == 2)
        gate.release()
        await other.until(lambda: waiting(town) == 1)
    done, ended = await running.end(), await other.end()
    assert (done.code, ended.code) == (UNREACHABLE, 0), (done, ended)
    assert list(town.stories().values()) == [["event:judged"]]
    (night,) = town.query("SELECT status, summary FROM reconciler.runs WHERE run_key IS NOT NULL")
    assert (night["status"], night["summary"]["accounts"]["done"]) == ("partial", 1)
    assert (await program("audit", "verify")).code == 0


@ENGINES
async def test_what_a_frozen_process_does_not_end_is_dropped_within_a_heartbeat(
    program: Program, town: Town, gate: Gate, env: dict[str, str]
) -> None:
    """A notice that waits for a like one of somebody else's: its statement ends by itself, its transaction does not."""
    gate.put("notice", NOTICE, *to_be_told(town))
    running = await program.start(*RUN, env={**env, "RECONCILER_HEARTBEAT": "2s"})
    with thawed_at_last(running):
        await running.until(lambda: waiting(town) == 1)
        freeze_without_locks(town, running)
        gate.release()
        ended = await program(*PASSING_BY, env=LOCAL)
        assert ended.code == 0, ended
        before = books(town)
        night = [run["summary"]["accounts"] for run in before["runs"] if run["run_key"]]
        assert night == [{"due": 1, "done": 0, "failed": 0, "parked": 0, "left": 1}]
    await gives_up(running)
    assert books(town) == before
    assert (await program("audit", "verify")).code == 0


async def test_a_run_for_which_a_frozen_process_goes_on_writing_is_left_to_the_next(
    program: Program, town: Town, gate: Gate
) -> None:
    """Frozen between the two halves of a statement that it sends for the first time: Postgres has no limit for that."""
    to_be_told(town)
    impatient = {**LOCAL, "RECONCILER_HEARTBEAT": "1s"}
    async with frozen(program, town, gate, "notices", env=impatient) as running:
        ended = await program(*PASSING_BY, env=impatient)
        assert (ended.code, "in the midst of writing" in ended.err) == (0, True), ended
        assert len(town.query("SELECT 1 FROM reconciler.runs WHERE status = 'running'")) == 1
    assert (await running.end()).code == UNREACHABLE
    assert (await program(*PASSING_BY, env=impatient)).code == 0
    (night,) = town.query("SELECT status, summary FROM reconciler.runs WHERE run_key IS NOT NULL")
    assert (night["status"], night["summary"]["accounts"]["done"]) == ("partial", 1)
    assert (await program("audit", "verify")).code == 0


@ENGINES
async def test_books_that_were_being_closed_are_not_closed_again(
    program: Program, town: Town, gate: Gate, env: dict[str, str]
) -> None:
    healthy(town)
    gate.shut("incidents", "ACCESS EXCLUSIVE")
    running = await program.start(*RUN, env=env)
    with thawed_at_last(running):
        await running.until(lambda: gate.anybody_at("incidents"))
        gate.shut("audit_entries", "SHARE")
        gate.open("incidents")
        await running.until(lambda: gate.anybody_at("audit_entries"))
        freeze_without_locks(town, running)
        gate.release()
        other = await program.start(*PASSING_BY, env=LOCAL)
        await other.until(lambda: waiting(town) == 1)
    done, ended = await running.end(), await other.end()
    assert ended.code == 0, ended
    assert done.code in {0, UNREACHABLE}, done  # 69: who shares a run has a lock to give back after its end
    night = town.query("SELECT status, summary ->> 'status' AS said FROM reconciler.runs WHERE run_key IS NOT NULL")
    assert night == [{"status": "completed", "said": "completed"}]
    ends = town.query("SELECT outcome FROM reconciler.audit_entries WHERE tag = 'run:finished'")
    assert ends == [{"outcome": "completed"}] * 2
    assert (await program("audit", "verify")).code == 0
