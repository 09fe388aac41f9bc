"""What may go wrong with a call, by what the caller can do about it.

- Try again later: `CallFailed`, in kinds that differ in whether the call may have taken effect.
- Ask a person: `AccountUnauthorized`. Stop the run: `RunStopped`. Both are the ports' own.
- Refused for good: a `Rejected` outcome of a write, `AccountUnreadable` of a read.

Messages are made here, of fixed words, the host, the endpoint's name, the HTTP status, the number of attempts and
Cronofy's error keys; never of a body, an address or what another exception says. In particular `repr` of aiohttp's
`ClientResponseError` shows the bearer token, so its exceptions end here, and are not even chained.
"""

import os
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Literal

import aiohttp

from reconciler.domain.outcome import InDoubt, Outcome, Rejected, Unsent
from reconciler.ports import AccountUnauthorized, AccountUnreadable

Asked = Literal["events", "userinfo", "upsert", "batch", "token"]
"""What a request is for; these words are also those of the count of requests."""

ENDPOINTS: Mapping[Asked, str] = {
    "events": "GET /v1/events",
    "userinfo": "GET /v1/userinfo",
    "upsert": "POST /v1/calendars/CALENDAR_ID/events",
    "batch": "POST /v1/batch",
    "token": "POST /oauth/token",
}
"""As messages name them: without ids, pages and queries."""


class CallFailed(Exception):
    """One attempt brought no answer to work with. `kind` is a stable word; `wait` what the server asked for.

    `attempts` counts those of the call up to this one.
    """

    def __init__(self, kind: str, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.wait = wait
        self.attempts = 1

    def __str__(self) -> str:
        said = super().__str__()
        return said if self.attempts == 1 else f"{said}, {self.attempts} attempts"


class NotSent(CallFailed):
    """No connection came about: nothing was carried out."""


class Throttled(CallFailed):
    """429 or 503: answered, and nothing was carried out."""


class AnswerLost(CallFailed):
    """Sent, and the answer is missing or says nothing (500, 502, 504): it may have been carried out."""

    @property
    def timed_out(self) -> bool:
        """Whether it was waiting that was given up."""
        return self.kind == "timeout"


class Unusable(CallFailed):
    """Answered in a way that asking again would not mend; as with `AnswerLost`, it may have been carried out."""


# ---------------------------------------------------------------- from exceptions and statuses


def of_exception(error: aiohttp.ClientError | OSError, host: str, asked: Asked) -> CallFailed:
    """What an exception of aiohttp or the operating system means."""
    endpoint = ENDPOINTS[asked]
    match error:
        case aiohttp.ConnectionTimeoutError():
            return NotSent("unreachable", f"no connection to Cronofy ({host}) in time for {endpoint}")
        case aiohttp.ClientSSLError():
            return NotSent("unreachable", f"no connection to Cronofy ({host}) with trusted TLS for {endpoint}")
        case aiohttp.ClientConnectorDNSError():
            return NotSent("unreachable", f"no connection to Cronofy ({host}) for {endpoint}: its name is not resolved")
        case aiohttp.ClientConnectorError():
            return NotSent("unreachable", f"no connection to Cronofy ({host}) for {endpoint}{_why(error)}")
        case TimeoutError():
            return AnswerLost("timeout", f"Cronofy ({host}) did not answer {endpoint} in time")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Unusable("malformed", f"Cronofy ({host}) cannot be asked {endpoint} at such an address")
        case _:
            return AnswerLost(
                "connection_lost", f"the connection to Cronofy ({host}) broke before {endpoint} was answered wholly"
            )


def _why(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return f": {os.strerror(number).lower()}" if isinstance(number, int) and number > 0 else ""


def answered(status: int, host: str, asked: Asked) -> str:
    """What a message says of an answer."""
    return f"Cronofy ({host}) answered {status} to {ENDPOINTS[asked]}"


def is_success(status: int) -> bool:
    """Whether a status says that it went well."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def of_status(status: int, host: str, asked: Asked, wait: float | None) -> CallFailed | None:
    """What a status means that says to come back later; null for every other."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled("rate_limited", f"{answered(status, host, asked)} (too many requests)", wait=wait)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Throttled("server_error", answered(status, host, asked), wait=wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AnswerLost("server_error", answered(status, host, asked), wait=wait)
    return None


def too_large(host: str, asked: Asked, limit: int) -> Unusable:
    """An answer that does not end within the limit."""
    return Unusable("answer_too_large", f"Cronofy ({host}) answered more than {limit} bytes to {ENDPOINTS[asked]}")


# ---------------------------------------------------------------- to the ports' own


def unreadable(failure: CallFailed) -> AccountUnreadable:
    """What is left of a read when no attempt brought an answer."""
    return AccountUnreadable(failure.kind, str(failure))


_FORBIDDEN = "403: scope or permission missing"


def of_refused_read(
    status: int, host: str, asked: Asked, keys: Sequence[str] = ()
) -> AccountUnauthorized | AccountUnreadable:
    """What an answer below 500 that is no success means for a read."""
    if status == HTTPStatus.FORBIDDEN:
        return AccountUnauthorized(_FORBIDDEN)
    if status < HTTPStatus.BAD_REQUEST:
        return AccountUnreadable("redirected", f"{answered(status, host, asked)}; redirects are not followed")
    said = f" ({', '.join(keys)})" if keys else ""
    return AccountUnreadable("refused", f"{answered(status, host, asked)}{said}")


_PASSING = frozenset({401, 408, 425})
"""Answers below 500 to a write that say that it was not carried out and will be another time."""


def of_written(status: int, host: str, asked: Asked, keys: Sequence[str], applied: Outcome) -> Outcome:
    """What became of a write by the status of its answer: `applied` where that is a success."""
    if is_success(status):
        return applied
    if status in _PASSING:
        return Unsent(answered(status, host, asked))
    if status == HTTPStatus.FORBIDDEN:
        return Unsent(_FORBIDDEN, unauthorized=True)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Rejected(status, tuple(keys))
    return InDoubt(answered(status, host, asked))


def of_unwritten(failure: CallFailed) -> Outcome:
    """What became of a write when no attempt brought an answer."""
    match failure:
        case NotSent() | Throttled():
            return Unsent(str(failure))
        case _:
            return InDoubt(str(failure))
