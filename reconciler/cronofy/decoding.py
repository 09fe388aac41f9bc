"""Turns an answer's bytes into values: bounded before, beside the event loop where it takes more than an instant."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from reconciler.cronofy.errors import Asked
from reconciler.cronofy.retry import T
from reconciler.cronofy.wire.bounds import check_elements

AT_ONCE_BYTES = 131_072
"""Up to this size decoding takes a millisecond or two, less than handing it over is worth."""

_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoding")
"""One for all, so that two large answers are never decoded, and held as objects, at the same time."""


async def decoded(body: bytes, kind: Asked, read: Callable[[bytes], T], within: float) -> T:
    """What `read` makes of an answer.

    Raises:
        Malformed: it has too many elements (`TooLarge`), or another shape than documented.
        TimeoutError: it took longer than `within` seconds.
    """
    if len(body) <= AT_ONCE_BYTES:
        return _checked(body, kind, read)
    async with asyncio.timeout(within):
        return await asyncio.get_running_loop().run_in_executor(_beside, _checked, body, kind, read)


def _checked(body: bytes, kind: Asked, read: Callable[[bytes], T]) -> T:
    check_elements(body, kind)
    return read(body)
