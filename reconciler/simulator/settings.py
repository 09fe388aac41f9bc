"""Every switch of the simulator.

The defaults are the third column of cronofy-api.md section 13 ("Unknown, so assume"): where Cronofy documents nothing
the simulator takes the stricter or the more surprising reading, and offers the other one as a switch. A value outside
its choices is refused, when constructed and when changed at run time alike (pydantic checks the types below).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from reconciler.simulator.intake import STRICT, Gap, Harmless, Seconds, decode

Count = Annotated[int, Field(ge=1)]
WebhookMode = Literal["once", "duplicate", "drop", "reorder", "delay"]
Share = Annotated[float, Field(ge=0, le=1)]


def _some(gaps: tuple[float, ...]) -> tuple[float, ...]:
    if not gaps:
        raise ValueError("should not be empty")
    return gaps


@dataclass(config=STRICT)
class Settings:
    """The switches; mutable, because a test or the control API may turn one while the server runs."""

    # Rate limits (sections 8 and 13). Both windows count wall-clock arrivals, never the virtual clock.
    rate_per_second: Count = 50
    rate_per_minute: Count = 500
    rate_window: Literal["sliding", "fixed"] = "sliding"
    count_refused: bool = True
    batch_cost: Literal["entries", "one"] = "entries"
    count_token: bool = True
    enforce_limits: bool = True
    retry_after: Literal["seconds", "date", "none", "garbage"] = "seconds"

    # Tokens (section 2). Seconds of the virtual clock.
    token_lifetime: Seconds = 3600
    rotate_refresh: bool = False
    sticky_refresh: bool = False
    invalid_client_status: Literal[400, 401] = 400
    client_id: Harmless = "sim-client"
    client_secret: Harmless = "sim-secret"  # noqa: S105 - a public marker: the simulator guards nothing
    data_center: str | None = None

    # Listings (section 3).
    page_size: Count = 300
    page_lifetime: Seconds = 300
    read_mode: Literal["snapshot", "live"] = "snapshot"

    # Conferencing (section 10). Seconds of the virtual clock.
    generation_delay: Seconds = 2.0
    retry_schedule: Annotated[tuple[Gap, ...], AfterValidator(_some)] = (60, 300, 900, 3600)
    unknown_profile: Literal["reject", "late"] = "reject"
    removed_profile_read: Literal["pending", "absent"] = "pending"
    past_read: Literal["absent", "pending"] = "absent"
    default_nothing_read: Literal["absent", "pending"] = "absent"
    assignment_touches_updated: bool = False

    # Webhooks of subscriptions (sections 10.3 and 13). Seconds of the virtual clock; the share is drawn by seed.
    webhook_mode: WebhookMode = "once"
    webhook_share: Share = 1.0
    webhook_delay: Seconds = 300
    webhook_interactions: Literal["list", "object"] = "list"

    # Writes and answers (sections 6.2 and 9).
    omitted_fields: Literal["clear", "keep"] = "clear"
    error_body: Literal["empty", "json", "html"] = "empty"
    latency: Seconds = 0.0

    def change(self, values: dict[str, Any]) -> None:
        """Turn several switches at once; nothing is turned if one of them is wrong."""
        changed = decode(Settings, json.dumps(asdict(self) | values))
        for name in values:
            setattr(self, name, getattr(changed, name))
