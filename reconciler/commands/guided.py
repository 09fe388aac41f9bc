"""`reconciler apply` and `reconciler undo`: exactly the events of a plan or a run, where they are as they were left."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from reconciler.bootstrap import open_books, open_worker
from reconciler.commands.terminal import Exit, complain, say, say_json
from reconciler.commands.working import RunOptions, exit_of, stopping, work
from reconciler.config import Settings
from reconciler.domain.casework import Scope
from reconciler.domain.ids import CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.plural import many
from reconciler.pipeline.guide import Change, Guide, Planned, as_planned, back
from reconciler.ports import SafetyLimits
from reconciler.postgres.plans import plan_digest
from reconciler.reporting.summary_text import FATES, fates_text, run_text


async def apply_command(settings: Settings, plan_id: UUID, *, as_json: bool) -> Exit:
    """`reconciler apply`: what a stored plan says, and only what in it still holds."""
    async with open_books(settings) as books:
        plan, items = await books.plans.plan(plan_id), await books.plans.items(plan_id)
    if plan is None:
        complain(f"there is no plan {plan_id}: `reconciler plan` makes one")
        return Exit.USAGE
    if plan["expired"] or plan["digest"] != plan_digest(items):
        why = (
            f"expired at {plan['expires_at']:%Y-%m-%d %H:%M} UTC" if plan["expired"] else "was altered or never closed"
        )
        complain(f"refused: plan {plan_id} {why}; make a new one with `reconciler plan`")
        return Exit.REFUSED
    approved = {_key_in(i): Planned(i["cause"], i["detail"]) for i in items}
    return await _guided(
        settings, tuple(approved), as_planned(approved), f"apply {plan_id}", undoes=False, as_json=as_json
    )


async def undo_command(settings: Settings, run_id: UUID, *, as_json: bool) -> Exit:
    """`reconciler undo`: put back what a run changed, where nothing moved since."""
    async with open_books(settings) as books:
        if await books.plans.in_hand(run_id):
            complain(f"run {run_id} is still under way; nothing was undone")
            return Exit.ALREADY
        rows = await books.plans.changes(run_id)
        in_doubt = await books.plans.left_in_doubt(run_id)
    if rows is None:
        complain(f"there is no run {run_id}: `reconciler status` names the last one")
        return Exit.USAGE
    if in_doubt:
        be = "is" if in_doubt == 1 else "are"
        complain(f"{many(in_doubt, 'write', 'writes')} of run {run_id} {be} in doubt and {be} not undone")
    changed = {}
    for row in rows:
        if (change := _change_in(row)) is not None:
            changed[_key_in(row)] = change
        else:
            complain(f"entry {row['entry_id']} of the trail cannot be read: {_key_in(row)} is not undone")
    return await _guided(
        settings, tuple(changed), back(run_id, changed), f"undo {run_id}", undoes=True, as_json=as_json
    )


def _change_in(row: Mapping[str, Any]) -> Change | None:
    """What an entry says was changed; null where no run of ours wrote it."""
    try:
        written_at = datetime.fromisoformat(row["written_at"] or "")
    except ValueError:
        return None
    old, new = row["old_profile"], row["new_profile"]
    return Change(ProfileId(old), ProfileId(new), written_at) if old and new and written_at.tzinfo else None


def _key_in(row: Mapping[str, Any]) -> EventKey:
    """The event that a row is about."""
    return EventKey(CalendarId(row["calendar_id"]), EventId(row["event_id"]))


async def _guided(
    settings: Settings, events: tuple[EventKey, ...], guide: Guide, command: str, *, undoes: bool, as_json: bool
) -> Exit:
    """A run over exactly these events, in which only what the guide allows is carried out. `command` does it again."""
    if not events:
        complain("nothing to do: it holds no event")
        return Exit.DONE
    options = RunOptions(scope=Scope(events=events), reason=command, as_json=as_json)
    asked = len(events)
    limits = SafetyLimits(repairs=asked, share=math.inf, per_account=asked)  # somebody has looked at exactly these
    async with (
        stopping() as stop,
        open_worker(settings, options.scope, guide=guide, limits=limits, stop=stop) as worker,
    ):
        end = await work(settings, options, worker, stop)
        fates = await worker.books.plans.fates(UUID(end.summary["run_id"]), events)
    counted = {fate: sum(fates.get(fate, {}).values()) for fate in FATES}
    end.summary["asked"] = {"events": asked, **counted}
    if as_json:
        say_json(end.summary)
    else:
        say(run_text(end.summary))
        say(fates_text(asked, fates, undoes=undoes))
    code = exit_of(end, command)
    if code is Exit.DONE and (failed := counted["refused"] + counted["in_doubt"] + counted["failed"]):
        done = "put back" if undoes else "carried out"
        which = f"{failed} of {many(asked, 'event')}"
        complain(f"{which} could not be {done}, or not surely: `reconciler explain` says why of each")
        return Exit.PARTIAL
    return code
