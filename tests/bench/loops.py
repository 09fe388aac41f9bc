"""The loops that the reconciler is compared with: `python -m tests.bench.loops aiohttp|pycronofy URL TOKENS.json`.

Both read the same listing of the same accounts, one after the other, and do nothing with it.
"""

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import pycronofy
import pycronofy.settings

_QUERY = {"tzid": "Etc/UTC", "only_managed": "true", "include_deleted": "true", "include_managed": "true"}


async def bare_aiohttp(url: str, tokens: list[str]) -> None:
    """GET and read, no decoding."""
    async with aiohttp.ClientSession() as session:
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{url}/v1/events", params=_QUERY, headers=headers) as answer:
                await answer.read()


def official_sdk(url: str, tokens: list[str]) -> None:
    """The SDK's own read, first page only."""
    pycronofy.settings.API_BASE_URL = url
    for token in tokens:
        client = pycronofy.Client(access_token=token)
        client.read_events(tzid="Etc/UTC", include_deleted=True, include_managed=True).json()


if __name__ == "__main__":
    address, wanted = sys.argv[2], json.loads(Path(sys.argv[3]).read_text())
    if sys.argv[1] == "aiohttp":
        asyncio.run(bare_aiohttp(address, wanted))
    else:
        official_sdk(address, wanted)
