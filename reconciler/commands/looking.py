"""The commands that change nothing: `reconciler status`, `explain`, `report`, `audit verify` and `audit replay`."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from reconciler.bootstrap import open_books, policy_from
from reconciler.commands.terminal import Exit, complain, say, say_file, say_json
from reconciler.config import Settings
from reconciler.cronofy.limits import left_in_a_minute
from reconciler.domain.audit import Json
from reconciler.domain.evidence_json import UNREADABLE
from reconciler.domain.ids import EventKey
from reconciler.domain.plural import many
from reconciler.domain.policy import Policy
from reconciler.domain.visible import visible
from reconciler.pipeline.prove import Proof, replay, verify
from reconciler.postgres.report_reader import ReportQuery, build
from reconciler.reporting import render
from reconciler.reporting.explain import story, story_text
from reconciler.reporting.summary_text import status_text


async def status_command(settings: Settings, *, as_json: bool) -> Exit:
    """`reconciler status`."""
    async with open_books(settings) as books:
        status = await books.status.status(books.clock.now(), settings.cronofy_client_id)
    if budget := status["budget"]:
        behind = max(budget["held_for_seconds"], budget["minute_backlog_seconds"])
        left, idle = left_in_a_minute(*settings.allowance, budget["pace"], behind, budget.pop("taken"))
        status["budget"] = {**budget, "left_this_minute": left, "per_minute": idle}
    if as_json:
        say_json(status)
    else:
        say(status_text(status))
    return Exit.DONE


async def explain_command(settings: Settings, keys: Sequence[EventKey], *, as_json: bool) -> Exit:
    """`reconciler explain`: the first of these keys that is one."""
    async with open_books(settings) as books:
        event, key = None, keys[0]
        for key in keys:
            if (event := await books.status.event(key)) is not None:
                break
        entries = await books.audit.of_event(key)
    if event is None:
        complain(f"reconciler.events holds no event {key}: check the calendar id and the event id")
        return Exit.USAGE
    if as_json:
        say_json(story(event, entries, settings.policy))
    else:
        say(story_text(event, entries, settings.policy))
    return Exit.DONE


async def verify_command(settings: Settings, seals: Collection[str], *, as_json: bool) -> Exit:
    """`reconciler audit verify`; `seals` are hashes kept outside the database."""
    async with open_books(settings) as books, books.audit.whole() as trail:
        proof = await verify(trail, seals)
    verdict = {"verify": "failed" if proof.faults else "ok", "entries": proof.entries, "unproven": proof.unproven}
    return _say_proof(proof, "verified", verdict, as_json=as_json)


async def replay_command(settings: Settings, run_id: UUID | None, *, as_json: bool) -> Exit:
    """`reconciler audit replay`."""
    async with open_books(settings) as books, books.audit.whole() as trail:
        policies = {books.run_id: _policy(books.begun) for books in await trail.books()}
        if run_id is not None and run_id not in policies:
            complain(f"there is no run {run_id}: `reconciler status` names the last one")
            return Exit.USAGE
        proof = await replay(
            trail, run_id, lambda run: settings.policy if run is None or run not in policies else policies[run]
        )
    verdict = {"replay": "failed" if proof.faults else "ok", "entries": proof.entries, "superseded": proof.superseded}
    return _say_proof(proof, "replayed to the same cause and remedy", verdict, as_json=as_json)


def _policy(begun: Json | None) -> Policy | None:
    """The policy that a run's books hold; null where it cannot be read."""
    try:
        return policy_from(begun["policy"]) if begun is not None else None
    except UNREADABLE:
        return None


def _say_proof(proof: Proof, done: str, verdict: dict[str, Any], *, as_json: bool) -> Exit:
    if as_json:
        say_json({**verdict, "faults": proof.faults})
    else:
        entries = many(proof.entries, "entry", "entries")
        say(f"{entries} {done}" if not proof.faults else f"{many(len(proof.faults), 'fault')} in {entries}")
        if proof.superseded:
            say(f"  {many(proof.superseded, 'was', 'were')} reached by older rules; today's would decide otherwise")
        for fault in proof.faults:
            say(visible(f"  {fault}"))
        for open_question in proof.unproven:
            say(f"  not proven: {open_question}")
    return Exit.INTERNAL if proof.faults else Exit.DONE


async def report_command(settings: Settings, query: ReportQuery, form: str, output: Path | None) -> Exit:
    """`reconciler report`: to a file, or to stdout."""
    async with open_books(settings) as books:
        try:
            content = render(await build(books.pool, query), form)
        except LookupError as error:
            complain(str(error))
            return Exit.USAGE
    if output is None:
        say_file(content)
        return Exit.DONE
    try:
        await asyncio.to_thread(output.write_bytes, content)
    except OSError as error:
        complain(f"-o {output}: {error.strerror}")
        return Exit.USAGE
    return Exit.DONE
