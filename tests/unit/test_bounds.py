"""How much an answer may hold before it is decoded."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cronofy.wire.bounds import BOUNDS, TooLarge, check_elements

MOST = BOUNDS["token"].most_elements


def refuses(body: bytes) -> bool:
    try:
        check_elements(body, "token")
    except TooLarge:
        return True
    return False


def elements(value: Any) -> int:
    """Objects and lists, and what stands in them beside the first."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    return 1 + max(0, len(value) - 1) + sum(elements(v) for v in value)


@pytest.mark.parametrize("element", ["{}", "[]", '""', "1", "null", '{"a":[]}', '"a,b"', "[[[]]]", r'"\\"', r'"\""'])
def test_many_small_elements_are_refused(element: str) -> None:
    assert refuses(b"[" + b",".join([element.encode()] * (MOST + 1)) + b"]")


@pytest.mark.parametrize("body", [b"[" * 10_000, b'{"a":' * 10_000, b'["","",' * 10_000])
def test_what_is_no_document_is_refused_too(body: bytes) -> None:
    assert refuses(body)


@pytest.mark.parametrize("text", ["a, b, {c} [d]", 'says "a", "b", "c"', "\\", '\\"', "\\\\,", ",\\"])
def test_texts_are_no_elements(text: str) -> None:
    body = json.dumps({"access_token": text * 5_000, "b": [text] * 20}).encode()
    assert not refuses(body)
    check_elements(body.replace(b"access_token", b""), "token")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(alphabet='a,{["\\'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='b,{["\\'), inner),
        max_leaves=30,
    ),
    st.integers(0, 40),
)
def test_elements_are_counted_exactly(value: Any, times: int) -> None:
    many = [value, ["\\,[{"] * (MOST - 60)] + [value] * times
    assert refuses(json.dumps(many).encode()) == (elements(many) > MOST)


def test_what_people_really_have_is_not_refused() -> None:
    attendee = {"email": "someone@example.com", "display_name": "Some, One", "status": "needs_action"}
    event = {**{f"field_{n}": "x" for n in range(30)}, "attendees": [attendee] * 50}
    check_elements(json.dumps({"events": [event] * 300}).encode(), "events")
    profile = {"provider_name": "zoom", "profile_id": "pro_1", "profile_name": "n", "profile_connected": True}
    check_elements(json.dumps({"cronofy.data": {"conferencing_profiles": [profile] * 10_000}}).encode(), "userinfo")
