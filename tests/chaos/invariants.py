"""What must be true of a town in the end, by SQL and by the simulator's own records."""

import re
import time
from collections import Counter
from datetime import datetime
from typing import Any

from reconciler.simulator import World
from tests.acceptance.program import Key, Resident, Row, Town
from tests.chaos.people import Expected

NEAR_S = 5.0
"""How close to an answer something must have happened to a process for it to be why the answer was not stored."""

TOO_LATE = "writes that came too late"
"""So long after their intent that the look before the next one was over: that one is not held against the program."""

SETTLED = frozenset({"assigned", "event_deleted", "event_past"})
_OK = 200

# One letter an entry, for each event: what is said of its repairs in order. A doubt may be said twice (when the answer
# was lost, and when the next look found no link), and be resolved by a look that finds the link.
_LETTERS = {
    "repair:intended": "I",
    "repair:applied": "A",
    "repair:unsent": "U",
    "repair:unneeded": "N",
    "repair:rejected": "R",
    "repair:in_doubt": "D",
    "event:confirmed": "C",
}
_ONE_STORY = re.compile(r"(I(U|N|R|DD?))*ID?AC")
"""Attempts that came to nothing, then one that took effect, confirmed once."""


class Disturbances:
    """When something was done to a process, by the monotonic clock."""

    def __init__(self) -> None:
        self._moments: list[float] = []

    def note(self) -> None:
        """Something is done just now."""
        self._moments.append(time.monotonic())

    def around(self, world: World, account_id: str) -> bool:
        """Whether something was done about the time when this account last got new tokens."""
        answers = [
            r.arrived
            for r in world.requests
            if r.kind == "token" and r.account_id == account_id and r.status in {_OK, None}
        ]
        return any(abs(moment - arrived) <= NEAR_S for arrived in answers for moment in self._moments)


def lost_rotations(town: Town, want: Expected) -> list[Resident]:
    """Whose stored refresh token is not the one that Cronofy takes, though the grant stands."""
    stored = {
        r["account_id"]: r for r in town.query("SELECT account_id, refresh_token, state FROM reconciler.accounts")
    }
    return [
        resident
        for resident in town.residents
        if (account := resident.account).account_id not in want.parked
        and (
            stored[account.account_id]["refresh_token"] != account.refresh_token
            or stored[account.account_id]["state"] == "parked"
        )
    ]


def unsettled(town: Town, want: Expected) -> list[str]:
    """Events whose cause is not what it must come to; of accounts that lost their tokens that is parked."""
    states = town.states()
    parked = {r.account.account_id for r in lost_rotations(town, want)}
    accounts = {p.key: p.row["account_id"] for p in town.planted}
    told = []
    for key, cause in want.causes.items():
        state = states.get(key)
        found = state["cause"] if state else None
        if found == cause or (accounts[key] in parked and found == "account_unauthorized"):
            continue
        told.append(f"{key} is {found}, not {cause}")
    return told


def broken(town: Town, want: Expected, tally: Counter[str], patience_s: float) -> list[str]:
    """Every promise that does not hold. A write that takes longer than `patience_s` from its intent is too late."""
    stories = _stories(town)
    return [
        *unsettled(town, want),
        *(f"violation: {text}" for text in town.world.violations),
        *_states(town, want),
        *_writes(town, want, patience_s, tally),
        *_rows(town, want),
        *_notices(town, want),
        *_told_once(want, stories, tally),
        *_runs(town),
        *_counters(town, want, stories),
        *_tokens(town, want),
        *_left_behind(town),
    ]


def _states(town: Town, want: Expected) -> list[str]:
    states = town.states()
    told = [f"{key} has a state though it asks for nothing" for key in want.ignored & states.keys()]
    for key, cause in want.causes.items():
        state = states.get(key)
        if state is None:
            continue
        if (state["settled_at"] is not None) != (cause in SETTLED):
            told.append(f"{key} ({cause}) is settled at {state['settled_at']}")
        if (state["join_url"] is not None) != (cause == "assigned"):
            told.append(f"{key} ({cause}) has the link {state['join_url'] is not None}")
        if state["intended_at"] is not None:
            told.append(f"{key} still has an intent without an outcome")
        if key in want.repairs and state["repairs"] > 1:
            told.append(f"{key} was repaired {state['repairs']} times by its state")
    return told


def _writes(town: Town, want: Expected, patience_s: float, tally: Counter[str]) -> list[str]:
    told = []
    intents, arrivals = _intents(town), _arrivals(town)
    for planted in town.planted:
        key, event = planted.key, planted.event
        tally["upserts"] += len(event.writes)
        if event.links_made > 1:
            told.append(f"{key}: {event.links_made} conferences were made")
        if key not in want.repairs:
            if event.writes:
                told.append(f"{key} ({want.causes.get(key)}) was written")
            continue
        if any(body != want.repairs[key] for body in event.writes):
            told.append(f"{key} was sent {event.writes}, not {want.repairs[key]}")
        if len(event.writes) > 1 and _came_late(arrivals[key], intents.get(key, []), patience_s):
            tally[TOO_LATE] += 1
        elif len(event.writes) != 1:
            told.append(f"{key} was written {len(event.writes)} times; intended at {intents.get(key)}")
    return told


def _intents(town: Town) -> dict[Key, list[datetime]]:
    sql = (
        "SELECT calendar_id, event_id, at FROM reconciler.audit_entries WHERE tag = 'repair:intended' ORDER BY entry_id"
    )
    intents: dict[Key, list[datetime]] = {}
    for row in town.query(sql):
        intents.setdefault((row["calendar_id"], row["event_id"]), []).append(row["at"])
    return intents


def _arrivals(town: Town) -> dict[Key, list[float]]:
    """When each event's writes reached Cronofy, in seconds of the epoch."""
    wall = time.time() - time.monotonic()
    arrivals: dict[Key, list[float]] = {}
    for request in town.world.requests:
        if request.kind == "upsert":
            entries = [(request.path, request.body)]
        elif request.kind == "batch":
            entries = [(entry["relative_url"], entry["data"]) for entry in request.body["batch"]]
        else:
            continue
        for path, body in entries:
            arrivals.setdefault((path.split("/")[3], body["event_id"]), []).append(request.arrived + wall)
    return arrivals


def _came_late(arrivals: list[float], intents: list[datetime], patience_s: float) -> bool:
    """Whether the first of two writes came so long after its intent that the look before the second was too early."""
    if len(arrivals) != 2:
        return False
    before = [at.timestamp() for at in intents if at.timestamp() <= arrivals[1]][:-1]
    return bool(before) and arrivals[0] - before[-1] > patience_s


def _rows(town: Town, want: Expected) -> list[str]:
    rows, told = town.rows(), []
    for planted in town.planted:
        key, row = planted.key, rows.get(planted.key)
        if row is None:
            told.append(f"{key} is no longer in reconciler.events")
            continue
        expected = dict(planted.row)
        if key in want.repairs:
            profile = want.repairs[key]["conferencing"]["profile_id"]
            expected |= {"profile_id": profile, "body": planted.asking_for(profile)}
        changed = [name for name, value in expected.items() if row[name] != value]
        if changed:
            told.append(f"{key}: {', '.join(changed)} in reconciler.events is not what it must be")
    return told


def _notices(town: Town, want: Expected) -> list[str]:
    rows = town.query("SELECT account_id, kind, profile_id, status, resolved_at FROM reconciler.notices")
    names = Counter((r["account_id"], r["kind"], r["profile_id"]) for r in rows)
    told = [f"{number} notices {name}" for name, number in names.items() if number > 1]
    is_open = {(r["account_id"], r["kind"], r["profile_id"]) for r in rows if r["status"] != "resolved"}
    told += [f"no open notice {name}" for name in want.notices - is_open]
    told += [f"an open notice {name} that nothing calls for" for name in is_open - want.notices]
    over = {(r["account_id"], r["kind"], r["profile_id"]) for r in rows if r["status"] == "resolved"}
    told += [
        f"a notice {name} was made though nothing called for it" for name in over if name[1] != "reauthorize_account"
    ]
    return told


def _stories(town: Town) -> dict[Key, str]:
    stories: dict[Key, str] = {}
    for key, tags in town.stories().items():
        stories[key] = "".join(_LETTERS.get(tag, "") for tag in tags)
    return stories


def _told_once(want: Expected, stories: dict[Key, str], tally: Counter[str]) -> list[str]:
    told = []
    for key, story in stories.items():
        if key in want.repairs:
            tally["intents"] += story.count("I")
            tally["doubts"] += "D" in story
            if not _ONE_STORY.fullmatch(story):
                told.append(f"{key} has the story {story}")
        elif story:
            told.append(f"{key} ({want.causes.get(key)}) has the story {story}")
    tally["repaired"] += len(want.repairs)
    told += [f"{key} has no story" for key in want.repairs.keys() - stories.keys()]
    return told


def _runs(town: Town) -> list[str]:
    told = []
    ends: dict[Any, list[Row]] = {}
    for entry in town.query(
        "SELECT run_id, tag, outcome FROM reconciler.audit_entries"
        " WHERE tag IN ('run:started', 'run:finished') ORDER BY entry_id"
    ):
        ends.setdefault(entry["run_id"], []).append(entry)
    for run in town.query("SELECT * FROM reconciler.runs"):
        name, entries = f"run {run['run_key'] or run['run_id']}", ends.get(run["run_id"], [])
        if run["status"] == "running" or run["finished_at"] is None or run["summary"] is None:
            told.append(f"{name} was left {run['status']}")
            continue
        if [e["tag"] for e in entries].count("run:started") != 1:
            told.append(f"{name} has started {entries}")
        if not entries or entries[-1]["outcome"] != run["status"] or run["summary"]["status"] != run["status"]:
            told.append(f"{name} is {run['status']}, its books say {run['summary']['status']}, its trail {entries}")
        completed = [e for e in entries if e["outcome"] == "completed"]
        if len(completed) > 1:
            told.append(f"{name} was completed {len(completed)} times")
    return told


def _counters(town: Town, want: Expected, stories: dict[Key, str]) -> list[str]:
    told = []
    counted = Counter[str]()
    for row in town.query(
        "SELECT u.run_id, r.status, r.summary, g.key AS grp, n.key AS name, sum(n.value::bigint)::bigint AS number"
        " FROM reconciler.runs r JOIN reconciler.run_units u USING (run_id), jsonb_each(u.counts) g,"
        " jsonb_each_text(g.value) n WHERE (g.key, n.key) <> ('events', 'read')"
        " GROUP BY u.run_id, r.status, r.summary, g.key, n.key"
        " UNION ALL SELECT r.run_id, r.status, r.summary, 'events', 'read', sum(u.events_read)"
        " FROM reconciler.runs r JOIN reconciler.run_units u USING (run_id) GROUP BY r.run_id"
    ):
        counted[f"{row['grp']}.{row['name']}"] += row["number"]
        said = row["summary"][row["grp"]].get(row["name"]) if row["summary"] else None
        if said is not None and said != row["number"]:
            told.append(
                f"the books of {row['run_id']} say {said} {row['grp']} {row['name']}, its units {row['number']}"
            )
    for row in town.query(
        "SELECT run_id, summary, count(*) AS units, count(*) FILTER (WHERE state = 'todo') AS todo"
        " FROM reconciler.runs JOIN reconciler.run_units USING (run_id) GROUP BY run_id, summary"
    ):
        accounts = row["summary"]["accounts"] if row["summary"] else None
        parts = sum(accounts[name] for name in ("done", "failed", "parked", "left")) if accounts else None
        if accounts and not accounts["due"] == parts == row["units"]:
            told.append(f"the accounts of {row['run_id']} do not add up: {accounts}, {row['units']} units")
        if row["summary"] and row["summary"]["status"] == "completed" and row["todo"]:
            told.append(f"{row['run_id']} is completed with {row['todo']} units to do")
    facts = {
        "outcomes.repaired": sum(story.count("A") for story in stories.values()),
        "outcomes.confirmed": sum(story.count("C") for story in stories.values()),
        "notices.queued": _entries(town, "notice:queued"),
        "notices.resolved": _entries(town, "notice:resolved"),
    }
    told += [
        f"{name}: {counted[name]} in the runs' counters, {fact} in the trail"
        for name, fact in facts.items()
        if counted[name] != fact
    ]
    if facts["notices.queued"] != len(town.query("SELECT 1 FROM reconciler.notices")):
        told.append("as many notices are queued by the trail as there are notices: no")
    if facts["outcomes.repaired"] != len(want.repairs):
        told.append(f"{facts['outcomes.repaired']} repairs were applied by the trail, {len(want.repairs)} by the plan")
    return told


def _entries(town: Town, tag: str) -> int:
    return int(town.query("SELECT count(*) AS n FROM reconciler.audit_entries WHERE tag = %s", tag)[0]["n"])


def _tokens(town: Town, want: Expected) -> list[str]:
    told = [f"{r.account.account_id}: its refresh token is lost, or it is parked" for r in lost_rotations(town, want)]
    accounts = town.query("SELECT account_id, state FROM reconciler.accounts")
    wrong = [a for a in accounts if (a["state"] == "parked") != (a["account_id"] in want.parked)]
    return told + [f"{account['account_id']} is {account['state']}" for account in wrong]


def _left_behind(town: Town) -> list[str]:
    held = town.query("SELECT calendar_id, event_id FROM reconciler.run_held")
    queued = town.query("SELECT entrypoint, status FROM reconciler_queue.pgqueuer")
    return [f"left behind: {row}" for row in (*held, *queued)]
