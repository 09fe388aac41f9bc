"""How Cronofy gives an event its video link, and when it does not (cronofy-api.md sections 10.1, 10.2 and 13).

Asynchronous, on the virtual clock: an upsert only asks; some seconds later a first attempt is made, and failing ones
are repeated with growing gaps until the event starts. A read shows `{"pending": true}` all the while, whether
something is wrong or not. What a failed attempt waits for (a relink, the end of an outage, a licence) is looked at
afresh in the next one; nobody has to write again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from reconciler.simulator.events import Event

MISSING: Final = object()

# Conferencing profile's provider -> provider_name in a read (sections 3.5 and 4); others are spelled alike.
READ_NAMES = {"google_meet_api": "google_meet"}
# Calendar provider -> its integrated service, as a read names it (section 3.5).
INTEGRATED = {"google": "google_meet", "exchange": "ms_teams_for_business", "live_connect": "ms_teams_for_business"}
_UNGENERATED = frozenset({"none", "8x8"})


@dataclass
class Conference:
    """The conferencing of one event.

    `asked` is the `profile_id` of the last request; `source` what it was resolved to: a profile, or `integrated`.
    """

    asked: str | None = None
    state: Literal["none", "pending", "assigned", "past", "nothing"] = "none"
    source: str | None = None
    provider_name: str | None = None
    join_url: str | None = None
    next_attempt: datetime | None = None
    failures: int = 0
    made: int = 0
    injected: Any = MISSING

    def clear(self) -> None:
        """No conferencing, and none to come."""
        self.state, self.next_attempt, self.injected = "none", None, MISSING
        self.join_url = self.provider_name = None

    def has_link(self) -> bool:
        """Whether a read shows a join URL."""
        if self.injected is not MISSING:
            return isinstance(self.injected, dict) and bool(self.injected.get("join_url"))
        return self.state == "assigned"


def ask(event: Event, request: dict[str, Any], at: datetime) -> None:
    """Take a `conferencing` from an upsert."""
    conference = event.conference
    asked = str(request["profile_id"])
    conference.clear()
    conference.asked, conference.source, conference.failures = asked, None, 0
    if asked in _UNGENERATED:
        return
    if asked == "explicit":
        conference.source, conference.join_url = "explicit", request.get("join_url")
    elif event.starts_at <= at:
        conference.state = "past"
        return
    conference.state = "pending"
    event.world.schedule(event, at + timedelta(seconds=event.world.settings.generation_delay))


def attempt(event: Event, at: datetime, now: datetime) -> None:
    """One attempt of Cronofy's, made at `at`; if it fails the next one lies after `now`."""
    conference = event.conference
    conference.next_attempt = None
    if conference.source == "explicit":
        conference.state = "assigned"
        return
    if event.deleted or at >= event.starts_at:
        return
    conference.source = conference.source or _resolve(event)
    if conference.source is None:
        conference.state = "nothing"
        return
    provider = _available(event, conference.source)
    if provider is None:
        event.world.webhooks.note(event, "conferencing_failing", _subtype(event, conference.source), at)
        _retry(event, at, now)
    else:
        _assign(event, provider, at)


def assign_now(event: Event, join_url: str | None = None) -> None:
    """Give a link without asking whether one can be had."""
    conference = event.conference
    conference.injected = MISSING
    source = conference.source or _resolve(event)
    profile = event.account.conferencing_profile(source)
    if profile is not None:
        provider = READ_NAMES.get(profile.provider_name, profile.provider_name)
    else:
        provider = _integrated(event) if source == "integrated" else "zoom"
    _assign(event, provider, event.world.now(), join_url)


def postpone(event: Event, seconds: float) -> None:
    """Put the next attempt off."""
    event.world.schedule(event, event.world.now() + timedelta(seconds=seconds))


def shown(event: Event) -> Any:
    """The `conferencing` of a read (section 3.5), or MISSING for an absent key."""
    conference, settings = event.conference, event.world.settings
    if conference.injected is not MISSING:
        return conference.injected
    match conference.state:
        case "none":
            return MISSING
        case "assigned":
            return {"provider_name": conference.provider_name, "join_url": conference.join_url}
        case "past":
            return _pending_or_absent(settings.past_read)
        case "nothing":
            return _pending_or_absent(settings.default_nothing_read)
        case "pending":
            lost = profile_missing(event)
            return _pending_or_absent(settings.removed_profile_read if lost else "pending")


def profile_missing(event: Event) -> bool:
    """Whether the profile asked for is no longer there."""
    wanted = event.conference.source or event.conference.asked or ""
    return wanted.startswith("pro_") and event.account.conferencing_profile(wanted) is None


def _pending_or_absent(choice: str) -> Any:
    return {"pending": True} if choice == "pending" else MISSING


def _resolve(event: Event) -> str | None:
    """What the request comes to; None where `default` finds nothing (section 10.1)."""
    asked = event.conference.asked
    if asked != "default":
        return asked
    profile = event.account.default_profile()
    if profile is not None:
        return profile.profile_id
    return None if event.calendar.integrated is False else "integrated"


def _available(event: Event, source: str) -> str | None:
    """The provider's name in a read if it would give a link now."""
    if not event.calendar.writable:
        return None
    names = {source}
    if source == "integrated":
        if event.calendar.integrated is False or not event.account.licence:
            return None
        name = _integrated(event)
    else:
        profile = event.account.conferencing_profile(source)
        if profile is None or not profile.connected:
            return None
        names.add(profile.provider_name)
        name = READ_NAMES.get(profile.provider_name, profile.provider_name)
    return None if event.world.outages & (names | {name}) else name


def _integrated(event: Event) -> str:
    return INTEGRATED.get(event.calendar.profile.provider_name, "google_meet")


def _subtype(event: Event, source: str) -> str | None:
    """What a notification of the failure says; nothing where the provider may recover by itself (section 10.3)."""
    if profile_missing(event):
        return "profile_missing"
    without = event.calendar.integrated is False or not event.account.licence
    return "missing_meeting_url" if source == "integrated" and without else None


def _assign(event: Event, provider: str, at: datetime, join_url: str | None = None) -> None:
    conference = event.conference
    conference.state, conference.provider_name = "assigned", provider
    made = event.world.make_link(provider)
    conference.join_url = join_url or made
    conference.next_attempt = None
    conference.made += 1
    if event.world.settings.assignment_touches_updated:
        event.updated = event.changed_outside = at
    event.world.webhooks.note(event, "conferencing_assigned", None, at)


def _retry(event: Event, at: datetime, now: datetime) -> None:
    """The next attempt after `now`; those between are known to fail, for nothing changed meanwhile."""
    conference, gaps = event.conference, event.world.settings.retry_schedule
    while at <= now and conference.failures < len(gaps) - 1:
        at += timedelta(seconds=gaps[conference.failures])
        conference.failures += 1
    if at <= now:
        last = timedelta(seconds=gaps[-1])
        skipped = (now - at) // last + 1
        at += skipped * last
        conference.failures += skipped
    event.world.schedule(event, at)
