"""Which tokens speak for an account, and getting new ones.

One refresh per account at a time; whoever waited for it takes its result, be it tokens or a failure. A new pair is
stored before it is used, because a refresh may have ended the old one (Cronofy's docs do not say whether refresh
tokens are replaced, so they may be). Cancelling never falls between the answer and the storing of it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from reconciler.cronofy import limits
from reconciler.cronofy.errors import AnswerLost, CallFailed, Unusable
from reconciler.cronofy.hosts import Hosts
from reconciler.cronofy.retry import Sleep, T, always
from reconciler.cronofy.transport import Answer, ClientSettings, Request, Transport
from reconciler.cronofy.wire.bounds import check_elements
from reconciler.cronofy.wire.malformed import Malformed, OfAnotherAccount, want_account
from reconciler.cronofy.wire.tokens import Granted, read_granted, read_token_error, refresh_body, sendable
from reconciler.domain.ids import AccountId
from reconciler.ports import (
    WRONG_ACCOUNT,
    AccountUnauthorized,
    AccountUnreadable,
    ClientRejected,
    Clock,
    Credentials,
    Tokens,
    TokenStore,
)

REFRESH_AHEAD = timedelta(seconds=60)

FINISH_SECONDS = 5.0
"""How long a cancelled refresh may take to hear the answer and store it."""

SECOND_LOOK_SECONDS = 0.5
"""Whoever got the pair that made ours invalid may be about to store it."""

REMEMBERED_ACCOUNTS = 4096

_NOTHING_STORED = "no token is stored"
_JSON = {"Content-Type": "application/json; charset=utf-8"}


class InvalidGrant(Exception):
    """The refresh token is not, or no longer, accepted."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Tokens to make a call with. `minted`: a refresh gave them just now, so another would not help."""

    tokens: Tokens
    minted: bool


class Grant:
    """The tokens of one account as this process knows them, and the lock of their renewal.

    `rounds` counts renewals, whatever they ended in. `doubtful` is a refresh token that was sent and never answered.
    `read_after_pauses`: how many pauses had been asked for when the account's events were last listed.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.current = Pass(tokens, minted=False)
        self.lock = asyncio.Lock()
        self.rounds = 0
        self.failure: AccountUnauthorized | AccountUnreadable | None = None
        self.doubtful: str | None = None
        self.read_after_pauses: int | None = None
        self._superseded: set[str] = set()

    def take(self, tokens: Tokens, *, minted: bool) -> Pass:
        """Use this pair from now on."""
        old = self.current.tokens.access
        if tokens.access != old:
            self._superseded.add(old)
            self._superseded.discard(tokens.access)
        self.current = Pass(tokens, minted)
        return self.current

    def ended(self, failure: AccountUnauthorized | AccountUnreadable | None) -> None:
        """A renewal is over; null: it went well."""
        self.rounds += 1
        self.failure = failure

    def meet(self, tokens: Tokens) -> None:
        """A caller brought a pair: use it, unless we know of a newer one."""
        if tokens.access != self.current.tokens.access and tokens.access not in self._superseded:
            self.take(tokens, minted=False)


class Grants:
    """Every account's tokens; the token store is the truth, this is the way to it."""

    def __init__(
        self,
        store: TokenStore,
        transport: Transport,
        hosts: Hosts,
        settings: ClientSettings,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self._store = store
        self._transport = transport
        self._hosts = hosts
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._grants: OrderedDict[AccountId, Grant] = OrderedDict()

    def grant(self, who: Credentials) -> Grant:
        """What is known of an account's tokens.

        Raises:
            AccountUnauthorized: none are stored.
        """
        if who.tokens is None or not (who.tokens.access or who.tokens.refresh):
            raise AccountUnauthorized(_NOTHING_STORED)
        grant = self._grants.get(who.account_id)
        if grant is None:
            grant = self._grants[who.account_id] = Grant(who.tokens)
            if len(self._grants) > REMEMBERED_ACCOUNTS:
                self._grants.popitem(last=False)
        else:
            self._grants.move_to_end(who.account_id)
            grant.meet(who.tokens)
        return grant

    async def usable(self, who: Credentials, grant: Grant) -> Pass:
        """Tokens that should be good for a call, refreshed ahead where they are about to end.

        Raises:
            AccountUnauthorized, AccountUnreadable, RunStopped: there are none to be had.
        """
        current = Pass(grant.current.tokens, minted=False)
        if self._lasts(current.tokens):
            return current
        if not current.tokens.refresh and sendable(current.tokens.access):
            return current
        return await self.another(who, grant, current.tokens)

    def _lasts(self, tokens: Tokens) -> bool:
        if not sendable(tokens.access):
            return False
        return tokens.expires_at is None or tokens.expires_at - self._clock.now() > REFRESH_AHEAD

    async def another(self, who: Credentials, grant: Grant, worn: Tokens) -> Pass:
        """Tokens other than the worn ones: what somebody stored in the meantime, else what a refresh gives.

        Raises:
            AccountUnauthorized, AccountUnreadable, RunStopped: there are none to be had.
        """
        rounds = grant.rounds
        async with grant.lock:
            if grant.rounds != rounds:
                if grant.failure is not None:
                    raise grant.failure
                return grant.current
            if grant.current.tokens is not worn and self._lasts(grant.current.tokens):
                return grant.current
            try:
                found = await self._stored_or_refreshed(who, grant, worn)
            except (AccountUnauthorized, AccountUnreadable) as failure:
                grant.ended(failure)
                raise
            grant.ended(None)
            return found

    async def _stored_or_refreshed(self, who: Credentials, grant: Grant, worn: Tokens) -> Pass:
        stored = await self._load(who)
        if stored.access != worn.access and self._lasts(stored):
            return grant.take(stored, minted=False)
        try:
            return await self._refresh(who, grant, stored)
        except InvalidGrant:
            pass
        newer = await self._newer(who, stored)
        if newer is not None and newer.access != stored.access and self._lasts(newer):
            return grant.take(newer, minted=False)
        if newer is not None:
            try:
                return await self._refresh(who, grant, newer)
            except InvalidGrant:
                pass
        tried = {stored.refresh, newer.refresh if newer else None}
        doubtful, grant.doubtful = grant.doubtful, None
        if doubtful is not None and doubtful in tried:
            raise AccountUnreadable(
                "token_in_doubt", "the answer to a refresh was lost, and the old refresh token is no longer taken"
            )
        raise AccountUnauthorized("invalid_grant")

    async def _load(self, who: Credentials) -> Tokens:
        stored = await self._store.load(who.account_id)
        if stored is None or not (stored.access or stored.refresh):
            raise AccountUnauthorized(_NOTHING_STORED)
        return stored

    async def _newer(self, who: Credentials, than: Tokens) -> Tokens | None:
        """The stored pair, if its refresh token is another by now."""
        stored = await self._load(who)
        if stored.refresh == than.refresh:
            await self._sleep(SECOND_LOOK_SECONDS)
            stored = await self._load(who)
        return None if stored.refresh == than.refresh else stored

    async def _refresh(self, who: Credentials, grant: Grant, pair: Tokens) -> Pass:
        if not pair.refresh:
            raise AccountUnauthorized("no refresh token is stored")
        host = self._hosts.of(who.data_center)
        request = Request(
            "token",
            "POST",
            host.token,
            _JSON,
            refresh_body(self._settings.client_id, self._settings.client_secret, pair.refresh),
        )

        async def once(attempt: int) -> Pass:
            await self._transport.pace(request.kind, request.cost, attempt)
            return await finish(self._exchange(who, grant, pair, request, attempt), FINISH_SECONDS)

        try:
            return await self._transport.repeat(once, always)
        except CallFailed as error:
            failure = error
        raise await self._transport.given_up(failure)

    async def _exchange(self, who: Credentials, grant: Grant, pair: Tokens, request: Request, attempt: int) -> Pass:
        """Ask once and store what comes of it. From a lost answer on, the refresh token is in doubt.

        A refresh token is stored also where the access token beside it cannot be used: the old one may be dead.
        """
        asked_at = self._clock.now()
        try:
            answer = await self._transport.send(request, who.account_id, attempt)
            if not answer.ok:
                raise _refused(answer)
            granted = _granted(answer, who.account_id)
        except (AnswerLost, Unusable):
            grant.doubtful = pair.refresh
            raise
        if granted.access is None:
            new = Tokens(pair.access, granted.refresh, pair.expires_at)
        else:
            ends = limits.expires_at(asked_at, granted.expires_in)
            new = Tokens(granted.access, granted.refresh or pair.refresh, ends)
        kept = await self._store.save(who.account_id, new, replacing=pair)
        grant.doubtful = None
        if not kept:
            return grant.take(await self._load(who), minted=False)
        taken = grant.take(new, minted=True)
        if granted.access is None:
            raise AccountUnreadable("token_unusable", f"{answer.text}, but its access token cannot be used")
        return taken


def _granted(answer: Answer, account_id: AccountId) -> Granted:
    try:
        check_elements(answer.body, answer.asked)
        granted = read_granted(answer.body)
        want_account(account_id, *granted.named)
    except OfAnotherAccount as error:
        raise AccountUnreadable(WRONG_ACCOUNT, f"{answer.text}, but {error}: its tokens were not stored") from None
    except Malformed as error:
        raise AnswerLost("malformed", f"{answer.text}, but {error}") from None
    return granted


def _refused(answer: Answer) -> Exception:
    error = read_token_error(answer.body)
    if error == "invalid_grant":
        return InvalidGrant()
    if error == "invalid_client" or answer.status == HTTPStatus.UNAUTHORIZED:
        return ClientRejected("Cronofy rejects RECONCILER_CRONOFY_CLIENT_ID / RECONCILER_CRONOFY_CLIENT_SECRET")
    said = f" ({error})" if error else ""
    return AccountUnreadable("token_refused", f"{answer.text}{said}")


async def finish(work: Coroutine[Any, Any, T], within: float) -> T:
    """Do the work; when cancelled, let it end within so many seconds before giving way."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=within)
        raise
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
    return task.result()
