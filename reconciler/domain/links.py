"""Which addresses from outside may be stored as links and handed to people. Pure text: nothing is looked up."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

LONGEST = 4096
"""Characters. Browsers and mail programs take no more with certainty."""

_UNFIT = re.compile(r"[\s\\<>\"`]")
_WEB = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_HOST = 253
_HTTPS = 443


def meeting_link(text: str | None) -> str | None:
    """A `join_url` that leads somewhere: http or https, as the API allows them. Null for everything else.

    `null`, `about:blank`, `javascript:…` and a relative address are not links. A web address that nobody should be
    sent to, such as one with a login in it, is not one either; but it may lead to a meeting (`may_be_a_link`).
    """
    link = (text or "").strip()
    return link if _split(link, ("https", "http")) else None


def may_be_a_link(text: str | None) -> bool:
    """Whether a `join_url` names a place on the web, fit to be handed on or not: its event may have a meeting there."""
    return _WEB.match((text or "").strip()) is not None


def person_link(text: str, hosts: frozenset[str], *, loopback: bool = False) -> str | None:
    """An address at which a person may be asked to authorise: https, at one of these hosts. Null for everything else.

    `loopback`: one on this machine will do as well, by http too, for a Cronofy that is simulated here.
    """
    link = text.strip()
    parts = _split(link, ("https", "http"))
    if parts is None:
        return None
    host = (parts.hostname or "").rstrip(".")
    if loopback and is_loopback(host):
        return link
    own = parts.scheme == "https" and parts.port in {None, _HTTPS} and host in hosts
    return link if own else None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _split(link: str, schemes: tuple[str, ...]) -> SplitResult | None:
    if len(link) > LONGEST or _UNFIT.search(link) or not link.isprintable():
        return None
    try:
        parts = urlsplit(link)
        port_is_one = parts.port is None or parts.port > 0
        host = parts.hostname or ""
    except ValueError:
        return None
    good = parts.scheme in schemes and "@" not in parts.netloc and port_is_one and _is_host(host)
    return parts if good else None


def _is_host(host: str) -> bool:
    if ":" in host:
        return True  # urlsplit lets nothing but an IPv6 address through
    try:
        name = host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        return False
    return len(name) <= _LONGEST_HOST and all(_LABEL.fullmatch(label) for label in name.split("."))
