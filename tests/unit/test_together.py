"""Questions that many tasks ask at once."""

import asyncio
from collections.abc import Sequence

import pytest

from reconciler.ports import DatabaseUnreachable
from reconciler.postgres.together import Together


async def test_what_is_asked_meanwhile_goes_out_together_and_is_answered_in_order() -> None:
    asked: list[list[int]] = []

    async def double(numbers: Sequence[int]) -> Sequence[int]:
        asked.append(list(numbers))
        await asyncio.sleep(0)
        return [2 * number for number in numbers]

    together = Together(double)
    assert await asyncio.gather(*(together(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert [number for numbers in asked for number in numbers] == [0, 1, 2, 3, 4]
    assert len(asked) < 5


async def test_a_failure_is_theirs_who_asked_and_of_nobody_after() -> None:
    failures = [ValueError("once")]

    async def ask(questions: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0)
        if failures:
            raise failures.pop()
        return questions

    together = Together(ask)
    with pytest.raises(ValueError, match="once"):
        await together("one")
    assert await together("two") == "two"


async def test_asked_apart_a_failure_is_theirs_alone_whose_question_it_was() -> None:
    async def ask(questions: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0)
        if "bad" in questions:
            raise ValueError("bad")
        return questions

    together = Together(ask, apart=True)
    answers = await asyncio.gather(*map(together, ("first", "one", "bad", "two")), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["first", "one", "bad", "two"]
    assert isinstance(answers[2], ValueError)


async def test_asked_apart_the_end_of_the_run_is_everybodys_and_asked_about_once() -> None:
    asked: list[Sequence[str]] = []

    async def ask(questions: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0)
        asked.append(questions)
        raise DatabaseUnreachable("gone")

    together = Together(ask, apart=True)
    answers = await asyncio.gather(*map(together, ("first", "one", "two")), return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnreachable] * 3
    assert len(asked) < 3


async def test_an_answer_too_few_is_a_failure_and_leaves_nobody_waiting() -> None:
    async def ask(_: Sequence[str]) -> Sequence[str]:
        return []

    with pytest.raises(ValueError, match="zip"):
        await Together(ask)("one")


@pytest.mark.parametrize("moment", ["before the answer", "with the answer"])
async def test_an_answer_that_nobody_waits_for_any_more_is_followed_up(moment: str) -> None:
    heard: list[str] = []
    waiting: list[asyncio.Task[bool]] = []

    async def ask(questions: Sequence[str]) -> Sequence[bool]:
        heard.extend(questions)
        if "take" in questions:
            if moment == "before the answer":
                waiting[0].cancel()
                await asyncio.sleep(0)
            else:
                asyncio.get_running_loop().call_soon(waiting[0].cancel)
        return [True] * len(questions)

    together = Together(ask, lambda question, granted: "release" if granted and question == "take" else None)
    waiting.append(asyncio.create_task(together("take")))
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await together.settled()
    assert heard == ["take", "release"]
