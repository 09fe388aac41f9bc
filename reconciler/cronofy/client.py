"""Cronofy for the pipeline: one method per need, each one call or a few, answered in domain values.

Every attempt waits for the shared allowance and is counted. Reads may be repeated, writes only where nothing was
carried out. Deliberately absent: any decision about an event, and any way to write other than an upsert by `event_id`.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

import aiohttp
import structlog
from yarl import URL

from reconciler.cronofy import errors
from reconciler.cronofy.breaker import Breaker
from reconciler.cronofy.decoding import decoded
from reconciler.cronofy.errors import Asked, CallFailed
from reconciler.cronofy.grants import Grants
from reconciler.cronofy.hosts import Host, Hosts
from reconciler.cronofy.pacing import Pacer
from reconciler.cronofy.retry import Chance, Sleep, T, Worth, always, unless_in_doubt
from reconciler.cronofy.transport import Answer, ClientSettings, Request, Transport, checked_base, open_session
from reconciler.cronofy.wire.answers import read_batch, read_error_keys
from reconciler.cronofy.wire.bounds import TooLarge
from reconciler.cronofy.wire.listing import PagesRead, Shown, read_page
from reconciler.cronofy.wire.malformed import Malformed, OfAnotherAccount
from reconciler.cronofy.wire.upserts import batch_body, upsert_body
from reconciler.cronofy.wire.userinfo import read_userinfo
from reconciler.domain.evidence import Found, Unreadable
from reconciler.domain.ids import CalendarId, EventKey
from reconciler.domain.outcome import Applied, InDoubt, Outcome, Rejected, Unsent
from reconciler.domain.roster import WITHHELD, Roster
from reconciler.ports import (
    WRONG_ACCOUNT,
    AccountUnauthorized,
    AccountUnreadable,
    Budget,
    Clock,
    Credentials,
    Listing,
    Recheck,
    RequestMeter,
    RunStopped,
    TokenStore,
    UpsertRequest,
    Window,
)

__all__ = ["ClientSettings", "CronofyClient", "open_session"]

log = structlog.get_logger()

MOST_PAGES = 30
"""Of some days. One page more is read for every `EVENTS_A_PAGE` events that the application has there: no server can
stretch that, and no account trips over it, for pages hold more, and thirty of them what was deleted as well."""
MOST_PAGES_OF_ALL_TIME = 500
"""Where the days are not limited, and the application may have forgotten what it once wrote."""
EVENTS_A_PAGE = 10
MOST_IDLE_PAGES = 3
"""So many pages in a row that show nothing new are no listing that comes to an end."""
MOST_FOREIGN_PAGES = 10
"""The same of pages that hold only events of others, which are not asked for."""
MOST_ANSWERS = 16
"""No listing is read beyond so many times `max_response_bytes` in pages that show what is wanted: that has to be held
in memory."""

PAIRS_TRIED = 3
"""The caller's tokens, those that somebody stored meanwhile, and refreshed ones."""

_ANSWERS_TO_THE_BATCH_ITSELF = frozenset({400, 404, 405, 413, 422})
"""Refusals of a batch as a whole, which say nothing of its entries: these are sent one by one then."""

_CHANCES = 5
"""How often a write gives way to a pause, to look at the calendar again: pauses without end must not keep it."""

Once = Callable[[str, int], Awaitable[Answer]]
"""One attempt: with which access token, and the number of the attempt."""


@dataclass(slots=True)
class _Write:
    """One upsert on its way; `outcome` stays as it begins where the way ends early."""

    key: EventKey
    body: bytes = field(repr=False)
    outcome: Outcome | None = None


class CronofyClient:
    """The port `CalendarApi` over HTTP.

    One per run and process: it remembers which accounts' tokens it has renewed and whether Cronofy shows life.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: ClientSettings,
        tokens: TokenStore,
        budget: Budget,
        meter: RequestMeter,
        clock: Clock,
        *,
        sleep: Sleep = asyncio.sleep,
        chance: Chance = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._batch_size = settings.batch_size
        self._timeout = settings.timeout
        self._most_bytes = MOST_ANSWERS * settings.max_response_bytes
        self._hosts = Hosts(None if settings.base_url is None else checked_base(settings.base_url))
        pacer = Pacer(budget, meter, sleep, monotonic)
        self._transport = Transport(session, settings, pacer, Breaker(monotonic), clock, sleep, chance)
        self._grants = Grants(tokens, self._transport, self._hosts, settings, clock, sleep)

    # ------------------------------------------------------------ reading

    async def list_events(
        self,
        who: Credentials,
        window: Window | None,
        calendars: Sequence[CalendarId] = (),
        *,
        wanted: Collection[EventKey] | None = None,
        expected: int = 0,
    ) -> Listing:
        """See `ports.CalendarApi.list_events`. A page that is gone (404) makes it start again, once."""
        host = self._hosts.of(who.data_center)
        first = host.events(window, calendars)
        most_pages = (MOST_PAGES_OF_ALL_TIME if window is None else MOST_PAGES) + expected // EVENTS_A_PAGE
        pauses = await self._transport.pauses()
        for _ in range(2):
            events, page_size = await self._pages(who, host, first, PagesRead(wanted), most_pages)
            if events is not None:
                self._grants.grant(who).read_after_pauses = pauses
                return Listing(events, page_size)
        raise AccountUnreadable("page_expired", "pages of the listing expired while it was read, twice")

    async def _pages(
        self, who: Credentials, host: Host, first: URL, listing: PagesRead, most_pages: int
    ) -> tuple[Mapping[EventKey, Found | Unreadable] | None, int | None]:
        """The listing (none where a page is gone), and the page size if there was more than one page."""
        page_size: int | None = None
        seen: set[URL] = set()
        size = idle = foreign = 0
        url = first
        while True:
            if url in seen or len(seen) >= most_pages or idle >= MOST_IDLE_PAGES or foreign >= MOST_FOREIGN_PAGES:
                raise AccountUnreadable("paging_loop", f"the listing does not end ({len(seen)} pages read)")
            seen.add(url)
            answer = await self._get(who, "events", url)
            if answer.status == HTTPStatus.NOT_FOUND and url is not first:
                return None, page_size
            page = await self._parsed(answer, read_page)
            shown = listing.add(page)
            if shown is Shown.WANTED:
                size += len(answer.body)
            if size > self._most_bytes:
                raise AccountUnreadable("answer_too_large", "the listing is larger than can be held")
            idle = idle + 1 if shown is Shown.NOTHING_NEW else 0
            foreign = foreign + 1 if shown is Shown.FOREIGN else 0
            if page.next_page is None:
                return listing.events, page_size
            page_size = page_size or page.entries
            url = host.page(page.next_page)

    async def userinfo(self, who: Credentials) -> Roster:
        """The person's profiles and calendars, as they are now."""
        host = self._hosts.of(who.data_center)
        answer = await self._get(who, "userinfo", host.userinfo)
        roster = host.relinks(await self._parsed(answer, partial(read_userinfo, account_id=who.account_id)))
        for profile in sorted(roster.withheld):
            log.warning("relink_withheld", account_id=who.account_id, profile_id=profile, why=WITHHELD)
        return roster

    async def _parsed(self, answer: Answer, read: Callable[[bytes], T]) -> T:
        if not answer.ok:
            raise errors.of_refused_read(answer.status, answer.host, answer.asked, read_error_keys(answer.body))
        try:
            return await decoded(answer.body, answer.asked, read, self._timeout)
        except TooLarge as error:
            kind, why = "answer_too_large", str(error)
        except OfAnotherAccount as error:
            kind, why = WRONG_ACCOUNT, f"{error}: check the tokens stored for it"
        except Malformed as error:
            kind, why = "malformed", str(error)
        except TimeoutError:
            kind, why = "timeout", "it could not be decoded in time"
        raise AccountUnreadable(kind, f"{answer.text}, but {why}")

    async def _get(self, who: Credentials, kind: Asked, url: URL) -> Answer:
        async def once(access: str, attempt: int) -> Answer:
            request = Request(kind, "GET", url, {"Authorization": f"Bearer {access}"})
            return await self._transport.once(request, who.account_id, attempt)

        try:
            return await self._authorized(who, once, always)
        except CallFailed as error:
            failure = error
        raise await self._transport.given_up(failure)

    async def _authorized(self, who: Credentials, once: Once, worth: Worth) -> Answer:
        """Attempt with tokens that work: after a 401 those that somebody else stored, then refreshed ones, once.

        Raises:
            CallFailed: the call itself got no answer.
            AccountUnauthorized, AccountUnreadable, RunStopped: there are no tokens to be had.
        """
        grant = self._grants.grant(who)
        current = await self._grants.usable(who, grant)
        tried = 1
        answer = await self._transport.repeat(partial(once, current.tokens.access), worth)
        while answer.status == HTTPStatus.UNAUTHORIZED and not current.minted and tried < PAIRS_TRIED:
            current = await self._grants.another(who, grant, current.tokens)
            tried += 1
            answer = await self._transport.repeat(partial(once, current.tokens.access), worth)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        raise AccountUnauthorized("401: tokens are not accepted, refreshed ones neither")

    # ------------------------------------------------------------ writing

    async def upsert(
        self, who: Credentials, requests: Sequence[UpsertRequest], recheck: Recheck | None = None
    ) -> Sequence[Outcome]:
        """Write events again, in batches of up to 50; one outcome per request, in order.

        A write may wait long for its turn. `recheck` says, when it has come, which are not to be made any more.
        What keeps the account from being written at all is an `Unsent` for each. The run's end (`RunStopped`) is
        raised only where nothing was written before, so that no outcome is lost.
        """
        outcomes: list[Outcome | _Write] = [_prepared(request) for request in requests]
        writes = [entry for entry in outcomes if isinstance(entry, _Write)]
        unsent = Unsent("not reached")
        try:
            host, size = self._hosts.of(who.data_center), self._batch_size
            for begin in range(0, len(writes), size):
                await self._write(who, host, writes[begin : begin + size], recheck)
        except (AccountUnauthorized, AccountUnreadable) as error:
            unsent = Unsent(str(error), unauthorized=isinstance(error, AccountUnauthorized))
        except RunStopped as error:
            if all(write.outcome is None for write in writes):
                raise
            unsent = Unsent(str(error))
        return [entry if not isinstance(entry, _Write) else entry.outcome or unsent for entry in outcomes]

    async def _write(self, who: Credentials, host: Host, writes: Sequence[_Write], recheck: Recheck | None) -> None:
        """Send together what has no outcome yet. Entries answered 429 or 503 are sent again under the retry policy."""

        async def once(access: str, attempt: int) -> Answer:
            left, together = await self._turn(who, writes, recheck, attempt)
            request = _upsert(host, access, left, together=together)
            answer = await self._transport.send(request, who.account_id, attempt)
            if together and answer.ok:
                await self._heard(answer, left, attempt)
            elif not together and answer.status != HTTPStatus.UNAUTHORIZED:
                left[0].outcome = errors.of_written(
                    answer.status, answer.host, answer.asked, read_error_keys(answer.body), Applied()
                )
            return answer

        try:
            answer = await self._authorized(who, once, unless_in_doubt)
        except _NothingLeft:
            return
        except CallFailed as error:
            failure = error
        else:
            await self._refused(who, host, writes, answer, recheck)
            return
        outcome = errors.of_unwritten(failure)
        if isinstance(outcome, Unsent):
            raise await self._transport.given_up(failure)
        for write in writes:
            write.outcome = write.outcome or outcome

    async def _turn(
        self, who: Credentials, writes: Sequence[_Write], recheck: Recheck | None, attempt: int, chances: int = _CHANCES
    ) -> tuple[Sequence[_Write], bool]:
        """Wait for the writes' turn; those that are still to be made then, and whether they travel together.

        After a pause, or where an attempt was put off, the calendar is looked at again before; the application's rows
        always, the last thing of all.

        Raises:
            _NothingLeft: none is to be made any more.
        """
        left = _open(writes)
        paused = self._grants.grant(who).read_after_pauses not in {None, await self._transport.pauses()}
        if recheck is not None and (paused or (attempt > 1 and chances == _CHANCES)):
            left = _settled(left, await recheck.by_look([write.key for write in left]))
        together = len(left) > 1
        give_way = recheck is not None and chances > 1
        if not await self._transport.pace("batch" if together else "upsert", len(left), attempt, give_way=give_way):
            return await self._turn(who, writes, recheck, attempt, chances - 1)
        if recheck is not None:
            left = _settled(left, await recheck.by_rows([write.key for write in left]))
        return left, together

    async def _heard(self, answer: Answer, left: Sequence[_Write], attempt: int) -> None:
        """Take the answers to a batch's entries.

        Raises:
            Throttled: some were put off; they still have no outcome.
        """
        try:
            entries = await decoded(answer.body, "batch", read_batch, self._timeout)
        except (Malformed, TimeoutError) as error:
            entries, reason = (), str(error) or "the answer to a batch could not be decoded in time"
        else:
            reason = "the answer to a batch has not as many entries as the batch"
        if len(entries) != len(left):
            for write in left:
                write.outcome = InDoubt(reason)
            return
        may_write = any(entry.status is not None and errors.is_success(entry.status) for entry in entries)
        put_off: CallFailed | None = None
        for write, entry in zip(left, entries, strict=True):
            if entry.status is None:
                write.outcome = InDoubt("the answer to this entry of a batch cannot be read")
                continue
            failure = errors.of_status(entry.status, answer.host, answer.asked, None)
            if isinstance(failure, errors.Throttled):
                if put_off is None or failure.kind == "rate_limited":
                    put_off = failure
            elif may_write and entry.status == HTTPStatus.FORBIDDEN:  # a matter of that calendar, not of the scope
                write.outcome = Rejected(entry.status, entry.keys)
            else:
                write.outcome = errors.of_written(entry.status, answer.host, answer.asked, entry.keys, Applied())
        if put_off is None:
            return
        if put_off.kind == "rate_limited":
            put_off = await self._transport.throttled(put_off, attempt)
        raise put_off

    async def _refused(
        self, who: Credentials, host: Host, writes: Sequence[_Write], answer: Answer, recheck: Recheck | None
    ) -> None:
        """Settle what an answered request left without outcome: a batch that was refused as a whole."""
        left = [write for write in writes if write.outcome is None]
        if answer.status in _ANSWERS_TO_THE_BATCH_ITSELF:
            for write in left:
                await self._write(who, host, [write], recheck)
            return
        keys = read_error_keys(answer.body)
        for write in left:
            write.outcome = errors.of_written(
                answer.status, answer.host, answer.asked, keys, InDoubt("no answer to this entry")
            )


def _prepared(request: UpsertRequest) -> Outcome | _Write:
    try:
        return _Write(request.key, upsert_body(request))
    except Malformed as error:
        return Unsent(str(error))


class _NothingLeft(Exception):
    """Every write has its outcome before it was sent."""


def _open(writes: Sequence[_Write]) -> Sequence[_Write]:
    return [write for write in writes if write.outcome is None]


def _settled(writes: Sequence[_Write], outcomes: Mapping[EventKey, Outcome]) -> Sequence[_Write]:
    """Give some writes the outcome that they have without being made; the others.

    Raises:
        _NothingLeft: there are none.
    """
    for write in writes:
        write.outcome = outcomes.get(write.key)
    left = _open(writes)
    if not left:
        raise _NothingLeft
    return left


def _upsert(host: Host, access: str, writes: Sequence[_Write], *, together: bool) -> Request:
    headers = {"Authorization": f"Bearer {access}", "Content-Type": "application/json; charset=utf-8"}
    if not together:
        url = host.upsert(writes[0].key.calendar_id)
        return Request("upsert", "POST", url, headers, writes[0].body, body_matters=False)
    body = batch_body((write.key.calendar_id, write.body) for write in writes)
    return Request("batch", "POST", host.batch, headers, body, cost=len(writes))
