"""Questions that many tasks ask at once, sent to Postgres as one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from reconciler.ports import RunStopped, TransactionUndone

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """What is asked while an earlier question is under way goes out together as soon as that is answered.

    `ask` answers questions in their order. An answer that nobody waits for any more goes to `unclaimed`, which may have
    another question to send after it. `apart`: where asking together failed nothing was done, so each is asked alone,
    and a failure is theirs alone whose question it was.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        unclaimed: Callable[[Question, Answer], Question | None] = lambda _question, _answer: None,
        *,
        apart: bool = False,
    ) -> None:
        self._ask = ask
        self._unclaimed = unclaimed
        self._apart = apart
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._speaker: asyncio.Task[None] | None = None

    async def __call__(self, question: Question) -> Answer:
        """The answer to one question; raises what `ask` raises."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        self._speak_up()
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self._take_back(question, answer.result(), answer)  # it came in the same moment
            raise

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        if self._speaker is not None:
            await asyncio.wait({self._speaker})

    async def _speak(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, []
            await self._pass_on(asked)

    async def _pass_on(self, asked: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in asked])
            answered = list(zip(asked, answers, strict=True))
        except Exception as error:  # noqa: BLE001 - theirs who asked
            undone = not isinstance(error, RunStopped) or isinstance(error, TransactionUndone)
            if self._apart and len(asked) > 1 and undone:
                for one in asked:
                    await self._pass_on([one])
                return
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (question, waiting), said in answered:
            if not waiting.done():
                waiting.set_result(said)
            else:
                self._take_back(question, said, waiting)

    def _take_back(self, question: Question, said: Answer, waiting: asyncio.Future[Answer]) -> None:
        """Send what has to follow an answer that nobody waits for."""
        if (after := self._unclaimed(question, said)) is not None:
            self._waiting.append((after, waiting))
            self._speak_up()

    def _speak_up(self) -> None:
        if self._speaker is None or self._speaker.done():
            self._speaker = asyncio.create_task(self._speak())
