"""What the database's address and the database itself must be like, whichever driver connects.

The drivers' own words about an address may quote it, password included; so it is looked at before either gets it.
"""

import re
from urllib.parse import urlsplit

from reconciler.ports import WrongConfiguration

SETTING = "RECONCILER_DATABASE_URL"
_LAST_PORT = 65535
_NO_ESCAPE = re.compile("%(?![0-9a-f]{2})|%00", re.IGNORECASE)


def check_address(dsn: str) -> None:
    """Refuse what is no address of Postgres.

    Raises:
        WrongConfiguration: in words that quote nothing of it.
    """
    try:
        parts = urlsplit(dsn)
        dsn.encode()
    except ValueError:
        raise WrongConfiguration(f"{SETTING} is no Postgres address") from None
    if parts.scheme not in {"postgresql", "postgres"}:
        raise WrongConfiguration(f"{SETTING} is no Postgres address: it begins with postgresql://")
    login, _, hosts = parts.netloc.rpartition("@")
    ports = [re.sub(r"^(\[.*\]|[^:]*)", "", host).removeprefix(":") for host in hosts.split(",")]
    if (
        any(c in dsn for c in "#\x00")
        or _NO_ESCAPE.search(dsn)
        or "@" in login + parts.path
        or not all(map(_ok, ports))
    ):
        raise WrongConfiguration(
            f"{SETTING} is no Postgres address: a port is a number up to {_LAST_PORT}, and in a password write"
            " % @ / : ? # [ ] as %25 %40 %2F %3A %3F %23 %5B %5D"
        )


def _ok(port: str) -> bool:
    return not port or (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= _LAST_PORT)


def check_encoding(encoding: str | None) -> None:
    """Refuse a database that cannot hold every text there is: names and bodies come from everywhere.

    Raises:
        WrongConfiguration: `encoding`, the database's, is another than UTF8.
    """
    if encoding != "UTF8":
        raise WrongConfiguration(
            f"the database's encoding is {encoding}, and UTF8 is needed:"
            " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
