"""A Cronofy whose accounts answer each in its own hostile way, and the rows of a database that ask for them."""

import asyncio
import gzip
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from aiohttp import web
from psycopg.types.json import Jsonb

MIB = 1024 * 1024
MOST_MB = 256
"""What a worker may take, whatever an account answers."""

LISTED, ROSTER = "/v1/events", "/v1/userinfo"

Body = Callable[[str, int], bytes]
"""An answer, made of the server's address and the number of the request."""


def peaking(*words: str) -> list[str]:
    """The program's command line, which says on the last line of stderr its peak of resident memory in MB."""
    code = (
        "import sys\nfrom reconciler.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024, file=sys.stderr)"
    )
    return [sys.executable, "-c", code, *words]


NOW = datetime.now(UTC).replace(microsecond=0)


def an_event(account: str, number: int = 0, **other: Any) -> dict[str, Any]:
    """One that is pending, as a listing shows it."""
    start = NOW + timedelta(days=2, minutes=number)
    return {
        "calendar_id": f"cal_{account}",
        "event_id": f"evt-{number}",
        "start": _text(start),
        "end": _text(start + timedelta(minutes=30)),
        "conferencing": {"pending": True},
        **other,
    }


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _page(entries: Iterable[Any], next_page: str | None = None) -> bytes:
    return json.dumps({"events": list(entries), "pages": {"next_page": next_page}}, ensure_ascii=False).encode()


def _elements(element: str, size: int) -> Body:
    return lambda _url, _n: b'{"events":[' + b",".join([element.encode()] * (size // (len(element) + 1))) + b"]}"


def _roster(profiles: Iterable[Any], calendars: Iterable[Any] = ()) -> bytes:
    calendar_profile = {
        "provider_name": "google",
        "profile_id": "pro_c",
        "profile_connected": True,
        "profile_calendars": list(calendars),
    }
    return json.dumps(
        {"cronofy.data": {"profiles": [calendar_profile], "conferencing_profiles": list(profiles)}}
    ).encode()


def _profiles(*, connected: bool) -> Iterable[dict[str, Any]]:
    for n in range(10_000):
        yield {
            "provider_name": f"provider {n % 100}",
            "profile_id": f"pro_{n:05d}{'x' * 40}",
            "profile_name": f"number {n} of {'many ' * 10}",
            "profile_connected": connected,
            "profile_relink_url": None if connected else f"https://app.cronofy.com/relink/{n:05d}{'y' * 40}",
        }


def _fresh_pages(account: str) -> Body:
    return lambda url, n: _page(
        [an_event(account), *(an_event("x", n * 300 + i, description="d" * 4000) for i in range(300))],
        f"{url}/v1/events/pages/{n}",
    )


_HEALTHY = [{"provider_name": "zoom", "profile_id": "pro_1", "profile_connected": True}]
_CALENDARS = [{"calendar_id": f"cal_{n:05d}{'z' * 40}"} for n in range(10_000)]

ANSWERS: dict[str, dict[str, Body]] = {
    "healthy": {},
    "31 kB of empty objects": {LISTED: _elements("{}", 8 * MIB)},
    "31 kB of empty lists": {LISTED: _elements("[]", 8 * MIB)},
    "31 kB of empty texts": {LISTED: _elements('""', 8 * MIB)},
    "numbers": {LISTED: _elements("1", 8 * MIB)},
    "64 MB of nothing": {LISTED: lambda _url, _n: b" " * (64 * MIB)},
    "lists within lists": {LISTED: lambda _url, _n: b'{"events":' + b"[" * (4 * MIB)},
    "as many objects as are read": {LISTED: _elements("{}", 290_000)},
    "as many events as are read": {
        LISTED: lambda _url, _n: _page(an_event("x", n, summary=[[]]) for n in range(15_000))
    },
    "half emojis all over": {LISTED: lambda _url, _n: b'{"events":["' + rb"\ud83d" * MIB + b'"]}'},
    "control characters all over": {LISTED: lambda _url, _n: b'{"events":["' + b"\x01" * 8_000_000 + b'"]}'},
    "one endless summary": {
        LISTED: lambda _url, _n: _page([an_event("one endless summary", summary="😀" + "x" * 7 * MIB)])
    },
    "fresh pages without end": {LISTED: _fresh_pages("fresh pages without end")},
    "10,000 connected profiles": {ROSTER: lambda _url, _n: _roster(_profiles(connected=True))},
    "10,000 disconnected profiles": {ROSTER: lambda _url, _n: _roster(_profiles(connected=False))},
    "10,000 calendars": {ROSTER: lambda _url, _n: _roster(_HEALTHY, _CALENDARS)},
}
"""By account. What is not named is answered as it should be."""

READ = (
    "healthy",
    *("as many objects as are read", "as many events as are read", "one endless summary"),
    *("10,000 connected profiles", "10,000 disconnected profiles", "10,000 calendars"),
)
"""The accounts whose answers are long, and no more than that."""


def fill(dsn: str, accounts: Sequence[str], due: int) -> None:
    """The rows of such accounts, each with so many due events."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for account in accounts:
            cursor.execute(
                "INSERT INTO reconciler.accounts (account_id, access_token) VALUES (%s, %s)",
                (account, account.replace(" ", "_")),
            )
            for number in range(due):
                shown = an_event(account, number)
                body = {key: shown[key] for key in ("event_id", "start", "end")}
                cursor.execute(
                    "INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, ends_at, profile_id, "
                    "body, written_at) VALUES (%s, %s, %s, %s, %s, 'pro_1', %s, %s)",
                    (
                        shown["calendar_id"], shown["event_id"], account, shown["start"], shown["end"], Jsonb(body),
                        NOW - timedelta(hours=2),
                    ),
                )  # fmt: skip


@asynccontextmanager
async def hostile_cronofy(due: int) -> AsyncIterator[str]:
    """Its address. A bearer token names the account; a usual listing shows so many events."""
    numbers, packed, url = itertools.count(), dict[tuple[str, str], bytes](), ""

    def body(account: str, path: str) -> bytes:
        if path in ANSWERS[account]:
            return gzip.compress(ANSWERS[account][path](url, next(numbers)), 9 if account.startswith("31 kB") else 1)
        usual = _page(an_event(account, n) for n in range(due)) if path == LISTED else _roster(_HEALTHY)
        return gzip.compress(usual)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        account = request.headers["Authorization"].removeprefix("Bearer ").replace("_", " ")
        key = (account, ROSTER if request.path == ROSTER else LISTED)
        if key not in packed or "fresh" in account:
            packed[key] = await asyncio.to_thread(body, *key)
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=packed[key], headers=headers)

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield url
    finally:
        await runner.cleanup()
