"""Which hosts are this machine alone: the simulator serves no other, and sends nothing to any other."""

from __future__ import annotations

import ipaddress

from yarl import URL


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def names_loopback(header: str | None) -> bool:
    """Whether a `Host` header, or an `Origin` without its scheme, names this machine; a missing one names no other."""
    if header is None:
        return True
    try:
        return is_loopback(URL(f"http://{header}").host)
    except ValueError:
        return False


def leads_to_loopback(address: str) -> bool:
    """Whether it is an http(s) address on this machine."""
    try:
        url = URL(address)
    except ValueError:
        return False
    return url.scheme in {"http", "https"} and is_loopback(url.host)
