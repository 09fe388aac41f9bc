"""One account from start to end: load, read back, judge, repair, record."""

import asyncio
import traceback
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from reconciler.domain.audit import AuditTag
from reconciler.domain.casework import (
    Caseload,
    Counts,
    Unit,
    UnitError,
    UnitResult,
    Verdict,
    added,
)
from reconciler.domain.cause import Cause
from reconciler.domain.event import Assigned
from reconciler.domain.evidence import Evidence, Found, ReadBack, Unauthorized, Unreadable
from reconciler.domain.ids import EventKey
from reconciler.domain.notice import Addressee
from reconciler.domain.plural import many
from reconciler.domain.policy import Policy
from reconciler.domain.pushed import settled_by
from reconciler.domain.remedy import Reupsert
from reconciler.domain.roster import Roster
from reconciler.pipeline.act import DOUBT_SETTLES_S
from reconciler.pipeline.attempts import Repairs, carry_out, what_was_sent
from reconciler.pipeline.doubts import barred_by, lost_everything, may_be_refused, not_yet_believed
from reconciler.pipeline.guide import freely, guided
from reconciler.pipeline.judge import (
    Judged,
    gather,
    judge,
    observe,
    restored,
    served_without,
    with_links_read,
    with_roster,
)
from reconciler.pipeline.read_back import read_back
from reconciler.pipeline.settle import Settled, settle
from reconciler.pipeline.tools import Tools
from reconciler.ports import (
    WRONG_ACCOUNT,
    AccountUnauthorized,
    AccountUnreadable,
    Credentials,
    Loaded,
    RunStopped,
    TransactionUndone,
)

_LOOKS_AFTER_OVERTAKING = 3
"""An application that rewrites an event faster than we can read it is left to the next run."""

_LANDS_S = 10.0

T = TypeVar("T")

_OURS = f"{Path(__file__).parent.parent}/"


async def work_unit(unit: Unit, tools: Tools) -> UnitResult:
    """Do one account and record it. Its own failures are part of the result, those that nobody thought of included.

    Raises:
        RunStopped: Cronofy or Postgres as a whole is gone, or a setting is wrong; the unit stays to do.
    """
    tools.meter.begin()
    try:
        return await _record_in_any_case(await _work(unit, tools), tools)
    except TransactionUndone as error:  # it is about this account's rows
        return await _record(_nothing_done(unit, tools, UnitError("contended", str(error))), tools)
    except RunStopped:
        raise
    except Exception as error:  # noqa: BLE001 - one account's unheard-of rows or answers must not end everybody's run
        return await _record(_nothing_done(unit, tools, UnitError("internal", _where(error))), tools)


async def _work(unit: Unit, tools: Tools) -> UnitResult:
    loaded = await tools.store.load(unit, tools.clock.now(), tools.page_size.events)
    if loaded is None or isinstance(loaded, UnitError):
        return _nothing_done(unit, tools, loaded)
    return await _reconciled(loaded, tools)


async def _reconciled(loaded: Loaded, tools: Tools) -> UnitResult:
    """What came of the events that can be judged, and the errors of those whose rows cannot be used."""
    caseload = loaded.caseload
    result = await _reconcile(loaded, tools) if caseload.cases else _nothing_done(caseload.unit, tools, None)
    return result.with_errors(loaded.errors)


def _nothing_done(unit: Unit, tools: Tools, error: UnitError | None) -> UnitResult:
    return UnitResult(unit, Addressee(unit.account_id, None, None, None), tools.clock.now(), error=error)


async def _record_in_any_case(result: UnitResult, tools: Tools) -> UnitResult:
    """Record; where something in it cannot be, at least what was sent to Cronofy."""
    try:
        return await _record(result, tools)
    except TransactionUndone as error:
        sent = what_was_sent(result, UnitError("contended", str(error)))
        if sent is None:
            raise
    except RunStopped:
        raise
    except Exception as error:
        sent = what_was_sent(result, UnitError("internal", _where(error)))
        if sent is None:
            raise
    return await _record(sent, tools)


async def _record(result: UnitResult, tools: Tools) -> UnitResult:
    asked = tools.meter.taken()
    counted = replace(result, counts={**result.counts, "requests": asked})
    tools.meter.begin()  # what follows is counted apart, also where it is cut off
    try:
        recorded = await landed(tools.store.record(counted))
    except Exception:
        tools.meter.begin(asked)
        raise
    overtaken: Sequence[EventKey] = [*recorded.overtaken, *_not_restored(counted)]
    for _ in range(_LOOKS_AFTER_OVERTAKING):
        if not overtaken:
            break
        overtaken = await _look_again(counted.unit, overtaken, tools)
    return replace(counted, error=counted.error or recorded.error)


async def _look_again(unit: Unit, keys: Sequence[EventKey], tools: Tools) -> Sequence[EventKey]:
    """The application wrote these events while ours were under way: read them, and let its newer body stand."""
    loaded = await tools.store.load(unit, tools.clock.now(), tools.page_size.events, keys)
    if isinstance(loaded, UnitError):
        return ()
    result = await _reconciled(loaded, tools) if loaded else _nothing_done(unit, tools, None)
    if gone := len(set(keys)) - (len(loaded.caseload.cases) if loaded else 0):
        why = (
            f"{many(gone, 'event is', 'events are')} deleted, begun, or asking for no link any more, since a re-upsert"
            f" of ours; check {'its calendar' if gone == 1 else 'their calendars'}"
        )
        result = replace(result, error=result.error or UnitError("write_crossed_delete", why))
    counts = {name: group for name, group in result.counts.items() if name != "causes"}
    counted = replace(result, counts={**counts, "requests": tools.meter.taken()}, held=())
    tools.meter.begin()
    recorded = await landed(tools.store.record_more([counted]))
    return [*recorded.overtaken, *_not_restored(counted)]


def _not_restored(result: UnitResult) -> list[EventKey]:
    """Events whose newer body was not sent, because the application has written a newer one still."""
    unneeded = [entry for entry in result.entries if entry.tag is AuditTag.REPAIR_UNNEEDED]
    return [entry.key for entry in unneeded if entry.key is not None and (entry.after or {}).get("restores")]


async def landed(recording: Coroutine[Any, Any, T]) -> T:
    """Record, whatever happens: a cancelled unit keeps its account until what it recorded has landed."""
    task = asyncio.create_task(recording)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_unheard)
        await asyncio.wait({task}, timeout=_LANDS_S)
        raise


def _unheard(task: "asyncio.Task[Any]") -> None:
    """Nobody is left to hear why it failed; the unit stays to do."""
    if not task.cancelled():
        task.exception()


def _where(error: Exception) -> str:
    """What kind of failure, and at which lines of ours; never its message, which may hold a row or an answer."""
    ours = [
        f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__) if _OURS in f.filename
    ]
    return f"{type(error).__name__} at {' < '.join(reversed(ours))}: please report it"


async def _reconcile(loaded: Loaded, tools: Tools) -> UnitResult:
    caseload, who = loaded.caseload, loaded.who
    readings = await _read(loaded, tools)
    if not tools.dry_run and (seconds := _doubt_settles_in(caseload, readings, tools.clock.now())) > 0:
        await asyncio.sleep(seconds)
        readings = await _read(loaded, tools)
    now = tools.clock.now()
    caseload, roster, judged = await _judged(caseload, readings, who, now, tools)
    read, barred = _read_of(judged), barred_by(judged, tools)
    doubted = await not_yet_believed(caseload, roster, judged, barred, tools)
    judged = [item for item in judged if item.key not in doubted]
    may_hold = tools.guide is freely
    held = [item for item in judged if may_hold and item.waits_for_the_run]
    rest = [item for item in judged if not (may_hold and item.waits_for_the_run) and not item.restores]
    decided, drifted = guided(rest, tools.guide)
    decided = [*(item for item in judged if item.restores), *decided]
    repairs = Repairs(kept=[item for item in decided if isinstance(item.remedy, Reupsert)])
    if repairs.kept and not tools.dry_run:
        repairs = await carry_out(who, caseload, repairs.kept, read, tools)
    refused = repairs.refused_by_account
    believed = not refused or not await may_be_refused(caseload.unit, tools)
    settled = settle(
        caseload, decided, held, repairs.outcomes, repairs.kept, roster, now, tools.policy, drifted, believed=believed
    )
    waits = bool(doubted) or not believed
    caseload = replace(caseload, to_look_at=()) if waits else caseload  # they keep the events due until then
    result = _result(caseload, judged, held, settled, roster, now, tools.policy, tools.dry_run)
    if waits:
        result = _waiting(result, tuple(doubted.values()), () if believed else refused)
    lost = lost_everything(caseload, roster)
    return replace(result, refusal=repairs.refusal, roster_lost=lost, access_lost=bool(barred or refused))


async def _judged(
    caseload: Caseload, readings: Mapping[EventKey, ReadBack], who: Credentials, now: datetime, tools: Tools
) -> tuple[Caseload, Roster | None, list[Judged]]:
    """The verdicts on what was read, with the roster if any event calls for it; the caseload then knows the links."""
    evidence = [(case, gather(case, readings[case.event.key], caseload, now)) for case in caseload.cases]
    caseload = with_links_read(caseload, evidence)
    roster: Roster | None = None
    if any(e.needs_roster() for _, e in evidence):
        answer = await _userinfo(who, tools)
        if isinstance(answer, Roster):
            roster = answer
            evidence = [
                (case, with_roster(e, roster, case.event.key.calendar_id, served_without(case, caseload)))
                for case, e in evidence
            ]
        else:
            evidence = [(c, replace(e, read_back=answer) if _falls_with(answer, e) else e) for c, e in evidence]
    return caseload, roster, [restored(judge(case, e, tools.policy)) for case, e in evidence]


def _doubt_settles_in(caseload: Caseload, readings: Mapping[EventKey, ReadBack], now: datetime) -> float:
    """How long to wait before an event is judged whose last write may have taken effect a moment ago."""
    waits = [
        DOUBT_SETTLES_S - (now - case.state.intended_at).total_seconds()
        for case in caseload.cases
        if case.state.intended_at is not None
        and isinstance(read := readings[case.event.key], Found)
        and not isinstance(read.conferencing, Assigned)
    ]
    return min(max(waits, default=0.0), DOUBT_SETTLES_S)


async def _read(loaded: Loaded, tools: Tools) -> Mapping[EventKey, ReadBack]:
    """What is known of each event: as Cronofy pushed it where that settles it, else as it is read now."""
    pushed = _pushed(loaded.caseload) if tools.guide is freely else {}
    cases = [case for case in loaded.caseload.cases if case.event.key not in pushed]
    if not cases:
        return pushed
    try:
        return pushed | await read_back(
            tools.api, loaded.who, cases, loaded.density, tools.page_size, tools.clock.now()
        )
    except AccountUnauthorized as error:
        failure: ReadBack = Unauthorized(str(error))
    except AccountUnreadable as error:
        failure = Unreadable(error.kind, str(error))
    return pushed | {case.event.key: failure for case in cases}


def _pushed(caseload: Caseload) -> dict[EventKey, ReadBack]:
    settled = (
        (case.event.key, settled_by(case.pushed, case.event, case.state, caseload.profiles))
        for case in caseload.cases
        if not case.overtaken
    )
    return {key: found for key, found in settled if found is not None}


async def _userinfo(who: Credentials, tools: Tools) -> Roster | Unauthorized | Unreadable:
    try:
        return await tools.api.userinfo(who)
    except AccountUnauthorized as error:
        return Unauthorized(str(error))
    except AccountUnreadable as error:
        return Unreadable(error.kind, str(error))


def _falls_with(failure: Unauthorized | Unreadable, evidence: Evidence) -> bool:
    """Whether what was read of an event cannot be used without a roster; nothing can that is another account's."""
    return evidence.needs_roster() or (isinstance(failure, Unreadable) and failure.kind == WRONG_ACCOUNT)


def _waiting(result: UnitResult, doubted: Sequence[Judged], unwritten: Sequence[Judged]) -> UnitResult:
    """The result of a unit that is worked again when it is believed; until then its roster is not on record.

    `unwritten`: the repairs that are tried again then.
    """
    events = result.counts.get("events", {})
    counts = {**result.counts, "events": {**events, "read": events.get("read", 0) + _read_of(doubted)}}
    verdicts = (*result.verdicts, *(item.verdict for item in (*doubted, *unwritten)))
    return replace(result, roster=None, waits=True, verdicts=verdicts, counts=counts)


def _result(
    caseload: Caseload,
    judged: Sequence[Judged],
    held: Sequence[Judged],
    settled: Settled,
    roster: Roster | None,
    now: datetime,
    policy: Policy,
    dry_run: bool,
) -> UnitResult:
    unreadable = [j for j in judged if j.cause is Cause.UNREADABLE]
    counts: Counts = {
        **settled.counts,
        "events": {"read": _read_of(judged), "settled": settled.newly_settled},
    }
    not_held = (item for item in judged if item not in held)
    if dry_run:  # what a run would do
        repairs = sum(isinstance(item.remedy, Reupsert) and not item.remedy.restores for item in settled.kept)
        counts = added(counts, {"outcomes": {"repaired": repairs}})
    verdicts: tuple[Verdict, ...] = tuple(item.verdict for item in (not_held if dry_run else settled.kept))
    return UnitResult(
        unit=caseload.unit,
        addressee=caseload.addressee,
        at=now,
        states=settled.states,
        corrections=settled.corrections,
        entries=settled.entries,
        notices=settled.notices,
        roster=roster.on_record({case.event.profile_id for case in caseload.cases}) if roster else None,
        roster_compared=roster is not None and bool(caseload.listed_before),
        held=tuple((item.key, item.evidence) for item in held),
        verdicts=verdicts,
        park=settled.park,
        error=_error_of(unreadable) or settled.error,
        counts=counts,
        observed=observe(judged, policy),
        looked_at=(
            *(caseload.to_look_at if all(_answered(item) for item in judged) else ()),
            *(notification for item in judged if _answered(item) for notification in item.case.to_look_at),
        ),
    )


def _read_of(judged: Sequence[Judged]) -> int:
    """How many events a listing answered for, with all that it takes to judge them."""
    return sum(_answered(item) and not (item.evidence.found and item.evidence.found.pushed_at) for item in judged)


def _answered(item: Judged) -> bool:
    return not isinstance(item.evidence.read_back, Unreadable | Unauthorized)


def _error_of(unreadable: Sequence[Judged]) -> UnitError | None:
    for item in unreadable:
        if isinstance(item.evidence.read_back, Unreadable):
            return UnitError(item.evidence.read_back.kind, item.evidence.read_back.message)
    return None
