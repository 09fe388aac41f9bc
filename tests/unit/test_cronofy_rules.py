"""The client's rules that need no network: where an account lives, what a failure means, when Cronofy is away."""

import errno
import socket
from datetime import date
from typing import get_args

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from reconciler.cronofy import errors
from reconciler.cronofy.breaker import Breaker
from reconciler.cronofy.hosts import Host, Hosts
from reconciler.cronofy.transport import ClientSettings
from reconciler.domain.ids import AccountId, CalendarId
from reconciler.domain.outcome import Applied, InDoubt, Rejected, Unsent
from reconciler.ports import AccountUnauthorized, AccountUnreadable, Window

ONE, TWO, THREE, FOUR = (AccountId(f"acc_{n}") for n in range(4))

# ---------------------------------------------------------------- where an account lives


@pytest.mark.parametrize(
    "data_center, host",
    [
        ("us", "api.cronofy.com"),
        ("", "api.cronofy.com"),
        (" US ", "api.cronofy.com"),
        ("uk", "api-uk.cronofy.com"),
        ("DE", "api-de.cronofy.com"),
        ("au", "api-au.cronofy.com"),
        ("ca", "api-ca.cronofy.com"),
        ("sg", "api-sg.cronofy.com"),
    ],
)
def test_every_data_center_has_its_host(data_center: str, host: str) -> None:
    found = Hosts(None).of(data_center)
    for url in (found.token, found.userinfo, found.batch, found.events(None, ()), found.upsert(CalendarId("c"))):
        assert (url.scheme, url.host) == ("https", host)


@pytest.mark.parametrize("base", [None, URL("http://127.0.0.1:8080")])
def test_an_unknown_data_center_is_named_and_so_are_the_known(base: URL | None) -> None:
    with pytest.raises(AccountUnreadable, match="data_center 'xx' is none of us uk de au ca sg") as raised:
        Hosts(base).of("xx")
    assert raised.value.kind == "unknown_data_center"


def test_a_base_url_stands_for_all_and_keeps_its_path() -> None:
    hosts = Hosts(URL("https://proxy.example/cronofy"))
    assert str(hosts.of("de").userinfo) == "https://proxy.example/cronofy/v1/userinfo"


def test_a_listing_asks_for_managed_deleted_and_moved_events() -> None:
    url = Host(URL("https://api.cronofy.com")).events(None, ())
    assert url.query_string == "tzid=Etc/UTC&only_managed=true&include_deleted=true&include_moved=true"


def test_a_window_and_calendars_narrow_it() -> None:
    window = Window(date(2026, 3, 1), date(2026, 4, 1))
    url = Host(URL("https://api.cronofy.com")).events(window, (CalendarId("cal_a@b"), CalendarId("cal_c&d=e")))
    assert list(url.query.items())[4:] == [
        ("from", "2026-03-01"),
        ("to", "2026-04-01"),
        ("calendar_ids[]", "cal_a@b"),
        ("calendar_ids[]", "cal_c&d=e"),
    ]


def test_more_calendars_than_an_address_may_hold_are_all_listed() -> None:
    calendars = [CalendarId(f"cal_{n}") for n in range(101)]
    assert "calendar_ids[]" not in Host(URL("https://api.cronofy.com")).events(None, calendars).query


@pytest.mark.parametrize(
    "address",
    [
        "https://api.cronofy.com/v1/events/pages/08a07b034306679e",
        "https://API.cronofy.com:443/v1/events/pages/a%2Fb?x=1%20",
    ],
)
def test_a_next_page_of_the_same_origin_is_followed_verbatim(address: str) -> None:
    url = Host(URL("https://api.cronofy.com")).page(address)
    assert url.raw_path_qs == address.split(".com")[1].removeprefix(":443")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/v1/events/pages/1",
        "https://api.cronofy.com.evil.example/v1",
        "https://evil.example\\@api.cronofy.com/v1",
        "https://api.cronofy.com\\@evil.example/v1",
        "https://api.cronofy.com@evil.example/v1",
        "https://user:pw@api.cronofy.com/v1",
        "https://:pw@api.cronofy.com/v1",
        "http://api.cronofy.com/v1",
        "https://api.cronofy.com:8443/v1",
        "https://api.cronofy.com:99999/v1",
        "https://api-de.cronofy.com/v1",
        "//evil.example/v1",
        "/v1/events/pages/2",
        "pages/2",
        "ftp://api.cronofy.com/v1",
        "https://api.cronofy.com/v1 HTTP/1.1\r\nX: y",
        "https://api.cronofy.com/vü",
        "https://[::1/v1",
    ],
)
def test_a_next_page_anywhere_else_is_refused(address: str) -> None:
    with pytest.raises(AccountUnreadable) as raised:
        Host(URL("https://api.cronofy.com")).page(address)
    assert raised.value.kind == "foreign_next_page"
    assert "evil" not in str(raised.value)


@pytest.mark.parametrize(
    "base_url",
    ["https://api.example", "https://api.example/x/", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:80"],
)
def test_a_base_url_may_be_https_or_on_loopback(base_url: str) -> None:
    ClientSettings("id", "secret", base_url)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.example",
        "http://api.example",
        "http://127.0.0.1.evil.example",
        "ftp://localhost",
        "https://",
        "https://u:marker@api.example",
        "https://api.example?x=1",
        "https://api.example#x",
        "https://[::1",
        "https://api.example:port",
    ],
)
def test_any_other_base_url_is_refused_without_being_quoted(base_url: str) -> None:
    with pytest.raises(ValueError, match="base URL") as raised:
        ClientSettings("id", "secret", base_url)
    assert "marker" not in str(raised.value)


@pytest.mark.parametrize("size", [0, 51])
def test_a_batch_holds_what_cronofy_allows(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 50"):
        ClientSettings("id", "secret", batch_size=size)


def test_settings_show_no_secret() -> None:
    assert "marker" not in repr(ClientSettings("id", "marker"))


# ---------------------------------------------------------------- what a failure means

PLACE = ConnectionKey("api.cronofy.com", 443, True, True, None, None, None)


def refused(number: int | None) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(PLACE, OSError(number, "marker") if number else OSError("marker"))


@pytest.mark.parametrize(
    "error, kind, failure, message",
    [
        (
            aiohttp.ConnectionTimeoutError("marker"),
            errors.NotSent,
            "unreachable",
            "no connection to Cronofy (h) in time for GET /v1/events",
        ),
        (
            refused(errno.ECONNREFUSED),
            errors.NotSent,
            "unreachable",
            "no connection to Cronofy (h) for GET /v1/events: connection refused",
        ),
        (refused(None), errors.NotSent, "unreachable", "no connection to Cronofy (h) for GET /v1/events"),
        (
            aiohttp.ClientConnectorDNSError(PLACE, socket.gaierror(-2, "marker")),
            errors.NotSent,
            "unreachable",
            "no connection to Cronofy (h) for GET /v1/events: its name is not resolved",
        ),
        (
            aiohttp.ClientConnectorCertificateError(PLACE, Exception("marker")),
            errors.NotSent,
            "unreachable",
            "no connection to Cronofy (h) with trusted TLS for GET /v1/events",
        ),
        (TimeoutError(), errors.AnswerLost, "timeout", "Cronofy (h) did not answer GET /v1/events in time"),
        (
            aiohttp.SocketTimeoutError("marker"),
            errors.AnswerLost,
            "timeout",
            "Cronofy (h) did not answer GET /v1/events in time",
        ),
        (
            aiohttp.InvalidURL("marker"),
            errors.Unusable,
            "malformed",
            "Cronofy (h) cannot be asked GET /v1/events at such an address",
        ),
        (
            aiohttp.ClientPayloadError("marker"),
            errors.AnswerLost,
            "connection_lost",
            "the connection to Cronofy (h) broke before GET /v1/events was answered wholly",
        ),
        (
            ConnectionResetError("marker"),
            errors.AnswerLost,
            "connection_lost",
            "the connection to Cronofy (h) broke before GET /v1/events was answered wholly",
        ),
    ],
)
def test_exceptions_become_our_own_in_our_own_words(
    error: aiohttp.ClientError | OSError, kind: type[errors.CallFailed], failure: str, message: str
) -> None:
    made = errors.of_exception(error, "h", "events")
    assert (type(made), made.kind, str(made)) == (kind, failure, message)


@pytest.mark.parametrize(
    "status, keys, outcome",
    [
        (200, (), Applied()),
        (202, (), Applied()),
        (302, (), InDoubt("Cronofy (h) answered 302 to POST /v1/batch")),
        (401, (), Unsent("Cronofy (h) answered 401 to POST /v1/batch")),
        (402, (), Rejected(402)),
        (403, (), Unsent("403: scope or permission missing", unauthorized=True)),
        (404, (), Rejected(404)),
        (408, (), Unsent("Cronofy (h) answered 408 to POST /v1/batch")),
        (422, ("errors.required",), Rejected(422, ("errors.required",))),
        (423, (), Rejected(423)),
        (500, (), InDoubt("Cronofy (h) answered 500 to POST /v1/batch")),
    ],
)
def test_what_became_of_a_write(status: int, keys: tuple[str, ...], outcome: object) -> None:
    assert errors.of_written(status, "h", "batch", keys, Applied()) == outcome


@pytest.mark.parametrize(
    "failure, outcome",
    [
        (errors.NotSent("unreachable", "x"), Unsent("x")),
        (errors.Throttled("rate_limited", "x"), Unsent("x")),
        (errors.AnswerLost("timeout", "x"), InDoubt("x")),
        (errors.Unusable("answer_too_large", "x"), InDoubt("x")),
    ],
)
def test_a_write_without_an_answer_is_in_doubt_unless_nothing_was_carried_out(
    failure: errors.CallFailed, outcome: object
) -> None:
    assert errors.of_unwritten(failure) == outcome


@pytest.mark.parametrize("asked", get_args(errors.Asked))
def test_every_request_has_an_endpoint_to_be_named_by(asked: errors.Asked) -> None:
    assert str(errors.of_status(503, "h", asked, None)) == f"Cronofy (h) answered 503 to {errors.ENDPOINTS[asked]}"


def test_a_refused_read_names_status_and_keys() -> None:
    assert isinstance(errors.of_refused_read(403, "h", "events"), AccountUnauthorized)
    redirected = errors.of_refused_read(302, "h", "events")
    refused_read = errors.of_refused_read(422, "h", "events", ("errors.required",))
    assert isinstance(redirected, AccountUnreadable)
    assert isinstance(refused_read, AccountUnreadable)
    assert redirected.kind == "redirected"
    assert (refused_read.kind, str(refused_read)) == (
        "refused",
        "Cronofy (h) answered 422 to GET /v1/events (errors.required)",
    )


# ---------------------------------------------------------------- when Cronofy is away

UNCONNECTED = errors.NotSent("unreachable", "x")
SILENT = errors.AnswerLost("timeout", "x")


class Ticking:
    """Monotonic time, told by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def fail(breaker: Breaker, failure: errors.CallFailed, *accounts: AccountId, times: int = 1, host: str = "us") -> None:
    for _ in range(times):
        for account in accounts:
            breaker.failed(host, account, failure)


def test_no_connection_from_the_start_is_an_outage_when_one_call_has_used_up_its_attempts() -> None:
    breaker = Breaker(Ticking())
    fail(breaker, UNCONNECTED, ONE, times=3)
    assert not breaker.is_open(exhausted=True)
    fail(breaker, UNCONNECTED, ONE)
    assert breaker.is_open(exhausted=True)
    assert not breaker.is_open()


def test_a_row_of_failures_within_an_instant_is_a_hiccup() -> None:
    ticking = Ticking()
    breaker = Breaker(ticking)
    fail(breaker, UNCONNECTED, ONE, TWO, THREE, FOUR, times=4)
    assert not breaker.is_open()
    ticking.at += 2.0
    assert breaker.is_open()


def test_a_sign_of_life_ends_the_row() -> None:
    breaker = Breaker(Ticking())
    fail(breaker, UNCONNECTED, ONE, TWO, times=7)
    breaker.answered("us")
    assert not breaker.is_open(exhausted=True)
    fail(breaker, UNCONNECTED, ONE, TWO, times=3)
    assert not breaker.is_open(exhausted=True)
    fail(breaker, UNCONNECTED, ONE, TWO)
    assert breaker.is_open(exhausted=True)


def test_one_account_alone_is_no_outage_once_anything_has_answered() -> None:
    breaker = Breaker(Ticking())
    breaker.answered("us")
    fail(breaker, UNCONNECTED, ONE, times=20)
    assert not breaker.is_open(exhausted=True)


def test_what_an_account_can_be_to_blame_for_needs_more_accounts() -> None:
    breaker = Breaker(Ticking())
    others = [AccountId(f"acc_other_{n}") for n in range(5)]
    fail(breaker, SILENT, *others, times=8)
    assert not breaker.is_open(exhausted=True)
    fail(breaker, SILENT, ONE)
    assert breaker.is_open(exhausted=True)
    breaker.answered("us")
    fail(breaker, SILENT, ONE, TWO, THREE, times=8)
    assert not breaker.is_open(exhausted=True)
    fail(breaker, SILENT, FOUR)
    assert breaker.is_open(exhausted=True)


def test_one_data_center_away_is_no_outage_while_another_lives() -> None:
    breaker = Breaker(Ticking())
    breaker.answered("us")
    fail(breaker, UNCONNECTED, ONE, TWO, THREE, FOUR, times=8, host="sg")
    assert not breaker.is_open(exhausted=True)
    fail(breaker, UNCONNECTED, ONE, host="us")
    assert breaker.is_open(exhausted=True)
