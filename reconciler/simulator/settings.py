"""Every switch of the simulator.

The defaults are the third column of cronofy-api.md section 13 ("Unknown, so assume"): where Cronofy documents nothing
the simulator takes the stricter or the more surprising reading, and offers the other one as a switch. A value outside
its choices is refused, when constructed and when changed at run time alike.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass
class Settings:
    """The switches; mutable, because a test or the control API may turn one while the server runs."""

    # Rate limits (sections 8 and 13). Both windows count wall-clock arrivals, never the virtual clock.
    rate_per_second: int = 50
    rate_per_minute: int = 500
    rate_window: Literal["sliding", "fixed"] = "sliding"
    count_refused: bool = True
    batch_cost: Literal["entries", "one"] = "entries"
    count_token: bool = True
    enforce_limits: bool = True
    retry_after: Literal["seconds", "date", "none", "garbage"] = "seconds"

    # Tokens (section 2). Seconds of the virtual clock.
    token_lifetime: float = 3600
    rotate_refresh: bool = False
    sticky_refresh: bool = False
    invalid_client_status: int = 400
    client_id: str = "sim-client"
    client_secret: str = "sim-secret"  # noqa: S105 - a public marker: the simulator guards nothing
    data_center: str | None = None

    # Listings (section 3).
    page_size: int = 300
    page_lifetime: float = 300
    read_mode: Literal["snapshot", "live"] = "snapshot"

    # Conferencing (section 10). Seconds of the virtual clock.
    generation_delay: float = 2.0
    retry_schedule: tuple[float, ...] = (60, 300, 900, 3600)
    unknown_profile: Literal["reject", "late"] = "reject"
    removed_profile_read: Literal["pending", "absent"] = "pending"
    past_read: Literal["absent", "pending"] = "absent"
    default_nothing_read: Literal["absent", "pending"] = "absent"
    assignment_touches_updated: bool = False

    # Writes and answers (sections 6.2 and 9).
    omitted_fields: Literal["clear", "keep"] = "clear"
    error_body: Literal["empty", "json", "html"] = "empty"
    latency: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        self.retry_schedule = tuple(self.retry_schedule)
        hints = get_type_hints(type(self))
        for field in fields(self):
            value = getattr(self, field.name)
            if not _fits(value, hints[field.name]):
                raise ValueError(f"setting {field.name} cannot be {value!r}")
        if not self.retry_schedule or min(self.retry_schedule) <= 0 or self.page_size < 1:
            raise ValueError("retry_schedule needs positive gaps, and page_size at least 1")

    def change(self, values: dict[str, Any]) -> None:
        """Turn several switches at once; nothing is turned if one of them is wrong."""
        unknown = sorted(values.keys() - {field.name for field in fields(self)})
        if unknown:
            raise ValueError(f"no such setting: {', '.join(unknown)}")
        changed = replace(self, **values)
        for name in values:
            setattr(self, name, getattr(changed, name))


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of the annotated kind; whole numbers pass where fractions are wanted."""
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin is UnionType:
        return any(_fits(value, option) for option in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, float) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    return isinstance(value, NoneType if hint is NoneType else hint)
