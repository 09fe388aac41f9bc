"""Broken texts in answers cost no more than themselves."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.cronofy.wire.answers import EntryAnswer, read_batch, read_error_keys
from reconciler.cronofy.wire.listing import PagesRead, read_page
from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed
from reconciler.cronofy.wire.mending import MOST_BROKEN, MOST_ESCAPES, decode, is_spoilt, mended
from reconciler.cronofy.wire.tokens import Granted, read_granted, read_token_error
from reconciler.cronofy.wire.userinfo import read_userinfo
from reconciler.domain.event import Absent, Assigned
from reconciler.domain.evidence import Found, Unreadable
from reconciler.domain.ids import CalendarId, EventId, EventKey

ANY = msgspec.json.Decoder()

texts = st.text(st.characters(codec="utf-8") | st.sampled_from(' \\"/u0dD8fNaN\n\0'), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
broken_texts = st.text(st.characters() | st.sampled_from('\\"\ud83d\ude00\0\n'), max_size=12)
broken_values = st.recursive(
    st.none() | st.floats() | st.integers(-5, 5) | broken_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(broken_texts, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
@example("NaN, \\u0000 Infinity", True, None)
@example(["\\ud83d", "\\\\", '\\"', "\U0001f600\U0001f600"], True, 1)
def test_a_document_that_is_fine_stays_the_very_same(document: Any, ascii_only: bool, indent: Any) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    has_nul = rb"\u0000" in body.replace(rb"\\", b"")
    assert (mended(body) is body) != has_nul
    assert ANY.decode(mended(body)) == without_broken(document)


def without_broken(value: Any) -> Any:
    """What mending makes of a document as Python reads it: halves of pairs meet in it, as they do in the bytes."""
    match value:
        case float():
            return value if abs(value) < float("inf") else None
        case str():
            whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return whole.replace("\0", "\ufffd")
        case list():
            return [without_broken(v) for v in value]
        case dict():
            return {without_broken(k): without_broken(v) for k, v in value.items()}
        case _:
            return value


@given(broken_values)
def test_what_is_json_but_for_its_texts_is_read_with_stand_ins(document: Any) -> None:
    body = json.dumps(document).encode()
    assert ANY.decode(mended(body)) == without_broken(json.loads(body)) == decode(ANY, body)


@given(st.binary(), st.binary(), values)
def test_bytes_that_are_no_text_cost_themselves(one: bytes, other: bytes, value: Any) -> None:
    plain = bytes.maketrans(b'"\\', b"__")
    body = b'{"a":"%s","b":%s,"c":"%s"}' % (one.translate(plain), json.dumps(value).encode(), other.translate(plain))
    read = decode(ANY, body)
    assert without_broken(value) == read["b"]
    assert "\0" not in read["a"] + read["c"]
    (read["a"] + read["c"]).encode()


@given(st.binary())
def test_mending_ends_well_whatever_it_is_given(body: bytes) -> None:
    assert mended(mended(body)) == mended(body)
    if mended(body) != body:
        with pytest.raises(UNDECODABLE):
            ANY.decode(body)


@pytest.mark.parametrize(
    "body, meaning",
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\ud83d\ud83d\ude00\ude00 \uD83Dx"', "\ufffd\U0001f600\ufffd \ufffdx"),
        (rb'"a\\u0000b\\\ud83d\\\\u0000"', "a\\u0000b\\\ufffd\\\\u0000"),
        (b'"x\xff\xed\xa0\xbd"', "x\ufffd\ufffd\ufffd\ufffd"),
        (b'"a\tb\nc\x00"', "a\tb\nc\ufffd"),
        (rb'"\q \u12 \\q"', "\ufffdq \ufffdu12 \\q"),
        (rb'["NaN\"Infinity",NaN,-Infinity,Infinity]', ['NaN"Infinity', None, None, None]),
        (b"\xef\xbb\xbf[1]", [1]),
    ],
)
def test_each_kind_of_broken_text(body: bytes, meaning: Any) -> None:
    assert decode(ANY, body) == meaning


@pytest.mark.parametrize("body", [b"", b'"\\ud83d', b'{"a":"\\"}', b'{"a" 1}', b"[1,]", b"\xff", b"NaN NaN"])
def test_no_structure_is_made_up(body: bytes) -> None:
    with pytest.raises(UNDECODABLE):
        decode(ANY, body)


def test_a_stand_in_is_told_from_one_that_was_sent() -> None:
    assert is_spoilt("a\ufffd", rb'{"id":"a\ud83d"}')
    assert not is_spoilt("a\ufffd", '{"id":"a\ufffd"}'.encode())
    assert not is_spoilt("a\ufffd", rb'{"id":"a\uFFFD"}')
    assert not is_spoilt("a", rb'{"id":"a","b":"\ud83d"}')


# ---------------------------------------------------------------- in every answer

HALF = "half an emoji \ud83d"
NUL = "a\0b"
ODD: list[Any] = [HALF, NUL, "a\\u0000b", float("nan"), float("inf"), 10**400, 5, True, {"a": [HALF]}, [NUL], None]


def dumped(value: Any) -> bytes:
    """JSON as a program writes it that does not mind; `1e400` where Python would write a very long number."""
    return json.dumps(value).replace(str(10**400), "1e400").encode()


def an_event(n: int = 1, **other: Any) -> dict[str, Any]:
    times = {"start": "2026-03-02T09:00:00Z", "end": "2026-03-02T10:00:00Z"}
    return {"calendar_id": "cal_1", "event_id": f"evt-{n}", **times, **other}


def shown(*events: Any) -> dict[str, Found | Unreadable]:
    read = PagesRead()
    read.add(read_page(dumped({"pages": {"current": 1}, "events": events})))
    return {key.event_id: event for key, event in read.events.items()}


UNNEEDED = (
    "summary", "description", "event_uid", "updated", "created", "options", "attendees", "organizer", "location",
    "meeting_url", "categories", "brand_new",
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_what_no_decision_needs_of_an_event_may_be_anything(odd: Any) -> None:
    link = {"join_url": "https://z/1", "provider_name": odd, "brand_new": odd}
    read = shown(an_event(1, conferencing=link, **dict.fromkeys(UNNEEDED, odd)), an_event(2))
    first, second = read["evt-1"], read["evt-2"]
    assert isinstance(first, Found)
    assert isinstance(first.conferencing, Assigned)
    assert first.conferencing.join_url == "https://z/1"
    assert isinstance(second, Found)
    assert second.conferencing == Absent()


def test_a_page_may_hold_anything_beside_its_events() -> None:
    page = {"pages": {"current": HALF, "next_page": "https://x/2"}, "events": [an_event()], "brand_new": float("nan")}
    assert read_page(dumped(page)).next_page == "https://x/2"


@pytest.mark.parametrize(
    "bad",
    [{"start": "2026-03-02T09:00:00Z\0"}, {"end": HALF}, {"status": "cancelled\0"}, {"deleted": HALF}],
    ids=repr,
)
def test_what_is_needed_and_broken_costs_its_event_alone(bad: dict[str, Any]) -> None:
    read = shown(an_event(1, **bad), an_event(2))
    assert isinstance(read["evt-1"], Unreadable)
    assert isinstance(read["evt-2"], Found)


@pytest.mark.parametrize("broken", [{"event_id": "evt\ud83d"}, {"calendar_id": "cal\0"}], ids=repr)
@pytest.mark.parametrize("slow", [False, True])
def test_an_id_that_lost_a_character_is_nobody_elses(broken: dict[str, str], slow: bool) -> None:
    others = [an_event(2, deleted="odd")] if slow else []
    page = read_page(dumped({"events": [an_event(1, **broken), an_event(3), *others]}))
    ((_, first), (_, second), *_) = page.events
    assert isinstance(first, Unreadable)
    assert not isinstance(second, Unreadable)


def test_an_id_that_the_application_made_with_a_stand_in_is_its_own() -> None:
    page = read_page(dumped({"events": [an_event(event_id="evt\ufffd", summary=HALF)]}))
    read = PagesRead()
    read.add(page)
    assert isinstance(read.events[EventKey(CalendarId("cal_1"), EventId("evt\ufffd"))], Found)


def a_userinfo(profile: dict[str, Any], calendar: dict[str, Any]) -> bytes:
    calendars = {"profile_id": "pro_c", "profile_calendars": [{"calendar_id": "cal_1", **calendar}]}
    data = {"profiles": [calendars], "conferencing_profiles": [{"profile_id": "pro_1", **profile}]}
    return dumped({"sub": "acc_1", "name": HALF, "email": NUL, "cronofy.data": data})


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_what_no_decision_needs_of_a_roster_may_be_anything(odd: Any) -> None:
    body = a_userinfo(
        {"profile_connected": True, "profile_name": odd, "provider_name": odd, "profile_relink_url": odd, "new": odd},
        {"calendar_name": odd, "permission_level": odd, "new": odd},
    )
    roster = read_userinfo(body)
    (profile,) = roster.conferencing
    assert profile.profile_id == "pro_1"
    assert profile.connected
    assert roster.calendars is not None
    stored = f"{profile.provider_name}{profile.profile_name}{roster.relink_urls}"
    assert "\0" not in stored
    assert stored.encode()


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    body = a_userinfo({"profile_id": "a\\u0000b", "profile_connected": True}, {})
    assert read_userinfo(body).conferencing[0].profile_id == "a\\u0000b"


@pytest.mark.parametrize(
    "profile, calendar",
    [
        ({"profile_id": "pro_\ud83d"}, {}),
        ({"profile_id": "pro_\0"}, {}),
        ({"profile_id": None}, {}),
        ({"profile_connected": 1}, {}),
        ({}, {"calendar_id": "cal\0"}),
        ({}, {"calendar_readonly": "no"}),
    ],
    ids=repr,
)
def test_a_roster_whose_ids_or_states_cannot_be_read_is_none(profile: Any, calendar: Any) -> None:
    with pytest.raises(Malformed):
        read_userinfo(a_userinfo(profile, calendar))


def test_a_profile_that_says_nothing_but_an_odd_relink_address_is_not_connected() -> None:
    assert not read_userinfo(a_userinfo({"profile_relink_url": 5}, {})).conferencing[0].connected


@pytest.mark.parametrize("odd", [*ODD, {"status": HALF}, {"status": 10**400}], ids=repr)
def test_an_entry_of_a_batch_that_cannot_be_read_is_that_entrys_affair(odd: Any) -> None:
    refused = {"status": 422, "data": {"errors": {"summary": [{"key": "errors.required", "description": HALF}]}}}
    body = dumped({"batch": [{"status": 202, "headers": odd, "data": odd}, odd, refused], "new": odd})
    assert read_batch(body) == [
        EntryAnswer(202, ()),
        EntryAnswer(None, ()),
        EntryAnswer(422, ("errors.required",)),
    ]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_error_keys_are_read_beside_anything(odd: Any) -> None:
    errors = {"tzid": odd, HALF: [odd], "start": [odd, {"key": "errors.required", "description": odd}]}
    assert read_error_keys(dumped({"errors": errors, "new": odd})) == ("errors.required",)
    assert read_token_error(dumped({"error": "invalid_grant", "error_description": odd})) == "invalid_grant"


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd not in (5, True)], ids=repr)
def test_tokens_are_kept_whatever_stands_beside_them(odd: Any) -> None:
    answer = {"access_token": "a", "refresh_token": "r", "expires_in": odd, "scope": odd, "new": odd}
    assert read_granted(dumped(answer)) == Granted("a", "r", None)


@pytest.mark.parametrize("odd", [HALF, NUL, "", 5, None, {}, float("nan")], ids=repr)
def test_one_token_that_cannot_be_used_leaves_the_other(odd: Any) -> None:
    assert read_granted(dumped({"access_token": odd, "refresh_token": "r"})) == Granted(None, "r", None)
    assert read_granted(dumped({"access_token": "a", "refresh_token": odd})) == Granted("a", None, None)
    with pytest.raises(Malformed):
        read_granted(dumped({"access_token": odd, "refresh_token": odd}))


@pytest.mark.parametrize("access", ["a\nb", "ä", " \x7f"])
def test_an_access_token_that_no_header_holds_cannot_be_used(access: str) -> None:
    assert read_granted(dumped({"access_token": access, "refresh_token": "r"})).access is None


@pytest.mark.parametrize(
    "broken, most",
    [
        (rb"\ud83d", MOST_BROKEN),
        (rb"\u0000", MOST_BROKEN),
        (b"\x01", MOST_BROKEN),
        (b"\xff", MOST_BROKEN),
        (rb"\n", MOST_ESCAPES),
    ],
)
def test_what_is_broken_all_over_is_not_mended(broken: bytes, most: int) -> None:
    half = rb"\ud83d"
    decode(ANY, b'"' + broken * (most - 1) + half + b'"')
    with pytest.raises(UNDECODABLE):
        decode(ANY, b'"' + broken * (most + 1) + half + b'"')
