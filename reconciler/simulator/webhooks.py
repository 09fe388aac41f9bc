"""Webhooks of the `subscriptions` that an event was written with (cronofy-api.md sections 10.3 and 13).

A link made, or an attempt that failed, is told to every address subscribed to it, with the event as it was then. Pure
state on the virtual clock; courier.py sends what is due. How deliveries go wrong is a switch: each may come twice,
never, after its successor, or late. What happened before the world began, or its scene was loaded, is told to nobody.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from reconciler.simulator.loopback import leads_to_loopback
from reconciler.simulator.settings import Settings, WebhookMode

if TYPE_CHECKING:
    from reconciler.simulator.events import Event

Interaction = Literal["conferencing_assigned", "conferencing_failing"]


@dataclass(eq=False)
class Webhook:
    """One notification for one address.

    It happened `at` and is sent when `due`, in that order and then by `turn`. `outcome` is `waiting` until it was
    `answered` (with any `status`) or `failed` (no answer: `error`); `dropped` and `refused` ones are never sent.
    """

    at: datetime
    due: datetime
    turn: float
    event: tuple[str, str]
    uri: str
    interaction: Interaction
    subtype: str | None
    body: dict[str, Any]
    outcome: Literal["waiting", "answered", "failed", "dropped", "refused"] = "waiting"
    sent_at: datetime | None = None
    status: int | None = None
    error: str | None = None

    def content(self) -> bytes:
        """The body as it is sent and signed."""
        return json.dumps(self.body, ensure_ascii=False).encode()

    def as_json(self) -> dict[str, Any]:
        """For the control API."""
        calendar_id, event_id = self.event
        return {
            "at": self.at.isoformat(),
            "due": self.due.isoformat(),
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            "calendar_id": calendar_id,
            "event_id": event_id,
            "uri": self.uri,
            "interaction": self.interaction,
            "subtype": self.subtype,
            "outcome": self.outcome,
            "status": self.status,
            "error": self.error,
            "body": self.body,
        }


class Webhooks:
    """All notifications of one world, in the order in which they came about."""

    def __init__(self, settings: Settings, seed: int, since: datetime) -> None:
        self._settings = settings
        self._random = random.Random(f"webhooks-{seed}")
        self._turn = 0
        self._waiting: list[Webhook] = []
        self._held: dict[tuple[tuple[str, str], str], Webhook] = {}
        self.since = since
        self.awaited = False
        """Whether any event was ever written for somebody who can be told."""
        self.record: list[Webhook] = []

    def clear(self) -> None:
        """Forget those that are done with."""
        self.record = [hook for hook in self.record if hook.outcome == "waiting"]

    def watch(self, event: Event) -> None:
        """Take note of whom an event was written for."""
        self.awaited = self.awaited or any(leads_to_loopback(uri) for uri, _ in _subscribed(event))

    def note(self, event: Event, interaction: Interaction, subtype: str | None, at: datetime) -> None:
        """Something happened to an event's conferencing."""
        if at <= self.since:
            return
        for uri, wanted in _subscribed(event):
            if wanted == interaction:
                self._enter(
                    Webhook(at, at, 0, event.key, uri, interaction, subtype, self._body(event, wanted, subtype))
                )

    def next(self, now: datetime) -> Webhook | None:
        """Take the one to be sent first, of those that are due."""
        due = [hook for hook in self._waiting if hook.due <= now]
        first = min(due, key=lambda hook: (hook.due, hook.turn), default=None)
        if first is not None:
            self._waiting.remove(first)
        return first

    def _body(self, event: Event, interaction: str, subtype: str | None) -> dict[str, Any]:
        told = {"type": interaction} | ({"subtype": subtype} if subtype else {})
        interactions = [told] if self._settings.webhook_interactions == "list" else told
        return {
            "notification": {"type": "event_subscription", "interactions": interactions},
            "event": event.as_read(),
        }

    def _enter(self, hook: Webhook) -> None:
        self._turn += 1
        hook.turn = self._turn
        self.record.append(hook)
        if not leads_to_loopback(hook.uri):
            hook.outcome, hook.error = "refused", "the simulator sends to loopback only"
            return
        share = self._settings.webhook_share
        struck = share >= 1 or self._random.random() < share
        overtaken = self._held.pop((hook.event, hook.uri), None)
        if overtaken is not None and overtaken in self._waiting:
            overtaken.due, overtaken.turn = hook.due, hook.turn + 0.5
            self._waiting.append(hook)
        else:
            self._send_off(hook, self._settings.webhook_mode if struck else "once")

    def _send_off(self, hook: Webhook, mode: WebhookMode) -> None:
        match mode:
            case "once":
                self._waiting.append(hook)
            case "duplicate":
                again = replace(hook)
                self.record.append(again)
                self._waiting += [hook, again]
            case "drop":
                hook.outcome = "dropped"
            case "delay" | "reorder":
                hook.due += timedelta(seconds=self._settings.webhook_delay)
                self._waiting.append(hook)
                if mode == "reorder":
                    self._held[hook.event, hook.uri] = hook


def _subscribed(event: Event) -> Iterator[tuple[str, str]]:
    """Address and interaction of each subscription that can be made sense of."""
    for held in event.fields.get("subscriptions") or []:
        if held.get("type") != "webhook" or not isinstance(held.get("uri"), str):
            continue
        interactions = held.get("interactions")
        for wanted in interactions if isinstance(interactions, list) else []:
            if isinstance(wanted, dict) and isinstance(wanted.get("type"), str):
                yield held["uri"], wanted["type"]
