"""Who may begin, join or leave a run: the lock of its key, and what that is worth when a stranger holds it.

The numbers of advisory locks are no secret, and whoever may connect to the database may take any of them. A lock that
is held by a login that cannot be one of our processes says nothing, and is passed over: what it spares us otherwise,
the books refuse, two runs of one key for instance.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from reconciler.ports import Locks, RunStopped, WrongConfiguration

log = structlog.get_logger()

JOIN_S = 60.0
"""How long to wait for whoever is planning the run of a key."""
LOOK_S = 0.2
"""How often to look whether another process is through."""


class AlreadyDone(Exception):
    """The run of this key is finished, or under way in another process."""


async def have_the_key(run_key: str | None, locks: Locks) -> None:
    """Take the lock of a run's key, if it has one.

    Raises:
        AlreadyDone: another process has it.
    """
    name = f"run-key:{run_key}"
    if run_key is not None and not await locks.take(name) and not await is_a_strangers(name, locks):
        raise await under_way(run_key, name, locks)


@contextlib.asynccontextmanager
async def at_the_door(run_key: str | None, locks: Locks) -> AsyncIterator[None]:
    """Hold the run key: while that lasts nobody else begins, joins or leaves the run.

    Raises:
        AlreadyDone: another process has it, for longer than it takes.
    """
    name = f"run-key:{run_key}"
    loop = asyncio.get_running_loop()
    give_up = loop.time() + JOIN_S
    while not (taken := await locks.take(name)):
        if await is_a_strangers(name, locks):
            break
        if loop.time() > give_up:
            raise await under_way(run_key, name, locks)
        await asyncio.sleep(LOOK_S / 2)
    try:
        yield
    finally:
        if taken:
            await asyncio.shield(locks.release(name))


async def is_a_strangers(name: str, locks: Locks) -> bool:
    """Whether a lock is held by somebody who cannot be a process of ours."""
    holder = await locks.holder(name)
    if holder is None or holder.fellow:
        return False
    log.warning("a lock is held by a stranger, and passed over", lock=name, holder=holder.session)
    return True


async def under_way(run_key: str | None, name: str, locks: Locks) -> AlreadyDone | RunStopped:
    """Why a run of this key is not gone on with: whoever holds its lock `name`."""
    holder = await locks.holder(name)
    if holder is not None and not holder.fellow:
        return WrongConfiguration(
            f"{holder.session} holds the lock of the run of key {run_key!r} without any right to: end that session,"
            " and keep strangers out of the database (REVOKE CONNECT ON DATABASE … FROM PUBLIC)"
        )
    return AlreadyDone(
        f"the run of key {run_key!r} is under way in another process" + (f" ({holder.session})" if holder else "")
    )
