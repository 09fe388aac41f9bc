"""A run's books: how it is begun, what it counted, and the summary that people and programs read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reconciler.domain.casework import Counts
from reconciler.domain.cause import Cause

OUTCOME_COUNTERS = (
    "repaired", "repair_rejected", "repair_in_doubt", "confirmed", "noticed", "waiting", "escalated", "reported",
)  # fmt: skip
REQUEST_COUNTERS = ("total", "events", "userinfo", "upsert", "batch", "token", "retried", "refused")
NOTICE_COUNTERS = ("queued", "updated", "resolved")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is begun. `trigger` is one of `schedule on_demand webhook console`."""

    run_id: UUID
    run_key: str | None
    trigger: str
    reason: str | None
    scope: Mapping[str, object]
    dry_run: bool
    started_at: datetime
    policy: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RunClosed:
    """How a run ended, as its books tell. `refusal` is the limit that held back writes."""

    status: str
    summary: dict[str, Any]
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """A run's units, counted. `remaining` were not worked: stopped before (`todo`), in another run's hands, or kept
    from us by somebody who is no run.

    `read`: the events that a listing answered for, each once however often it was looked at. `errors`: units with
    an error, those included of which the rest was done.
    """

    units: int
    events: int
    done: int
    failed: int
    parked: int
    remaining: int
    todo: int = 0
    read: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class ProviderShare:
    """How a service does over the events that count towards an outage.

    `accounts` have something overdue, of so many `customers` (an account without one counts as one). `waiting` are the
    events that an earlier run left to an outage of it, not counted in the others. `told`: of how many events Cronofy
    has pushed that their provider fails, in `told_accounts`.
    """

    overdue: int = 0
    total: int = 0
    accounts: int = 0
    waiting: int = 0
    customers: int = 0
    told: int = 0
    told_accounts: int = 0

    @property
    def is_inferred(self) -> bool:
        """At least five accounts and at least half of the events are overdue."""
        return self.accounts >= OUTAGE_ACCOUNTS and 2 * self.overdue >= self.total

    @property
    def is_told(self) -> bool:
        """Cronofy said so of five accounts or more, or of two and a tenth of the events: fewer would end it at once."""
        several = self.told_accounts >= TOLD_ACCOUNTS and 10 * self.told >= self.total
        return several or self.told_accounts >= OUTAGE_ACCOUNTS

    @property
    def is_outage(self) -> bool:
        """Whether an incident is to be opened."""
        return self.is_inferred or self.is_told

    @property
    def is_over(self) -> bool:
        """Under a tenth of the events, those that still wait included; or there are none."""
        still = self.overdue + self.waiting
        return not self.is_told and (still == 0 or 10 * still < self.total + self.waiting)

    def as_json(self) -> dict[str, object]:
        """As an incident's evidence."""
        return {
            "overdue": self.overdue,
            "events": self.total,
            "accounts": self.accounts,
            "customers": self.customers,
            "waiting": self.waiting,
            "told": self.told,
            "told_accounts": self.told_accounts,
        }


OUTAGE_ACCOUNTS = 5
TOLD_ACCOUNTS = 2
"""What Cronofy says of one account alone explains its event, and is not an outage."""


def expected_end(now: datetime, left: int, done: int, since: datetime | None) -> datetime | None:
    """When `left` accounts will be done, at the pace of the `done` ones since then; null where those tell nothing."""
    if since is None or done <= 0 or now <= since:
        return None
    return now + min(left * (now - since) / done, _LONGEST)


_LONGEST = timedelta(days=365)


def summary(
    run: RunRow,
    status: str,
    finished_at: datetime,
    totals: Totals,
    counts: Counts,
    incidents: Mapping[str, int],
    errors: Sequence[Mapping[str, str]],
    seal: str | None,
) -> dict[str, Any]:
    """What a run did, as `run --json` prints it and `runs.summary` keeps it.

    `seal` is the hash of the run's last entry in the chain of the runs, null while its books are open.
    """

    def group(name: str, members: Sequence[str]) -> dict[str, int]:
        return {member: counts.get(name, {}).get(member, 0) for member in members}

    causes = counts.get("causes", {})
    return {
        "run_id": str(run.run_id),
        "run_key": run.run_key,
        "status": status,
        "dry_run": run.dry_run,
        "trigger": run.trigger,
        "reason": run.reason,
        "scope": dict(run.scope),
        "started_at": run.started_at.isoformat(),
        "finished_at": finished_at.isoformat(),
        "duration_seconds": round((finished_at - run.started_at).total_seconds(), 3),
        "accounts": {
            "due": totals.units,
            "done": totals.done,
            "failed": totals.failed,
            "parked": totals.parked,
            "left": totals.remaining,
        },
        "events": {"due": totals.events, "read": totals.read, **group("events", ("settled",))},
        "causes": {cause.value: causes[cause] for cause in Cause if causes.get(cause)},
        "outcomes": group("outcomes", OUTCOME_COUNTERS),
        "notices": group("notices", NOTICE_COUNTERS),
        "incidents": {"opened": incidents.get("opened", 0), "closed": incidents.get("closed", 0)},
        "requests": group("requests", REQUEST_COUNTERS),
        "errors": [dict(error) for error in errors],
        "seal": seal,
    }
