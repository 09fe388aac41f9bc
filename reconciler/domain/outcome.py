"""What came of a write to Cronofy."""

from dataclasses import dataclass

from reconciler.domain.evidence import Rejection
from reconciler.domain.ids import ProfileId


@dataclass(frozen=True, slots=True)
class Applied:
    """Accepted (202). Not believed until a later read shows the link."""


@dataclass(frozen=True, slots=True)
class Unneeded:
    """Not sent, or not sent again: what it was for is no longer so. `reason` says what changed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Refused for good: `status` is HTTP's, `keys` are Cronofy's error keys. Never repeated unchanged."""

    status: int
    keys: tuple[str, ...] = ()

    @property
    def about_profile(self) -> bool:
        """Whether the profile asked for was what Cronofy refused (documented and observed keys of a 422)."""
        return bool({"errors.integrated_conferencing_not_available", "errors.not_recognized"} & set(self.keys))

    def rejection(self, profile_id: ProfileId) -> Rejection:
        """What the next decision needs to know of it."""
        keys = self.keys or (f"status {self.status}",)
        return Rejection(profile_id, keys, self.about_profile)


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The answer was lost: it may have taken effect. Resolved by reading before any second write."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """Certainly not carried out, for a reason that passes: it stays due.

    `unauthorized`: it passes when the person has authorised again.
    """

    reason: str
    unauthorized: bool = False


Outcome = Applied | Unneeded | Rejected | InDoubt | Unsent

OUTCOME_NAMES: dict[type[Outcome], str] = {
    Applied: "applied",
    Unneeded: "unneeded",
    Rejected: "rejected",
    InDoubt: "in_doubt",
    Unsent: "unsent",
}
