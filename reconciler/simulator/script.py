"""What a scene may hold, as types (docs/simulator.md has an example).

Unknown keys are errors, so that a misspelt one does not pass unseen. `customer` and `account_manager` are the
application's own: a scene may hold them for whoever fills its database from the same file, and nothing is made of them.
"""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from reconciler.simulator.faults import Fault
from reconciler.simulator.intake import Harmless, Name, Order, When


class CalendarRow(Order):
    """One calendar; without `integrated` known, userinfo does not say."""

    calendar_id: Name | None = None
    name: str = "Work"
    readonly: bool = False
    deleted: bool = False
    integrated: bool | None = True


class ConferencingRow(Order):
    """A conferencing profile."""

    provider_name: Name = "zoom"
    profile_id: Name | None = None
    profile_name: str | None = None
    connected: bool = True


class CalendarProfileRow(ConferencingRow):
    """A calendar profile with its calendars."""

    provider_name: Name = "google"
    calendars: list[CalendarRow] = Field(default_factory=list)


class Span(Order):
    """Where the person moved an event."""

    start: When
    end: When


class Body(Span):
    """An upsert body; apart from its times it is judged as one that comes over HTTP."""

    model_config = ConfigDict(extra="allow")

    summary: str = ""
    event_uid: Name | None = None


class EventRow(Order):
    """One event and what became of it."""

    calendar_id: str
    body: Body
    written_at: When = None
    assigned: bool = False
    deleted: bool = False
    moved: Span | None = None
    forgotten: bool = False
    conferencing: Any = None
    external: bool = False


class AccountRow(Order):
    """One person."""

    account_id: Name | None = None
    name: str = "Jane Doe"
    email: str = "jane.doe@example.com"
    customer: str | None = None
    account_manager: str | None = None
    access_token: Harmless | None = None
    refresh_token: Harmless | None = None
    data_center: str = "us"
    scope: str = "read_write"
    revoked: bool = False
    licence: bool = True
    default_profile_id: str | None = None
    calendar_profiles: list[CalendarProfileRow] = Field(default_factory=list)
    conferencing_profiles: list[ConferencingRow] = Field(default_factory=list)
    events: list[EventRow] = Field(default_factory=list)


class Scene(Order):
    """A whole world."""

    settings: dict[str, Any] = Field(default_factory=dict)
    accounts: list[AccountRow] = Field(default_factory=list)
    outages: list[Name] = Field(default_factory=list)
    faults: list[Fault] = Field(default_factory=list)
