"""What working a unit needs: the outside world as ports, the policy, and what the units of a run have in common."""

from dataclasses import dataclass, field

from reconciler.domain.policy import Policy
from reconciler.pipeline.guide import Guide, freely
from reconciler.pipeline.meter import TaskMeter
from reconciler.pipeline.read_back import PageSize
from reconciler.ports import CalendarApi, CaseStore, Clock, SafetyLimits


@dataclass(slots=True)
class Brakes:
    """What has stopped this run from writing, if anything; shared by its units."""

    refusal: str | None = None

    def stop_writing(self, why: str) -> None:
        """No more repairs in this run; the first reason stands."""
        self.refusal = self.refusal or why


@dataclass(frozen=True, slots=True)
class Tools:
    """All that working a unit needs."""

    api: CalendarApi
    store: CaseStore
    clock: Clock
    policy: Policy
    limits: SafetyLimits
    meter: TaskMeter
    dry_run: bool = False
    guide: Guide = freely
    brakes: Brakes = field(default_factory=Brakes)
    page_size: PageSize = field(default_factory=PageSize)
