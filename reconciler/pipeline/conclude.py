"""The end of a run: what is not believed, which providers are down, and the verdicts that waited for that answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from reconciler.domain.audit import AuditEntry, AuditTag
from reconciler.domain.casework import HeldCases, Unit, UnitError, UnitResult
from reconciler.domain.ids import AccountId
from reconciler.domain.notice import Addressee
from reconciler.domain.run import ProviderShare
from reconciler.pipeline.guide import freely
from reconciler.pipeline.judge import judge
from reconciler.pipeline.settle import settle
from reconciler.pipeline.tools import Tools
from reconciler.ports import Locks, RunLedger, RunStopped, TransactionUndone

log = structlog.get_logger()


async def not_believed(run_id: UUID, tools: Tools) -> str | None:
    """What so many accounts were told at once that it says more about who told it; null for nothing."""
    share = tools.limits.share
    allowed = f"(RECONCILER_MAX_REPAIR_SHARE allows {share:g})"
    access = await tools.store.lost_access(run_id)
    if access.too_many(share):
        return (
            f"{access.lost} of {access.compared} accounts were refused (403, or no token that Cronofy takes) {allowed}:"
            " that is not believed, and nobody is parked"
        )
    rosters = await tools.store.lost_rosters(run_id)
    if tools.guide is freely and rosters.too_many(share):
        return (
            f"{rosters.lost} of {rosters.compared} accounts lost every conferencing profile since last time {allowed}:"
            " their rosters are not believed"
        )
    return None


async def infer_outages(run_id: UUID, ledger: RunLedger, tools: Tools) -> dict[str, int]:
    """Open and close incidents by what the run observed; how many of each, in a dry run how many a run would."""
    now = tools.clock.now()
    begun, ended = await _outages(run_id, await ledger.open_incidents(), ledger, tools)
    if tools.dry_run:
        return {"opened": len(begun), "closed": len(ended)}
    changed = {"opened": 0, "closed": 0}
    for provider, share in begun.items():
        evidence = share.as_json() | {"said_by": "inferred" if share.is_inferred else "notified"}
        entry = _entry(AuditTag.INCIDENT_OPENED, run_id, now, provider, evidence)
        changed["opened"] += await ledger.open_incident(provider, now, evidence, run_id, entry)
    for provider, share in ended.items():
        entry = _entry(AuditTag.INCIDENT_CLOSED, run_id, now, provider, share.as_json())
        changed["closed"] += await ledger.close_incident(provider, now, share.as_json(), run_id, entry)
    return changed


async def providers_down(run_id: UUID, ledger: RunLedger, tools: Tools) -> tuple[str, ...]:
    """The providers whose open incident speaks for events; in a dry run those of which it would after a run.

    It does so no longer than an event may stay unexplained: a wrong guess must not hide another cause for long.
    """
    opened, now = await ledger.open_incidents(), tools.clock.now()
    down = {provider for provider, at in opened.items() if now - at <= tools.policy.escalate_after}
    if tools.dry_run:
        begun, ended = await _outages(run_id, opened, ledger, tools)
        down = down.union(begun) - set(ended)
    return tuple(sorted(down))


async def _outages(
    run_id: UUID, already: Collection[str], ledger: RunLedger, tools: Tools
) -> tuple[dict[str, ProviderShare], dict[str, ProviderShare]]:
    """The providers whose outage has begun, and those of whose open incidents the outage is over."""
    now = tools.clock.now()
    shares = await ledger.shares(run_id, now, now - tools.policy.lookback, already)
    begun = {name: share for name, share in shares.items() if name not in already and share.is_outage}
    ended = {name: share for name in already if (share := shares.get(name, ProviderShare())).is_over}
    return begun, ended


Seen = Callable[[UnitResult], None]
"""Called with a result as soon as it is recorded: progress bars, one line per remedy."""


async def judge_held(run_id: UUID, ledger: RunLedger, locks: Locks, tools: Tools, seen: Seen) -> None:
    """Give every held event its verdict, now that it is known who is down; `seen` hears of each account's.

    An account that another run has in hand is left to it: its events are still due. So are those of an account whose
    verdicts cannot be given, which counts as failed.
    """
    down = await providers_down(run_id, ledger, tools)
    after = AccountId("")
    while page := await tools.store.held_accounts(run_id, after):
        after = page[-1]
        async with _in_hand(page, run_id, locks) as accounts:
            try:
                await _give_verdicts(run_id, accounts, down, tools, seen)
            except Exception as error:
                if isinstance(error, RunStopped) and not isinstance(error, TransactionUndone):
                    raise
                for account_id in accounts:
                    await _give_its_verdicts(run_id, account_id, down, tools, seen)


async def _give_verdicts(
    run_id: UUID, accounts: Sequence[AccountId], down: tuple[str, ...], tools: Tools, seen: Seen
) -> None:
    if held := await tools.store.held(run_id, accounts):
        results = [_settle_held(one, down, tools) for one in held]
        await tools.store.record_more(results)
        for result in results:
            seen(result)


async def _give_its_verdicts(
    run_id: UUID, account_id: AccountId, down: tuple[str, ...], tools: Tools, seen: Seen
) -> None:
    try:
        await _give_verdicts(run_id, [account_id], down, tools, seen)
    except TransactionUndone as error:
        await tools.store.record_more([_no_verdicts(run_id, account_id, UnitError("contended", str(error)), tools)])
    except RunStopped:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        why = f"{type(error).__name__} over the verdicts that waited for the end of the run: please report it"
        await tools.store.record_more([_no_verdicts(run_id, account_id, UnitError("internal", why), tools)])
        log.warning("account left", account_id=account_id, kind="internal", why=why)


async def resolve_spent_notices(run_id: UUID, ledger: RunLedger, locks: Locks, now: datetime) -> None:
    """Resolve the notices whose every event has started, but of accounts that another run has in hand."""
    after = AccountId("")
    while page := await ledger.spent_notices(now, after):
        after = page[-1]
        async with _in_hand(page, run_id, locks) as accounts:
            await ledger.resolve_spent_notices(run_id, now, accounts)


def _no_verdicts(run_id: UUID, account_id: AccountId, error: UnitError, tools: Tools) -> UnitResult:
    now = tools.clock.now()
    return UnitResult(Unit(run_id, account_id, now), Addressee(account_id, None, None, None), now, error=error)


@asynccontextmanager
async def _in_hand(accounts: Sequence[AccountId], run_id: UUID, locks: Locks) -> AsyncIterator[list[AccountId]]:
    """Those of the accounts that no other run has in hand; nobody else takes them meanwhile."""
    names = [f"account:{account_id}" for account_id in accounts]
    taken = await asyncio.gather(*(locks.take(name) for name in names))
    try:
        yield [
            account_id
            for account_id, name, mine in zip(accounts, names, taken, strict=True)
            if mine or await locks.taken_within(name, f"run:{run_id}")  # by one of this run's who fell silent
        ]
    finally:
        mine = [name for name, held in zip(names, taken, strict=True) if held]
        await asyncio.shield(asyncio.gather(*(locks.release(name) for name in mine)))


def _settle_held(held: HeldCases, down: tuple[str, ...], tools: Tools) -> UnitResult:
    """What the application has written since then is read anew, by the next run."""
    caseload = held.caseload
    now = tools.clock.now()
    judged = [
        judge(case, replace(evidence, open_incidents=down), tools.policy)
        for case in caseload.cases
        if (evidence := held.evidence[case.event.key]).written_at == case.written_at
    ]
    settled = settle(caseload, judged, (), {}, (), None, now, tools.policy)
    return UnitResult(
        unit=caseload.unit,
        addressee=caseload.addressee,
        at=now,
        states=settled.states,
        corrections=settled.corrections,
        entries=settled.entries,
        notices=settled.notices,
        verdicts=tuple(item.verdict for item in judged) if tools.dry_run else (),
        counts={**settled.counts, "events": {"settled": settled.newly_settled}},
    )


def _entry(tag: AuditTag, run_id: UUID, now: datetime, provider: str, evidence: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(tag=tag, at=now, run_id=run_id, evidence=dict(evidence), after={"provider_name": provider})
