"""One attempt of one request: paced, counted, bounded in time and size, its failure in our own terms.

Deliberately absent: redirects, cookies, proxies from the environment, and aiohttp's own silent second sending over a
connection that had gone stale, which would be an attempt that nobody counted.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog
from yarl import URL

import reconciler
from reconciler.cronofy import errors, limits
from reconciler.cronofy.breaker import Breaker
from reconciler.cronofy.errors import Asked, CallFailed
from reconciler.cronofy.pacing import Pacer
from reconciler.cronofy.retry import Chance, Sleep, T, Worth, repeat
from reconciler.cronofy.wire.bounds import BOUNDS
from reconciler.domain.ids import AccountId
from reconciler.ports import AccountUnreadable, ApiUnreachable, Clock

MOST_IN_A_BATCH = 50
"""Cronofy docs, batch."""

_CONNECT_SECONDS = 10.0
_SIGN_OF_LIFE_SECONDS = 10.0
_ERROR_BODY_BYTES = 65_536
_ERROR_BODY_SECONDS = 2.0
_READ_BUFFER = 262_144

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to reach Cronofy, and as whom.

    `base_url` stands in place of all data centres; plain http only on loopback. `timeout` bounds one attempt, in
    seconds. `concurrency` bounds the open connections. No answer is read beyond `max_response_bytes`, nor beyond what
    is stated for its kind (`wire/bounds.py`), inflated. `batch_size` is how many writes travel together: each of them
    counts as a request, so no more than may start within a second.
    """

    client_id: str
    client_secret: str = field(repr=False)
    base_url: str | None = None
    timeout: float = 30.0
    concurrency: int = 16
    max_response_bytes: int = max(bound.most_bytes for bound in BOUNDS.values())
    batch_size: int = MOST_IN_A_BATCH

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= MOST_IN_A_BATCH:
            raise ValueError(f"a batch holds 1 to {MOST_IN_A_BATCH} writes")
        if self.base_url is not None:
            checked_base(self.base_url)


def checked_base(base_url: str) -> URL:
    """The base address, fit for use.

    Raises:
        ValueError: it is none, is plain http off loopback, or has parts that a base cannot have.
    """
    try:
        url = URL(base_url.rstrip("/"))
    except ValueError:
        raise ValueError("the base URL is no URL") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("the base URL must begin with https:// and name a host")
    if url.query_string or url.fragment or url.user is not None or url.password is not None:
        raise ValueError("the base URL must have no query, fragment, user or password")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ValueError("the base URL must be https; plain http is for loopback only")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def open_session(settings: ClientSettings) -> aiohttp.ClientSession:
    """A session for one client, to be closed by the caller. To be called within a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.concurrency, ttl_dns_cache=60),
        timeout=_timeout(settings),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": f"reconciler/{reconciler.__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",  # whatever else may be installed: these are inflated piece by piece
        },
        trust_env=False,
        auto_decompress=True,
        read_bufsize=_READ_BUFFER,
    )


def _timeout(settings: ClientSettings) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=settings.timeout, sock_connect=min(_CONNECT_SECONDS, settings.timeout))


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. `kind` and `cost` are for the allowance and the count; an answer's body may be of no interest."""

    kind: Asked
    method: str
    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    cost: int = 1
    body_matters: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that says something: below 500 and no 429. The body is empty where it was of no interest."""

    status: int
    host: str
    asked: Asked
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """What messages say of it."""
        return errors.answered(self.status, self.host, self.asked)

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return errors.is_success(self.status)


class _Broken(Exception):
    """The connection broke. aiohttp does not know it, and so does not send again by itself."""

    def __init__(self, error: aiohttp.ClientError) -> None:
        super().__init__()
        self.error = error


async def _sent_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending again by itself, which it does for the exceptions it knows."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        broken = _Broken(error)
    raise broken


class Transport:
    """Sends requests over one session."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: ClientSettings,
        pacer: Pacer,
        breaker: Breaker,
        clock: Clock,
        sleep: Sleep,
        chance: Chance,
    ) -> None:
        self._session = session
        self._timeout = _timeout(settings)
        self._patience = settings.timeout
        self._max_bytes = settings.max_response_bytes
        self._pacer = pacer
        self._breaker = breaker
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._witness: Request | None = None
        self._asking = asyncio.Lock()

    async def repeat(self, once: Callable[[int], Awaitable[T]], worth: Worth) -> T:
        """Attempt `once` under the retry policy, but no more when Cronofy as a whole is away.

        Raises:
            CallFailed: the last attempt's.
        """
        return await repeat(
            once,
            worth=lambda failure: worth(failure) and not self._breaker.is_open(),
            patience=self._patience,
            sleep=self._sleep,
            chance=self._chance,
        )

    async def given_up(self, failure: CallFailed) -> AccountUnreadable | ApiUnreachable:
        """What it means that no attempt brought an answer: for this account, or for the run."""
        if self._breaker.is_open(exhausted=True) and not await self._shows_life():
            return ApiUnreachable(f"Cronofy cannot be reached: {failure}; check RECONCILER_CRONOFY_URL and the network")
        return errors.unreadable(failure)

    async def _shows_life(self) -> bool:
        """Ask once more what was answered last, whoever's it was: that does not depend on the accounts of the row."""
        witness = self._witness
        if witness is None or not self._breaker.may_be_the_accounts:
            return False
        async with self._asking:
            if not self._breaker.is_open(exhausted=True):
                return True
            if self._breaker.confirmed:
                return False
            await self.pace(witness.kind, witness.cost, 1)
            host = witness.url.host or ""
            try:
                async with asyncio.timeout(_SIGN_OF_LIFE_SECONDS):
                    outcome = await self._exchange(witness, host)
            except TimeoutError:
                outcome = errors.of_exception(TimeoutError(), host, witness.kind)
            if isinstance(outcome, CallFailed) and not isinstance(outcome, errors.Unusable):
                if outcome.kind == "rate_limited":
                    await self.throttled(outcome, 1)
                else:
                    self._breaker.confirmed = True
                    return False
            self._breaker.answered(host)
            return True

    async def pauses(self) -> int:
        """How many pauses any process has asked for so far."""
        return await self._pacer.pauses()

    async def pace(self, kind: Asked, cost: int, attempt: int, *, give_way: bool = False) -> bool:
        """Wait until the allowance lets a request start, and count it; see `Pacer.pace`."""
        return await self._pacer.pace(kind, cost, attempt=attempt, give_way=give_way)

    async def once(self, request: Request, account_id: AccountId, attempt: int) -> Answer:
        """Wait for the allowance, then send.

        Raises:
            CallFailed: nothing to work with came of it.
        """
        await self.pace(request.kind, request.cost, attempt)
        return await self.send(request, account_id, attempt)

    async def send(self, request: Request, account_id: AccountId, attempt: int) -> Answer:
        """Send what the allowance already lets start.

        Raises:
            CallFailed: nothing to work with came of it.
        """
        host = request.url.host or ""
        outcome = await self._exchange(request, host)
        if isinstance(outcome, Answer):
            self._breaker.answered(host)
            if outcome.ok and request.method == "GET":
                self._witness = request
            log.debug("cronofy_answered", kind=request.kind, account_id=account_id, status=outcome.status)
            return outcome
        log.debug("cronofy_failed", kind=request.kind, account_id=account_id, failure=outcome.kind)
        if outcome.kind == "rate_limited":
            self._breaker.answered(host)
            raise await self.throttled(outcome, attempt)
        if isinstance(outcome, errors.Unusable):
            self._breaker.answered(host)
        else:
            self._breaker.failed(host, account_id, outcome)
        raise outcome

    async def throttled(self, failure: CallFailed, attempt: int) -> errors.Throttled:
        """After a 429: hold everybody, and say how long; where that makes no sense, for no longer than the timeout."""
        wait = limits.pause_after_429(attempt, self._chance()) if failure.wait is None else failure.wait
        await self._pacer.hold(limits.heeded(wait, self._patience))
        return errors.Throttled(failure.kind, str(failure), wait=wait)

    async def _exchange(self, request: Request, host: str) -> Answer | CallFailed:
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                timeout=self._timeout,
                middlewares=(_sent_once,),
            ) as response:
                status = response.status
                if errors.is_success(status) and request.body_matters:
                    body = await self._whole_body(response, host, request.kind)
                else:
                    body = await self._some_body(response)
                wait = self._asked_wait(response)
                return errors.of_status(status, host, request.kind, wait) or Answer(status, host, request.kind, body)
        except CallFailed as failure:
            return failure
        except _Broken as broken:
            return errors.of_exception(broken.error, host, request.kind)
        except (aiohttp.ClientError, OSError) as error:
            return errors.of_exception(error, host, request.kind)

    def _asked_wait(self, response: aiohttp.ClientResponse) -> float | None:
        asked = response.headers.get("Retry-After")
        if asked is None:
            return None
        return limits.retry_after(asked, limits.http_date(response.headers.get("Date")) or self._clock.now())

    async def _whole_body(self, response: aiohttp.ClientResponse, host: str, asked: Asked) -> bytes:
        """An answer as it is inflated, piece by piece, so that what is too large is never held."""
        length, most = response.content_length, min(self._max_bytes, BOUNDS[asked].most_bytes)
        if length is not None and length > most:
            response.close()
            raise errors.too_large(host, asked, most)
        chunks: list[bytes] = []
        size = 0
        while chunk := await response.content.readany():
            size += len(chunk)
            if size > most:
                response.close()
                raise errors.too_large(host, asked, most)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _some_body(self, response: aiohttp.ClientResponse) -> bytes:
        """What an answer says beside its status: the status is known, so nothing here may fail or take long."""
        body = b""
        try:
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                while chunk := await response.content.readany():
                    body += chunk
                    if len(body) > _ERROR_BODY_BYTES:
                        response.close()
                        return b""
        except (aiohttp.ClientError, OSError):
            response.close()
            return b""
        return body
