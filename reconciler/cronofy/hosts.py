"""Where an account lives, and the addresses there. A bearer token is shown to no other origin."""

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from yarl import URL

from reconciler.cronofy.wire.upserts import events_path
from reconciler.domain.ids import CalendarId
from reconciler.domain.links import is_loopback, person_link
from reconciler.domain.roster import Roster
from reconciler.ports import AccountUnreadable, Window

DATA_CENTERS = ("us", "uk", "de", "au", "ca", "sg")

MOST_CALENDARS = 100
"""More would make an address that servers refuse; all calendars are listed then."""

_PLAIN = re.compile(r"[!-~]{1,4096}")


class Host:
    """The API of one data centre."""

    def __init__(self, base: URL, app_hosts: frozenset[str] = frozenset(), *, simulated: bool = False) -> None:
        self._base = base
        self._app_hosts = app_hosts
        self._simulated = simulated
        self._text = str(base).rstrip("/")
        self._origin = _origin(base)
        self.token = self._url("/oauth/token")
        self.userinfo = self._url("/v1/userinfo")
        self.batch = self._url("/v1/batch")

    def _url(self, path: str) -> URL:
        return URL(self._text + path, encoded=True)

    def events(self, window: Window | None, calendars: Sequence[CalendarId]) -> URL:
        """The first page of what this application wrote, deleted and moved events included."""
        query = ["/v1/events?tzid=Etc%2FUTC&only_managed=true&include_deleted=true&include_moved=true"]
        if window is not None:
            query.append(f"from={window.since.isoformat()}&to={window.until.isoformat()}")
        if len(calendars) <= MOST_CALENDARS:
            query += [f"calendar_ids%5B%5D={quote(calendar, safe='')}" for calendar in calendars]
        return self._url("&".join(query))

    def upsert(self, calendar_id: CalendarId) -> URL:
        """Where one event is written."""
        return self._url(events_path(calendar_id))

    def relinks(self, roster: Roster) -> Roster:
        """A roster with the relink addresses that a person may be sent to: those at the data centre's own pages."""
        told = roster.relink_urls
        links = {p: person_link(url, self._app_hosts, loopback=self._simulated) for p, url in told.items()}
        own = {profile: link for profile, link in links.items() if link}
        return replace(roster, relink_urls=own, withheld=frozenset(told.keys() - own.keys()))

    def page(self, address: str) -> URL:
        """The address of another page, verbatim.

        Raises:
            AccountUnreadable: it belongs to another origin, or is no address.
        """
        try:
            url = URL(address, encoded=True) if _PLAIN.fullmatch(address) else None
            if url is not None and _origin(url) == self._origin and "@" not in url.raw_authority:
                return url
        except ValueError:
            pass
        raise AccountUnreadable(
            "foreign_next_page", f"Cronofy ({self._base.host}) named a next page outside its own origin"
        )


def _origin(url: URL) -> tuple[str, str, int | None]:
    return url.scheme.lower(), (url.raw_host or "").lower(), url.port


def _host(name: str) -> Host:
    return Host(URL(f"https://{_named('api', name)}"), frozenset({_named("app", name)}))


def _in_place_of_all(base: URL) -> Host:
    """One base URL for all data centres: its own host, and the pages of any of them."""
    host = base.host or ""
    return Host(base, frozenset({host, *(_named("app", name) for name in DATA_CENTERS)}), simulated=is_loopback(host))


def _named(what: str, name: str) -> str:
    return f"{what}{'' if name == 'us' else f'-{name}'}.cronofy.com"


class Hosts:
    """All data centres, or the one address that stands in their place."""

    def __init__(self, base: URL | None) -> None:
        self._hosts = {name: _host(name) if base is None else _in_place_of_all(base) for name in DATA_CENTERS}

    def of(self, data_center: str) -> Host:
        """The API of a data centre; empty means `us`, as in Cronofy's own clients.

        Raises:
            AccountUnreadable: there is no such data centre.
        """
        host = self._hosts.get(data_center.strip().lower() or "us")
        if host is None:
            known = " ".join(DATA_CENTERS)
            raise AccountUnreadable("unknown_data_center", f"its data_center {data_center[:20]!r} is none of {known}")
        return host
