"""What an account was told that is not believed before all accounts of the run are through.

Rosters that lost every profile, and accounts that Cronofy refuses, are each account's own affair unless they are many
at once: then they say more about who answered, be it a listing gone wrong or a proxy that forbids everything.
"""

from collections.abc import Mapping, Sequence

from reconciler.domain.casework import Caseload, Unit
from reconciler.domain.cause import SETTLED, Cause
from reconciler.domain.ids import EventKey
from reconciler.domain.remedy import Reupsert
from reconciler.domain.roster import Roster
from reconciler.pipeline.guide import freely
from reconciler.pipeline.judge import Judged
from reconciler.pipeline.tools import Tools


def lost_everything(caseload: Caseload, roster: Roster | None) -> bool:
    """Whether the account has lost every conferencing profile since its roster was last read."""
    return roster is not None and bool(caseload.listed_before) and not roster.conferencing


def barred_by(judged: Sequence[Judged], tools: Tools) -> Sequence[Judged]:
    """The events that cannot be read before the person authorises again; none where somebody has approved to say so."""
    return [item for item in judged if item.cause is Cause.ACCOUNT_UNAUTHORIZED] if tools.guide is freely else []


async def may_be_refused(unit: Unit, tools: Tools) -> bool:
    """Whether so many accounts of the run may be refused that one of them is not believed; one that has waited is."""
    return not unit.weighed and (await tools.store.lost_access(unit.run_id, one_in_hand=True)).may_be_many


async def not_yet_believed(
    caseload: Caseload, roster: Roster | None, judged: Sequence[Judged], barred: Sequence[Judged], tools: Tools
) -> Mapping[EventKey, Judged]:
    """The verdicts that wait until all accounts are through.

    A unit that was weighed has waited. What somebody approved, or only looks, need not.
    """
    if tools.dry_run or tools.guide is not freely or caseload.unit.weighed:
        return {}
    items = [*await _resting_on_roster(caseload, roster, judged, tools)]
    if barred and await may_be_refused(caseload.unit, tools):
        items += barred
    return {item.key: item for item in items}


async def _resting_on_roster(
    caseload: Caseload, roster: Roster | None, judged: Sequence[Judged], tools: Tools
) -> Sequence[Judged]:
    """What rests on a roster that lost every profile, if that may happen to many; and as long as it happens to too many
    others, where repairs are wanted."""
    if roster is None:
        return ()
    lost = lost_everything(caseload, roster)
    if not lost and not any(isinstance(item.remedy, Reupsert) and not item.restores for item in judged):
        return ()
    rosters = await tools.store.lost_rosters(caseload.unit.run_id, one_in_hand=lost)
    if not (rosters.may_be_many if lost else rosters.too_many(tools.limits.share)):
        return ()
    return [item for item in judged if item.evidence.roster and item.cause not in SETTLED and not item.restores]
