"""The loops that the reconciler is compared with: `python -m tests.bench.loops aiohttp|pycronofy URL REQUESTS.json`.

Both repeat the reads of a run, one after the other, and do nothing with the answers.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pycronofy
import pycronofy.settings

Read = dict[str, Any]
"""One read of a run: `token`, `path`, `query` (pairs)."""


async def bare_aiohttp(url: str, reads: list[Read]) -> None:
    """GET and read, no decoding."""
    async with aiohttp.ClientSession() as session:
        for read in reads:
            headers = {"Authorization": f"Bearer {read['token']}"}
            async with session.get(f"{url}{read['path']}", params=read["query"], headers=headers) as answer:
                await answer.read()


def official_sdk(url: str, reads: list[Read]) -> None:
    """The SDK's own reads; it decodes what it gets."""
    pycronofy.settings.API_BASE_URL = url
    pages: Any = None
    for read in reads:
        client, query = pycronofy.Client(access_token=read["token"]), dict(read["query"])
        if read["path"] == "/v1/userinfo":
            client.userinfo()
        elif read["path"] == "/v1/events":
            window = {"from_date": query.get("from"), "to_date": query.get("to"), "tzid": query["tzid"]}
            pages = client.read_events(**window, include_deleted=True, only_managed=True, automatic_pagination=False)
        else:
            pages.fetch_next_page()


if __name__ == "__main__":
    address, wanted = sys.argv[2], json.loads(Path(sys.argv[3]).read_text())
    if sys.argv[1] == "aiohttp":
        asyncio.run(bare_aiohttp(address, wanted))
    else:
        official_sdk(address, wanted)
