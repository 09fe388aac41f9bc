"""What the control routes take, as types: one for each body (docs/simulator.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict

from reconciler.simulator.intake import Name, Order, Seconds, When, decode


def _http(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("should be an http or https address")
    return value


class Nothing(Order):
    """No body, or an empty object."""


class Pass(Order):
    """POST clock: seconds to let pass."""

    advance: Seconds


class Outage(Order):
    """POST outage."""

    provider: Name
    on: bool


class Connection(Order):
    """POST accounts/{account}/profiles/{profile}."""

    connected: bool


class Fate(Order):
    """POST accounts/{account}."""

    action: Literal["revoke", "authorize", "expire_token", "lose_licence", "restore_licence"]


class Deed(Order):
    """POST events: what it names; what else it holds depends on the action."""

    calendar_id: str
    event_id: str


class Bare(Deed):
    """An action that needs nothing else."""

    action: Literal["delete", "forget", "clear"]


class Assign(Deed):
    """A link at once, a made-up one unless it is given."""

    action: Literal["assign"]
    join_url: Annotated[str, AfterValidator(_http)] | None = None


class Move(Deed):
    """The person moves it."""

    action: Literal["move"]
    start: When
    end: When


class Show(Deed):
    """Reads show exactly this value as its conferencing."""

    action: Literal["conferencing"]
    value: Any


class Stall(Deed):
    """No attempt for so many seconds."""

    action: Literal["stall"]
    seconds: Seconds


class _Named(Order):
    model_config = ConfigDict(extra="ignore")

    action: Literal["assign", "delete", "move", "forget", "clear", "conferencing", "stall"]


AnyDeed = Bare | Assign | Move | Show | Stall
_DEEDS: dict[str, type[AnyDeed]] = {"assign": Assign, "move": Move, "conferencing": Show, "stall": Stall}


def read_deed(raw: bytes) -> AnyDeed:
    """The body of POST events."""
    action = decode(_Named, raw).action
    return decode(_DEEDS.get(action, Bare), raw)
