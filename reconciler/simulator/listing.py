"""GET /v1/events: its parameters, its window, and its pages (cronofy-api.md sections 3.1 to 3.3).

Window: an event qualifies when it starts before `to` and ends on or after `from`; dates are midnights of `tzid`.
Without both, managed events are exempt from the default window. `from` lies at most 42 days back and `to` at most 201
days ahead, else 422, also with `only_managed` (undocumented, so the strict reading).
A listing is cut into pages when it is asked for (`snapshot`) or afresh for every page (`live`), in which case events
may show twice or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.simulator import times
from reconciler.simulator.times import Moment
from reconciler.simulator.upserts import Errors, error

if TYPE_CHECKING:
    from reconciler.simulator.accounts import Account
    from reconciler.simulator.events import Event
    from reconciler.simulator.world import World

BACK, AHEAD = timedelta(days=42), timedelta(days=201)
SWITCHES = (
    "include_managed",
    "only_managed",
    "include_deleted",
    "include_moved",
    "localized_times",
    "include_geo",
    "google_event_ids",
)
PARAMETERS = frozenset({*SWITCHES, "tzid", "from", "to", "last_modified", "calendar_ids[]"})
_TRUTH = {"true": True, "false": False}
_Default = TypeVar("_Default", datetime, None)


class Invalid(Exception):
    """A 422, with its errors."""

    def __init__(self, errors: Errors) -> None:
        super().__init__("invalid parameters")
        self.errors = errors


@dataclass(frozen=True)
class Query:
    """A checked set of parameters."""

    tzid: str
    start: datetime
    end: datetime
    windowed: bool
    switches: dict[str, bool]
    last_modified: datetime | None = None
    calendar_ids: frozenset[str] = frozenset()

    def selects(self, event: Event) -> bool:
        """Whether an event belongs into the listing."""
        on = self.switches
        if event.forgotten or (event.deleted and not on["include_deleted"]):
            return False
        if event.managed and not (on["include_managed"] or on["only_managed"]):
            return False
        if not event.managed and on["only_managed"]:
            return False
        if self.calendar_ids and event.calendar_id not in self.calendar_ids:
            return False
        changed = event.changed_outside
        if self.last_modified is not None and (changed is None or changed < self.last_modified):
            return False
        return self._in_window(event)

    def _in_window(self, event: Event) -> bool:
        if event.managed and not self.windowed:
            return True
        spans = event.spans if self.switches["include_moved"] else [(event.start, event.end)]
        return any(s.instant(self.tzid) < self.end and e.instant(self.tzid) >= self.start for s, e in spans)


def read_query(pairs: list[tuple[str, str]], now: datetime) -> Query:
    """Check the parameters; unknown ones are ignored here (and noted by the caller)."""
    given = {name: value for name, value in pairs if name in PARAMETERS}
    tzid = given.get("tzid")
    if not tzid:
        raise Invalid(error("tzid", "required", "tzid must be specified"))
    try:
        today = now.astimezone(times.zone(tzid)).date()
    except ValueError:
        raise Invalid(error("tzid", "tzid_unrecognized", "tzid is not recognized")) from None
    earliest, latest = (Moment(day, tzid).instant() for day in (today - BACK, today + AHEAD))
    start, end = _time(given, "from", tzid, earliest), _time(given, "to", tzid, latest)
    if start < earliest:
        raise Invalid(error("from", "out_of_range", "from must be no more than 42 days ago"))
    if end > latest:
        raise Invalid(error("to", "out_of_range", "to must be no more than 201 days ahead"))
    if end <= start:
        raise Invalid(error("to", "invalid_time_pair", "to must be after from"))
    return Query(
        tzid=tzid,
        start=start,
        end=end,
        windowed="from" in given or "to" in given,
        switches={name: _switch(given, name) for name in SWITCHES},
        last_modified=_time(given, "last_modified", tzid, None),
        calendar_ids=frozenset(value for name, value in pairs if name == "calendar_ids[]"),
    )


def complaints(account: Account, pairs: list[tuple[str, str]]) -> Iterator[str]:
    """What a careful client would not have asked."""
    names = {name for name, _ in pairs}
    for name in sorted(names - PARAMETERS):
        yield f"unknown query parameter {name}"
    if "tzid" not in names:
        yield "listing without tzid"
    for name, value in pairs:
        owner = account.world.calendar(value) if name == "calendar_ids[]" else None
        if owner is not None and owner.account is not account:
            yield f"listing of a calendar of another account: {value}"


def _time(given: dict[str, str], name: str, tzid: str, default: _Default) -> datetime | _Default:
    if name not in given:
        return default
    try:
        return times.parse(given[name], tzid).instant()
    except ValueError:
        raise Invalid(error(name, "not_recognized", f"{name} is not a date or time")) from None


def _switch(given: dict[str, str], name: str) -> bool:
    value = given.get(name, "false").lower()
    if value not in _TRUTH:
        raise Invalid(error(name, "not_recognized", f"{name} must be true or false"))
    return _TRUTH[value]


@dataclass
class _Page:
    account: Account
    query: Query
    number: int
    expires_at: datetime
    snapshot: list[dict[str, Any]] | None = field(repr=False, default=None)


class Pages:
    """The pages handed out; each lives for `page_lifetime` seconds of the virtual clock, then answers 404."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pages: dict[str, _Page] = {}

    def first(self, account: Account, query: Query, base_url: str) -> dict[str, Any]:
        """Answer a listing with its first page."""
        return self._answer(account, query, 1, None, base_url)

    def follow(self, page_id: str, base_url: str) -> tuple[Account, dict[str, Any]] | None:
        """Answer a `next_page`, with the account it was made for; None: no such page."""
        page = self._pages.get(page_id)
        if page is None or page.expires_at <= self._world.now():
            self._pages.pop(page_id, None)
            return None
        return page.account, self._answer(page.account, page.query, page.number, page.snapshot, base_url)

    def _answer(
        self, account: Account, query: Query, number: int, snapshot: list[dict[str, Any]] | None, base_url: str
    ) -> dict[str, Any]:
        settings = self._world.settings
        rows = _rows(account, query) if snapshot is None else snapshot
        total = max(1, -(-len(rows) // settings.page_size))
        pages: dict[str, Any] = {"current": number, "total": max(total, number)}
        if number < total:
            held = rows if settings.read_mode == "snapshot" else None
            pages["next_page"] = f"{base_url}/v1/events/pages/{self._keep(account, query, number + 1, held)}"
        first = (number - 1) * settings.page_size
        return {"pages": pages, "events": rows[first : first + settings.page_size]}

    def _keep(self, account: Account, query: Query, number: int, snapshot: list[dict[str, Any]] | None) -> str:
        page_id = self._world.token(16)
        lifetime = timedelta(seconds=self._world.settings.page_lifetime)
        self._pages[page_id] = _Page(account, query, number, self._world.now() + lifetime, snapshot)
        return page_id


def _rows(account: Account, query: Query) -> list[dict[str, Any]]:
    """The whole listing, soonest first."""
    listed = {calendar.calendar_id for calendar in account.calendars()}
    events = [event for event in account.events if event.calendar_id in listed and query.selects(event)]
    events.sort(key=lambda event: (event.start.instant(query.tzid).astimezone(UTC), event.event_uid))
    on = query.switches
    return [event.as_read(localized=on["localized_times"], geo=on["include_geo"]) for event in events]
