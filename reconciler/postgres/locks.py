"""The advisory locks that say which run, account or plan is in whose hands."""

import asyncio
from collections.abc import Callable, Sequence

from reconciler.ports import Holder
from reconciler.postgres.failures import session_words, speaking_plainly
from reconciler.postgres.pool import Connection, open_connection
from reconciler.postgres.statements import statements
from reconciler.postgres.together import Together

_SQL = statements("locks")

_BACK = {"take": "release", "join": "leave"}

_Wish = tuple[str, str]
"""What is wanted of a lock, and its name."""


def _give_back(wish: _Wish, granted: bool) -> _Wish | None:
    """A lock that nobody waits for any more must not be held to the end of the process."""
    verb, name = wish
    return (_BACK[verb], name) if granted and verb in _BACK else None


class Locks:
    """Advisory locks on one connection of their own: they end with the process, however it ends.

    `session` is that connection's number in the database.
    """

    def __init__(self, connection: Connection, session: int) -> None:
        self._connection = connection
        self.session = session
        self._one_at_a_time = asyncio.Lock()
        self._wish = Together(self._ask, _give_back)

    @classmethod
    async def open(cls, dsn: str) -> "Locks":
        """Connect."""
        connection = await open_connection(dsn)
        with speaking_plainly():
            return cls(connection, await connection.fetchval("SELECT pg_backend_pid()"))

    async def take(self, name: str) -> bool:
        """Take a lock if nobody has it."""
        return await self._wish(("take", name))

    async def release(self, name: str) -> None:
        """Give a lock back."""
        await self._wish(("release", name))

    async def join(self, name: str) -> bool:
        """Hold a lock beside all others that join it, unless somebody has taken it."""
        return await self._wish(("join", name))

    async def leave(self, name: str) -> None:
        """Give a lock back that was joined."""
        await self._wish(("leave", name))

    async def holder(self, name: str) -> Holder | None:
        """Who holds a lock beside this process."""
        with speaking_plainly():
            async with self._one_at_a_time:
                row = await self._connection.fetchrow(_SQL["holder"], _full(name))
        if row is None:
            return None
        return Holder(session_words(row["pid"], row["login"], row["application"]), row["fellow"], row["run"])

    async def taken_within(self, name: str, company: str) -> bool:
        """Whether a lock is taken by a process that has joined `company`."""
        with speaking_plainly():
            async with self._one_at_a_time:
                statement = _SQL["taken_within"]
                return bool(await self._connection.fetchval(statement, _full(name), _full(company)))

    async def _ask(self, wishes: Sequence[_Wish]) -> Sequence[bool]:
        verbs, names = [verb for verb, _ in wishes], [_full(name) for _, name in wishes]
        with speaking_plainly():
            async with self._one_at_a_time:
                return [row["granted"] for row in await self._connection.fetch(_SQL["locks"], verbs, names)]

    async def listen_for_holds(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with the client's key whenever somebody says that all are to pause.

        It ends with the connection, and so do the locks, without which nothing is written any more: no test is needed
        of whether it still hears.
        """

        def on_notify(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            heard(str(payload))

        with speaking_plainly():
            await self._connection.add_listener("reconciler_hold", on_notify)

    async def close(self) -> None:
        """Disconnect, which gives everything back."""
        await self._wish.settled()
        await self._connection.close(timeout=5)


def _full(name: str) -> str:
    return f"reconciler:{name}"
