"""Answers of one shape each, without a server: what the client makes of them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses

from reconciler.cronofy.client import ClientSettings, CronofyClient, open_session
from reconciler.domain.ids import AccountId, EventKey, ProfileId
from reconciler.domain.outcome import Applied, InDoubt, Rejected
from reconciler.ports import AccountUnauthorized, AccountUnreadable, Credentials, Tokens, UpsertRequest
from tests.fakes import FakeBudget, FakeClock, FakeMeter, FakeSleep, FakeTokenStore

JANE = AccountId("acc_jane")
WHO = Credentials(JANE, "de", Tokens("access", "refresh", None))
BODY = '{"event_id": "e1", "summary": "Gespräch", "conferencing": {"profile_id": "pro_gone"}}'
UPSERT = "https://api-de.cronofy.com/v1/calendars/cal_1/events"
USERINFO = "https://api-de.cronofy.com/v1/userinfo"


class Response(aiohttp.ClientResponse):
    """aioresponses 0.7.9 does not know the constructor argument `stream_writer` of newer aiohttp."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def answers() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def client(answers: aioresponses) -> AsyncIterator[CronofyClient]:  # noqa: ARG001 - mocked before it is opened
    settings = ClientSettings("id", "secret")
    tokens = FakeTokenStore({JANE: Tokens("access", "refresh", None)})
    async with open_session(settings) as session:
        yield CronofyClient(session, settings, tokens, FakeBudget(), FakeMeter(), FakeClock(), sleep=FakeSleep())


def an_upsert() -> UpsertRequest:
    return UpsertRequest(EventKey("cal_1", "e1"), BODY, ProfileId("pro_new"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "status, body, outcome",
    [
        (202, "", Applied()),
        (
            422,
            '{"errors": {"conferencing.profile_id": [{"key": "errors.not_recognized", "description": "unknown"}]}}',
            Rejected(422, ("errors.not_recognized",)),
        ),
        (422, "<html>no</html>", Rejected(422)),
        (404, "", Rejected(404)),
        (423, '{"locked": true}', Rejected(423)),
        (500, "", InDoubt("Cronofy (api-de.cronofy.com) answered 500 to POST /v1/calendars/CALENDAR_ID/events")),
    ],
    ids=["accepted", "profile refused", "html", "calendar unknown", "locked", "server error"],
)
async def test_an_answer_to_an_upsert(
    client: CronofyClient, answers: aioresponses, status: int, body: str, outcome: object
) -> None:
    answers.post(UPSERT, status=status, body=body, response_class=Response)
    assert await client.upsert(WHO, [an_upsert()]) == [outcome]


async def test_a_missing_scope_asks_the_person(client: CronofyClient, answers: aioresponses) -> None:
    answers.get(USERINFO, status=403, response_class=Response)
    with pytest.raises(AccountUnauthorized, match="403"):
        await client.userinfo(WHO)


async def test_a_feature_outside_the_plan_costs_the_account(client: CronofyClient, answers: aioresponses) -> None:
    answers.get(USERINFO, status=402, response_class=Response)
    with pytest.raises(AccountUnreadable):
        await client.userinfo(WHO)
