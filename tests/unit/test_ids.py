"""Ids as people write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.ids import id_from, keys_from

ids = st.text(min_size=1)


@pytest.mark.parametrize(
    "text, meant",
    [
        ("acc_1", "acc_1"),
        (" a b ", " a b "),
        ('"acc_1"', "acc_1"),
        (r'"line\nbreak"', "line\nbreak"),
        (r'"\"quoted\""', '"quoted"'),
        ('"not closed', '"not closed'),
        ('"a" b', '"a" b'),
        ("7", "7"),
        ('"', '"'),
        ("[]", "[]"),
    ],
)
def test_an_id_stands_for_itself_or_is_a_json_string(text: str, meant: str) -> None:
    assert id_from(text) == meant


@given(ids)
def test_every_id_can_be_written(value: str) -> None:
    assert id_from(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text, meant",
    [
        ("cal/evt", {("cal", "evt")}),
        ("cal/a/b", {("cal", "a/b"), ("cal/a", "b")}),
        ("/cal//evt", {("/cal", "/evt"), ("/cal/", "evt")}),
        ('"cal/1"/"evt 2"', {("cal/1", "evt 2")}),
        ('"cal/1"/evt/2', {("cal/1", "evt/2")}),
        ('cal/"evt/2"', {("cal", "evt/2"), ('cal/"evt', '2"')}),
        ('"cal/evt"', {("cal", "evt")}),
        ('"cal/evt', {('"cal', "evt")}),
        ('"a"b/c', {('"a"b', "c")}),
    ],
)
def test_an_event_is_a_calendar_and_an_event_id(text: str, meant: set[tuple[str, str]]) -> None:
    assert {(k.calendar_id, k.event_id) for k in keys_from(text)} == meant


@pytest.mark.parametrize("text", ["", "/", "cal", "cal/", "/evt", '"cal"', '"cal"/', '""/"e"'])
def test_without_both_it_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="CALENDAR_ID/EVENT_ID"):
        keys_from(text)


@given(ids, ids)
def test_every_event_can_be_written_in_both_forms(calendar: str, event: str) -> None:
    assert [(k.calendar_id, k.event_id) for k in keys_from(f"{json.dumps(calendar)}/{json.dumps(event)}")] == [
        (calendar, event)
    ]
