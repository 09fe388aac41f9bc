"""Carries out the re-upserts of one account: intent recorded, sent in batches, doubts resolved by reading."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import Unit
from reconciler.domain.cause import calendar_start
from reconciler.domain.evidence import Found, Unreadable
from reconciler.domain.evidence_json import evidence_json
from reconciler.domain.ids import EventKey
from reconciler.domain.outcome import OUTCOME_NAMES, Applied, InDoubt, Outcome, Unneeded, Unsent
from reconciler.domain.remedy import REMEDY_NAMES, Reupsert, drift_of, remedy_json
from reconciler.pipeline.judge import Judged
from reconciler.pipeline.read_back import window_ahead, window_for
from reconciler.ports import (
    AccountUnauthorized,
    AccountUnreadable,
    CalendarApi,
    CaseStore,
    Credentials,
    Intent,
    Recheck,
    UpsertRequest,
    Window,
)

DOUBT_SETTLES_S = 5.0
"""How long after a write whose answer is not known its link, if it took effect, has mostly come."""

MOST_MANAGED = 5_000
"""How many events an account is allowed to have where its writes are looked at again: it was read before."""

Repair = tuple[Judged, Reupsert]


async def repair(
    api: CalendarApi,
    store: CaseStore,
    who: Credentials,
    unit: Unit,
    repairs: Sequence[Repair],
    events_read: int,
    now: datetime,
    *,
    first: bool = True,
) -> dict[EventKey, Outcome]:
    """Write events again, all to repair them or all to restore them; one outcome per event.

    Not `first`: in this look the same events were written before.

    Raises:
        SafetyLimitReached: a limit of the run does not allow it; nothing was written.
        RunStopped: Cronofy or Postgres as a whole is gone.
    """
    restores = all(remedy.restores for _, remedy in repairs)
    bodies = await store.intend(
        Intent(
            unit=unit,
            at=now,
            events_read=events_read,
            writes={item.key: (item.case.event.written_at, remedy.profile_id) for item, remedy in repairs},
            entries=[entry for item, remedy in repairs for entry in _entries(unit, item, remedy, first=first)],
            restores=restores,
            counts=first and not restores,
        )
    )
    requests = [
        UpsertRequest(item.key, bodies[item.key], remedy.profile_id, remedy.drift)
        for item, remedy in repairs
        if item.key in bodies
    ]
    recheck = _Recheck(api, store, who, unit, {item.key: item for item, _ in repairs}, now)
    outcomes: dict[EventKey, Outcome] = {item.key: _REWRITTEN for item, _ in repairs}
    changed = await _seen_again(requests, recheck)
    requests = [r for r in requests if r.key not in changed]
    outcomes |= {**changed, **await _send(api, who, requests, recheck)}
    in_doubt = [r for r in requests if isinstance(outcomes[r.key], InDoubt)]
    if in_doubt:
        window = _window([recheck.items[r.key] for r in in_doubt], now)
        outcomes.update(await _resolve(api, who, in_doubt, window, outcomes, recheck))
    return outcomes


_REWRITTEN = Unneeded("the application wrote or cancelled it meanwhile")


@dataclass(frozen=True, slots=True)
class _Recheck:
    """Implements `ports.Recheck` for the repairs of one account: by what they were judged on."""

    api: CalendarApi
    store: CaseStore
    who: Credentials
    unit: Unit
    items: Mapping[EventKey, Judged]
    now: datetime

    async def by_look(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Outcome]:
        try:
            window = _window([self.items[key] for key in keys], self.now)
            listing = await self.api.list_events(self.who, window, wanted=keys, expected=MOST_MANAGED)
        except (AccountUnreadable, AccountUnauthorized) as error:
            return dict.fromkeys(keys, Unsent(str(error), unauthorized=isinstance(error, AccountUnauthorized)))
        looked = {key: _no_longer(listing.events.get(key), self.items[key], self.now) for key in keys}
        return {key: why for key, why in looked.items() if why is not None}

    async def by_rows(self, keys: Sequence[EventKey]) -> Mapping[EventKey, Outcome]:
        same = await self.store.unchanged(self.unit, {k: self.items[k].case.event.written_at for k in keys})
        return {key: _REWRITTEN for key in keys if key not in same}


def _no_longer(shown: Found | Unreadable | None, item: Judged, now: datetime) -> Outcome | None:
    """Why what was to be written must not be written any more, by a later look; null where nothing has changed."""
    if not isinstance(shown, Found) or item.evidence.found is None:
        return Unsent("it could not be read again before the write")
    if shown.is_linked:
        return Unneeded("it has its link by now")
    if shown.is_gone:
        return Unneeded("it was deleted in the calendar meanwhile")
    later = replace(item.evidence, read_back=shown, now=now)
    if calendar_start(later):
        return Unneeded("it has started meanwhile")
    if drift_of(later) != drift_of(item.evidence):
        return Unneeded("it was moved in the calendar meanwhile")
    return None


def _window(items: Sequence[Judged], now: datetime) -> Window:
    """The days that show what these events were judged on."""
    if any(item.evidence.found is not None and item.evidence.found.times_differ for item in items):
        return window_ahead(now)
    return window_for([item.case.event for item in items], now)


async def _seen_again(requests: Sequence[UpsertRequest], recheck: _Recheck) -> Mapping[EventKey, Outcome]:
    """What became of events listed at several times, by one more look: those that are not to be written.

    A listing shows an event twice also where the person moved it while the pages were read, and then the stored times
    would move it back.
    """
    keys = [r.key for r in requests if (found := recheck.items[r.key].evidence.found) and found.times_differ]
    return await recheck.by_look(keys) if keys else {}


async def _send(
    api: CalendarApi, who: Credentials, requests: Sequence[UpsertRequest], recheck: Recheck
) -> dict[EventKey, Outcome]:
    if not requests:
        return {}
    answers = await api.upsert(who, requests, recheck)
    return {request.key: answer for request, answer in zip(requests, answers, strict=True)}


async def _resolve(
    api: CalendarApi,
    who: Credentials,
    in_doubt: Sequence[UpsertRequest],
    window: Window,
    outcomes: Mapping[EventKey, Outcome],
    recheck: Recheck,
) -> dict[EventKey, Outcome]:
    """After a lost answer: read; a link proves that it took effect, none lets it be sent once more (same event id).

    Read after a while: a link takes seconds, and what took effect must not be sent again.
    """
    await asyncio.sleep(DOUBT_SETTLES_S)
    try:
        listing = await api.list_events(who, window, wanted=[r.key for r in in_doubt], expected=MOST_MANAGED)
    except (AccountUnreadable, AccountUnauthorized):
        return {r.key: outcomes[r.key] for r in in_doubt}
    resolved: dict[EventKey, Outcome] = {}
    again = []
    for request in in_doubt:
        shown = listing.events.get(request.key)
        if isinstance(shown, Found) and shown.is_linked:
            resolved[request.key] = Applied()
        elif isinstance(shown, Found) and not shown.is_gone:
            again.append(request)
        else:
            resolved[request.key] = outcomes[request.key]
    return {**resolved, **await _send(api, who, again, recheck)}


def _entries(unit: Unit, item: Judged, remedy: Reupsert, *, first: bool) -> list[AuditEntry]:
    """The new intent; before it what came of an earlier one that it replaces, for nobody will look for that again."""
    intent = intent_entry(unit, item, remedy)
    return [doubt_entry(unit, item, item.evidence.now), intent] if first and item.case.doubt else [intent]


def doubt_entry(unit: Unit, item: Judged, at: datetime) -> AuditEntry:
    """What a look that found no link says of an intent without an outcome."""
    return AuditEntry(
        tag=AuditTag.REPAIR_IN_DOUBT,
        at=at,
        run_id=unit.run_id,
        account_id=unit.account_id,
        key=item.key,
        cause=item.cause,
        remedy=REMEDY_NAMES[type(item.remedy)],
        outcome=OUTCOME_NAMES[InDoubt],
        before={"profile_id": item.evidence.asked, **based_on(item)},
        after={"profile_id": item.case.doubt},
    )


def based_on(item: Judged) -> dict[str, object]:
    """Which of the application's writes a repair was based on: what `undo` compares."""
    return {"written_at": item.case.written_at.isoformat()}


def intent_entry(unit: Unit, item: Judged, remedy: Reupsert) -> AuditEntry:
    """The entry that stands before a write, with everything it rests on."""
    return AuditEntry(
        tag=AuditTag.REPAIR_INTENDED,
        at=item.evidence.now,
        run_id=unit.run_id,
        account_id=unit.account_id,
        key=item.key,
        cause=item.cause,
        remedy=REMEDY_NAMES[Reupsert],
        evidence=evidence_json(item.evidence),
        before={"profile_id": item.evidence.asked},
        after=remedy_json(remedy),
    )
