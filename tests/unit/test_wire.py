"""JSON as Cronofy speaks it, to and from domain values."""

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cronofy.wire.answers import EntryAnswer, read_batch, read_error_keys
from reconciler.cronofy.wire.listing import Page, PagesRead, read_page
from reconciler.cronofy.wire.malformed import Malformed
from reconciler.cronofy.wire.stored_bodies import stored_body
from reconciler.cronofy.wire.tokens import Granted, read_granted, read_token_error, refresh_body
from reconciler.cronofy.wire.upserts import batch_body, events_path, upsert_body
from reconciler.cronofy.wire.userinfo import read_userinfo
from reconciler.domain.event import NO_BODY, Absent, Assigned, BodyState, Conferencing, Pending, StoredBody
from reconciler.domain.evidence import Found, Unreadable
from reconciler.domain.ids import CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.remedy import Drift
from reconciler.domain.roster import Calendar, CalendarProfile, ConferencingProfile, Roster
from reconciler.domain.times import AllDay, EventTime, Instant, parse_event_time
from reconciler.ports import UpsertRequest

KEY = EventKey(CalendarId("cal_1"), EventId("evt-1"))
NINE = Instant(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
TEN = Instant(datetime(2026, 3, 2, 10, 0, tzinfo=UTC))


def an_event(**other: Any) -> dict[str, Any]:
    return {
        "calendar_id": "cal_1",
        "event_id": "evt-1",
        "start": "2026-03-02T09:00:00Z",
        "end": "2026-03-02T10:00:00Z",
        "updated": "2026-03-01T00:00:00Z",
        **other,
    }


def a_page(*events: Any, **other: Any) -> bytes:
    return json.dumps({"pages": {"current": 1, "total": 1}, "events": list(events), **other}).encode()


def read_one(**other: Any) -> Found | Unreadable:
    ((key, read_back),) = read_all(a_page(an_event(**other))).items()
    assert key == KEY
    return read_back


def read_all(*pages: bytes) -> Mapping[EventKey, Found | Unreadable]:
    read = PagesRead()
    for page in pages:
        read.add(read_page(page))
    return read.events


def read_found(**other: Any) -> Found:
    read = read_one(**other)
    assert isinstance(read, Found)
    return read


# ---------------------------------------------------------------- listings


@pytest.mark.parametrize(
    "shape, meaning",
    [
        (None, Absent()),
        ({}, Absent()),
        ({"pending": False}, Absent()),
        ({"pending": None}, Absent()),
        ({"join_url": ""}, Absent()),
        ({"join_url": "  "}, Absent()),
        ({"join_url": None, "provider_name": None}, Absent()),
        ({"pending": True}, Pending()),
        ({"pending": True, "join_url": ""}, Pending()),
        ({"pending": True, "join_url": None}, Pending()),
        ({"provider_name": "zoom", "join_url": "https://z/1"}, Assigned("https://z/1", "zoom")),
        ({"provider_name": None, "join_url": "https://z/1"}, Assigned("https://z/1", None)),
        ({"join_url": "https://z/1", "new": [1]}, Assigned("https://z/1", None)),
        ({"provider_name": "tomorrow's", "join_url": "https://z/1"}, Assigned("https://z/1", "tomorrow's")),
        ({"pending": True, "join_url": "https://z/1"}, Assigned("https://z/1", None)),
    ],
)
def test_conferencing_is_absent_pending_or_assigned(shape: Any, meaning: Conferencing) -> None:
    assert read_found(conferencing=shape).conferencing == meaning


def test_conferencing_is_absent_where_the_key_is() -> None:
    assert read_found().conferencing == Absent()


@pytest.mark.parametrize(
    "said",
    [
        {"status": "cancelled"},
        {"status": "CANCELLED"},
        {"status": "canceled"},
        {"status": "Canceled "},
        {"event_status": "cancelled"},
        {"event_status": "CANCELED"},
    ],
)
def test_an_event_is_cancelled_however_that_is_spelt(said: dict[str, str]) -> None:
    assert read_found(**said).cancelled
    assert not read_found(status="confirmed", event_status="tentative").cancelled


def test_what_postgres_cannot_store_is_replaced() -> None:
    linked = read_found(conferencing={"join_url": "https://z/1\0", "provider_name": "zo\0om"}).conferencing
    assert linked == Assigned("https://z/1\ufffd", "zo\ufffdom")


@pytest.mark.parametrize(
    "value, time, text",
    [
        ("2026-03-02T09:00:00Z", NINE, "2026-03-02T09:00:00Z"),
        ("2026-03-02 09:00:00Z", NINE, "2026-03-02 09:00:00Z"),
        ("2026-03-02T09:00:00.000Z", NINE, "2026-03-02T09:00:00.000Z"),
        ("2026-03-02T09:00:00 UTC", NINE, "2026-03-02T09:00:00 UTC"),
        ("2026-03-02t09:00:00z", NINE, "2026-03-02T09:00:00Z"),
        ("2026-03-02T09:00:00z", NINE, "2026-03-02T09:00:00Z"),
        ("2026-03-02t10:00:00+01:00", NINE, "2026-03-02T10:00:00+01:00"),
        ("2026-03-02 09:00:00 utc", NINE, "2026-03-02 09:00:00 UTC"),
        ("2026-03-02T10:00:00+01:00", NINE, "2026-03-02T10:00:00+01:00"),
        ("2026-03-02T09:00:00", NINE, "2026-03-02T09:00:00Z"),
        ("2026-03-02", AllDay(date(2026, 3, 2)), "2026-03-02"),
        ({"time": "2026-03-02T10:00:00+01:00", "tzid": "Europe/Paris"}, NINE, "2026-03-02T10:00:00+01:00"),
        ({"time": "2026-03-02T10:00:00", "tzid": "Europe/Paris"}, NINE, "2026-03-02T09:00:00Z"),
        ({"time": "2026-03-02T09:00:00"}, NINE, "2026-03-02T09:00:00Z"),
        ({"time": "2026-03-02t09:00:00z", "tzid": "Europe/Paris"}, NINE, "2026-03-02T09:00:00Z"),
        ({"time": "2026-03-02", "tzid": "Europe/Paris"}, AllDay(date(2026, 3, 2)), "2026-03-02"),
    ],
)
def test_times_are_read_and_kept_as_a_text_that_means_the_same_anywhere(value: Any, time: EventTime, text: str) -> None:
    found = read_found(start=value, end=value)
    assert (found.start, found.start_text) == (time, text)
    assert (found.end, found.end_text) == (time, text)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - made aware below
def test_the_quick_way_of_reading_times_agrees_with_the_full_one(moment: datetime) -> None:
    text = moment.replace(microsecond=0).isoformat() + "Z"
    found = read_found(start=text)
    assert (found.start, found.start_text) == (parse_event_time(text), text)


@pytest.mark.parametrize(
    "bad",
    [
        {"start": None},
        {"end": None},
        {"start": ""},
        {"start": "secret-lunch"},
        {"end": "2026-13-02T09:00:00Z"},
        {"start": {"time": "2026-03-02T09:00:00", "tzid": "secret/nowhere"}},
        {"start": 1772442000},
        {"start": {"tzid": "Europe/Paris"}},
        {"end": ["2026-03-02"]},
        {"conferencing": "secret"},
        {"conferencing": {"pending": "secret"}},
        {"conferencing": {"join_url": 5}},
        {"deleted": "secret"},
        {"status": 3},
    ],
)
def test_an_event_that_cannot_be_read_costs_itself_alone_and_shows_nothing(bad: dict[str, Any]) -> None:
    read = read_all(a_page(an_event(**bad), an_event(event_id="evt-2")))
    broken = read[KEY]
    assert isinstance(broken, Unreadable)
    assert broken.kind == "event_malformed"
    assert "secret" not in broken.message
    assert isinstance(read[EventKey(KEY.calendar_id, EventId("evt-2"))], Found)


def test_an_event_without_times_at_all_is_malformed() -> None:
    assert list(read_all(a_page({"calendar_id": "cal_1", "event_id": "evt-1"})).values()) == [
        Unreadable("event_malformed", "start or end is missing or is no date or time")
    ]


@pytest.mark.parametrize("odd", [None, 5, {"start": 5}], ids=str)
def test_events_that_are_not_ours_are_left_out_in_the_quick_way_and_the_slow(odd: Any) -> None:
    others: list[Any] = [
        an_event(event_id=None),
        an_event(event_id=""),
        an_event(calendar_id=None),
        {"event_uid": "evt_external_1", "start": "2026-03-02"},
    ]
    if odd is not None:
        others += [odd]
    assert list(read_all(a_page(*others, an_event()))) == [KEY]


def test_unknown_fields_are_skipped_wherever_they_stand() -> None:
    event = an_event(summary="x", attendees=[{"email": "a@b.c"}], options={"delete": True}, brand_new={"a": [1.5]})
    page = read_page(a_page(event, brand_new=1, pages={"current": 1, "brand_new": {}}))
    assert len(page.events) == 1


@pytest.mark.parametrize(
    "value, uid",
    [
        ("evt_external_54008b1a4a41730f8d5c6037", "evt_external_54008b1a4a41730f8d5c6037"),
        (None, None),
        ("", None),
        (7, None),
        ({"id": 1}, None),
        ("evt\x00", None),
        ("x" * 300, None),
    ],
)
def test_cronofys_own_id_is_taken_where_it_is_one_and_spoils_nothing_else(value: object, uid: str | None) -> None:
    assert read_found(event_uid=value).event_uid == uid
    assert read_found().event_uid is None


@pytest.mark.parametrize(
    "fields, deleted, cancelled",
    [
        ({}, False, False),
        ({"deleted": None, "status": None}, False, False),
        ({"deleted": False, "status": "confirmed"}, False, False),
        ({"deleted": True}, True, False),
        ({"status": "cancelled"}, False, True),
        ({"status": "brand_new"}, False, False),
    ],
)
def test_deleted_and_cancelled_are_told(fields: dict[str, Any], deleted: bool, cancelled: bool) -> None:
    found = read_found(**fields)
    assert (found.deleted, found.cancelled) == (deleted, cancelled)


@pytest.mark.parametrize(
    "pages, next_page",
    [
        ({"pages": {"next_page": "https://api/x"}}, "https://api/x"),
        ({"pages": {"next_page": ""}}, None),
        ({"pages": {"next_page": None}}, None),
        ({"pages": {}}, None),
        ({"pages": None}, None),
    ],
)
def test_the_next_page_may_be_absent_null_or_empty(pages: dict[str, Any], next_page: str | None) -> None:
    assert read_page(a_page(**pages)).next_page == next_page
    assert read_page(a_page(7, **pages)).next_page == next_page


def test_a_page_needs_no_pages() -> None:
    assert read_page(b'{"events":[]}') == Page([], None, 0)


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"5",
    b"{}",
    b"<html>secret</html>",
    b'{"events":null}',
    b'{"events":{"a":"secret"}}',
    b'{"events":[], "pages":"secret"}',
    b'{"events":[',
    b'{"events":[{}]} trailing',
    b'{"events":' + b"[" * 200_000,
    b'{"batch":' + b"[" * 200_000,
    b'{"errors":' + b"[" * 200_000,
    b"\xff\xfe\x00",
    b'{"error":"\xff"}',
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:20]))
def test_hostile_answers_are_malformed_and_quoted_nowhere(body: bytes) -> None:
    for read in (read_page, read_userinfo, read_batch, read_granted):
        with pytest.raises(Malformed) as raised:
            read(body)
        assert "secret" not in str(raised.value)
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert read_error_keys(body) == ()
    assert read_token_error(body) is None


@given(st.binary())
def test_no_bytes_get_past_the_readers(body: bytes) -> None:
    read_error_keys(body)
    read_token_error(body)
    for read in (read_page, read_userinfo, read_batch, read_granted):
        with contextlib.suppress(Malformed):
            read(body)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["start", "end", "deleted", "status", "updated", "conferencing"]), anything))
def test_whatever_an_event_holds_it_is_found_or_unreadable(fields: dict[str, Any]) -> None:
    assert isinstance(read_one(**fields), Found | Unreadable)


@pytest.mark.parametrize(
    "first, second, stays",
    [
        ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "second"),
        ("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z", "first"),
        ("2026-03-02T00:00:00Z", "2026-03-02T00:30:00+01:00", "first"),
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", "second"),
        ("2026-03-02T00:00:00Z", None, "second"),
        (None, "2026-03-01T00:00:00Z", "second"),
        ("2026-03-02T00:00:00Z", "rubbish", "second"),
        ("2026-03-02", "2026-03-01", "second"),
        ("2026-03-02T00:00:00Z", "2026-03-01", "second"),
    ],
)
def test_of_an_event_listed_twice_the_later_change_stays_else_the_later_page(
    first: str | None, second: str | None, stays: str
) -> None:
    urls = {"first": {"join_url": "https://first"}, "second": {"join_url": "https://second"}}
    pages = [
        a_page(an_event(updated=updated, conferencing=urls[which]))
        for which, updated in (("first", first), ("second", second))
    ]
    (entry,) = read_all(*pages).values()
    assert isinstance(entry, Found)
    assert entry.conferencing == Assigned(f"https://{stays}", None)


def test_entries_under_one_key_are_read_together_on_one_page_and_across_pages() -> None:
    week_later = {"start": "2026-03-09T09:00:00Z", "end": "2026-03-09T10:00:00Z"}
    first, second = an_event(conferencing={"pending": True}, recurring=True), an_event(**week_later, deleted=True)
    for pages in ((a_page(first, second),), (a_page(second), a_page(first))):
        (entry,) = read_all(*pages).values()
        assert isinstance(entry, Found)
        assert (entry.start, entry.conferencing, entry.deleted) == (NINE, Pending(), False)
        assert entry.times_differ
        assert entry.repeats


def test_an_entry_listed_twice_is_one() -> None:
    (entry,) = read_all(a_page(an_event(), an_event()), a_page(an_event())).values()
    assert entry == read_one()


def test_a_copy_that_cannot_be_read_may_have_had_a_link() -> None:
    linked = an_event(conferencing={"join_url": "https://z/1"})
    assert isinstance(read_all(a_page(an_event(), an_event(start=5)))[KEY], Unreadable)
    assert isinstance(read_all(a_page(linked, an_event(start=5)))[KEY], Found)


# ---------------------------------------------------------------- userinfo

CALENDAR_PROFILE = {
    "provider_name": "google",
    "provider_service": "gsuite",
    "profile_id": "pro_g",
    "profile_name": "jane@example.com",
    "profile_connected": True,
    "profile_calendars": [
        {
            "calendar_id": "cal_g_1",
            "calendar_name": "Home",
            "calendar_readonly": False,
            "calendar_deleted": False,
            "calendar_primary": True,
            "calendar_integrated_conferencing_available": True,
        },
        {"calendar_id": "cal_g_2", "calendar_readonly": True, "calendar_deleted": True},
    ],
}
ZOOM = {"provider_name": "zoom", "profile_id": "pro_z", "profile_name": "Jane", "profile_connected": True}
GO_TO = {
    "provider_name": "go_to",
    "profile_id": "pro_o",
    "profile_connected": False,
    "profile_relink_url": "https://app.cronofy.com/v2/relink/go_to?email=jane",
}


def a_userinfo(**data: Any) -> bytes:
    return json.dumps({"sub": "acc_1", "cronofy.type": "account", "cronofy.data": data}).encode()


def test_userinfo_becomes_a_roster() -> None:
    body = a_userinfo(
        authorization={"scope": "read_write"}, profiles=[CALENDAR_PROFILE], conferencing_profiles=[ZOOM, GO_TO]
    )
    assert read_userinfo(body) == Roster(
        conferencing=(
            ConferencingProfile(ProfileId("pro_z"), "zoom", "Jane", connected=True),
            ConferencingProfile(ProfileId("pro_o"), "go_to", None, connected=False),
        ),
        calendar_profiles=(CalendarProfile(ProfileId("pro_g"), "google", connected=True),),
        calendars=(
            Calendar(CalendarId("cal_g_1"), ProfileId("pro_g"), readonly=False, deleted=False, integrated=True),
            Calendar(CalendarId("cal_g_2"), ProfileId("pro_g"), readonly=True, deleted=True, integrated=None),
        ),
        relink_urls={ProfileId("pro_o"): "https://app.cronofy.com/v2/relink/go_to?email=jane"},
    )


@pytest.mark.parametrize("data", [{}, {"profiles": None, "conferencing_profiles": None}])
def test_no_conferencing_profiles_are_none_and_no_profiles_say_nothing_of_calendars(data: dict[str, Any]) -> None:
    assert read_userinfo(a_userinfo(**data)) == Roster((), (), None, {})


def test_an_empty_list_of_profiles_says_that_there_are_no_calendars() -> None:
    assert read_userinfo(a_userinfo(profiles=[])).calendars == ()


def test_a_profile_may_list_no_calendars_and_name_no_provider() -> None:
    roster = read_userinfo(a_userinfo(profiles=[{"profile_id": "pro_g", "profile_connected": False}]))
    assert roster.calendars == ()
    assert roster.calendar_profiles == (CalendarProfile(ProfileId("pro_g"), "unknown", connected=False),)


@pytest.mark.parametrize("relink_url, connected", [(None, True), ("", True), ("https://relink", False)])
def test_a_profile_that_does_not_say_is_connected_unless_it_can_be_relinked(
    relink_url: str | None, connected: bool
) -> None:
    profile = {"profile_id": "pro_z", "provider_name": "zoom", "profile_relink_url": relink_url}
    (read,) = read_userinfo(a_userinfo(conferencing_profiles=[profile])).conferencing
    assert read.connected is connected


@pytest.mark.parametrize(
    "data",
    [
        {"conferencing_profiles": [ZOOM, {"provider_name": "zoom"}]},
        {"conferencing_profiles": [ZOOM, "secret"]},
        {"conferencing_profiles": {"secret": 1}},
        {"profiles": [{**CALENDAR_PROFILE, "profile_calendars": [{"calendar_name": "secret"}]}]},
        {"profiles": [{**CALENDAR_PROFILE, "profile_connected": "secret"}]},
    ],
)
def test_half_a_roster_is_none_because_a_profile_left_out_would_look_removed(data: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as raised:
        read_userinfo(a_userinfo(**data))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("body", [b'{"sub":"ser_1"}', b'{"cronofy.data":null}'])
def test_a_userinfo_without_data_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_userinfo(body)


# ---------------------------------------------------------------- upserts


def a_request(body: str, drift: Drift | None = None, profile_id: str = "pro_new") -> UpsertRequest:
    return UpsertRequest(KEY, body, ProfileId(profile_id), drift)


def test_an_upsert_changes_the_profile_and_nothing_else_not_even_a_byte() -> None:
    stored = (
        '{"event_id": "evt-1", "summary": "Gespräch 💬 \\u00e9\\n", "rate": 1.10, "huge": 1e400,'
        ' "long": 12345678901234567890123, "start": {"time": "2026-03-02T10:00:00", "tzid": "Europe/Paris"},'
        ' "nested": {"b": [1,  2], "a": null}, "conferencing": {"profile_id": "pro_old", "extra": 1.0},'
        ' "end": "2026-03-02"}'
    )
    assert upsert_body(a_request(stored)).decode() == (
        '{"event_id":"evt-1","summary":"Gespräch 💬 \\u00e9\\n","rate":1.10,"huge":1e400,'
        '"long":12345678901234567890123,"start":{"time": "2026-03-02T10:00:00", "tzid": "Europe/Paris"},'
        '"nested":{"b": [1,  2], "a": null},"conferencing":{"profile_id":"pro_new","extra":1.0},'
        '"end":"2026-03-02"}'
    )


def test_a_drift_replaces_the_times_too() -> None:
    stored = '{"event_id":"evt-1","start":{"time":"2026-03-02T10:00:00","tzid":"Europe/Paris"},"end":"x","z":0.10}'
    sent = upsert_body(a_request(stored, Drift("2026-03-09T09:00:00Z", "2026-03-09T10:00:00Z")))
    assert sent == (
        b'{"event_id":"evt-1","start":"2026-03-09T09:00:00Z","end":"2026-03-09T10:00:00Z","z":0.10,'
        b'"conferencing":{"profile_id":"pro_new"}}'
    )


@pytest.mark.parametrize("conferencing", ["", ',"conferencing":null', ',"conferencing":{}'])
def test_conferencing_is_made_where_there_is_none(conferencing: str) -> None:
    sent = json.loads(upsert_body(a_request(f'{{"event_id":"evt-1"{conferencing}}}', profile_id="default")))
    assert sent == {"event_id": "evt-1", "conferencing": {"profile_id": "default"}}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "secret",
        '{"event_id":"evt-1"',
        '{"event_id":"secret"}',
        '{"event_id":null}',
        '{"event_id":1}',
        "{}",
        '{"event_id":"evt-1","conferencing":"secret"}',
        '{"event_id":"evt-1","conferencing":[]}',
        '{"event_id":"evt-1","x":"\ud800"}',
    ],
)
def test_a_body_that_is_no_object_or_would_write_another_event_is_not_sent(body: str) -> None:
    with pytest.raises(Malformed) as raised:
        upsert_body(a_request(body))
    assert "secret" not in str(raised.value)


@given(st.dictionaries(st.text(), anything), st.booleans())
def test_whatever_a_body_holds_only_what_must_differ_differs(body: dict[str, Any], ascii_only: bool) -> None:
    body["event_id"] = "evt-1"
    body.pop("conferencing", None)
    try:
        text = json.dumps(body, ensure_ascii=ascii_only)
        text.encode()
    except UnicodeEncodeError:
        return
    try:
        sent = json.loads(upsert_body(a_request(text)))
    except Malformed:
        assert "\\ud" in text.lower()  # half a character: no text, and Postgres would not have stored it
        return
    assert sent == {**json.loads(text), "conferencing": {"profile_id": "pro_new"}}


def test_calendar_ids_are_percent_encoded_in_paths() -> None:
    path = events_path(CalendarId("cal_U9@AB/../x?y_-ü"))
    assert path == "/v1/calendars/cal_U9%40AB%2F..%2Fx%3Fy_-%C3%BC/events"


def test_a_batch_embeds_the_bodies_as_they_are() -> None:
    body = batch_body([(CalendarId("cal@1"), b'{"a":1.10}'), (CalendarId("cal_2"), '{"b":"ü"}'.encode())])
    assert body.decode() == (
        '{"batch":[{"method":"POST","relative_url":"/v1/calendars/cal%401/events","data":{"a":1.10}},'
        '{"method":"POST","relative_url":"/v1/calendars/cal_2/events","data":{"b":"ü"}}]}'
    )


def test_the_answers_of_a_batch_keep_their_order_and_their_keys() -> None:
    errors = {"errors": {"summary": [{"key": "errors.required", "description": "secret"}]}}
    answer = {"batch": [{"status": 202}, {"status": 422, "data": errors, "headers": {}}, {"status": 429, "data": None}]}
    assert read_batch(json.dumps(answer).encode()) == [
        EntryAnswer(202, ()),
        EntryAnswer(422, ("errors.required",)),
        EntryAnswer(429, ()),
    ]


def test_error_keys_are_collected_once_and_anything_odd_is_passed_over() -> None:
    errors = {
        "summary": [{"key": "errors.required"}, {"key": "errors.required", "description": "x"}],
        "conferencing.profile_id": [{"key": "errors.not_recognized"}, {"description": "no key"}, "odd", 5],
        "x": [{"key": "jane@example.com <secret>"}, {"key": ""}, {"key": 5}],
    }
    body = json.dumps({"errors": errors}).encode()
    assert read_error_keys(body) == ("errors.required", "errors.not_recognized")


def test_no_answer_brings_endless_keys() -> None:
    body = json.dumps({"errors": {"x": [{"key": f"errors.k{n}"} for n in range(500)]}}).encode()
    assert len(read_error_keys(body)) == 20


# ---------------------------------------------------------------- stored bodies

USABLE = {"event_id": "evt-1", "start": "2026-03-02T09:00:00Z", "end": "2026-03-02T10:00:00Z"}


@pytest.mark.parametrize(
    "location, named",
    [
        ('{"description": "Room 4"}', True),
        ('{"description": "Room 4", "lat": "1", "long": 2, "x": [1]}', True),
        ('{"description": "  "}', False),
        ('{"description": ""}', False),
        ('{"description": null}', False),
        ('{"description": "{{ cronofy.conferencing.join_url }}"}', False),
        ('{"lat": "1"}', False),
        ("null", False),
        ('"Room 4"', False),
        ('{"description": 4}', False),
    ],
)
def test_a_place_of_its_own_in_a_stored_body_is_seen(location: str, named: bool) -> None:
    times = '"start": "2026-03-05", "end": "2026-03-06"'
    body = stored_body(f'{{"event_id": "evt-1", {times}, "location": {location}}}', EventId("evt-1"))
    assert (body.state, body.sets_location) == (BodyState.USABLE, named)


@pytest.mark.parametrize(
    "text, meaning",
    [
        (None, NO_BODY),
        ("", StoredBody(BodyState.NOT_AN_OBJECT)),
        ("null", StoredBody(BodyState.NOT_AN_OBJECT)),
        ('["evt-1"]', StoredBody(BodyState.NOT_AN_OBJECT)),
        ("{}", StoredBody(BodyState.OTHER_EVENT)),
        ('{"event_id":7}', StoredBody(BodyState.OTHER_EVENT)),
        ('{"event_id":"evt-2"}', StoredBody(BodyState.OTHER_EVENT)),
        ('{"event_id":"evt-1"}', StoredBody(BodyState.TIMES_UNREADABLE)),
        (json.dumps(USABLE), StoredBody(BodyState.USABLE, NINE, TEN)),
        (json.dumps({**USABLE, "tzid": 5}), StoredBody(BodyState.USABLE, NINE, TEN)),
        (json.dumps({**USABLE, "tzid": "Europe/Paris"}), StoredBody(BodyState.USABLE, NINE, TEN, "Europe/Paris")),
        (json.dumps({**USABLE, "recurrence": {"rule": 1}}), StoredBody(BodyState.USABLE, NINE, TEN, recurs=True)),
        (json.dumps({**USABLE, "recurrence": None}), StoredBody(BodyState.USABLE, NINE, TEN)),
        (json.dumps({**USABLE, "start": 5}), StoredBody(BodyState.TIMES_UNREADABLE)),
        (
            json.dumps({**USABLE, "end": "later", "tzid": "Europe/Paris"}),
            StoredBody(BodyState.TIMES_UNREADABLE, tzid="Europe/Paris"),
        ),
        (
            json.dumps({**USABLE, "start": "2026-03-02T10:00:00", "tzid": "Europe/Paris"}),
            StoredBody(BodyState.USABLE, NINE, TEN, "Europe/Paris"),
        ),
        (
            json.dumps({**USABLE, "start": {"time": "2026-03-02T10:00:00", "tzid": "Europe/Paris"}}),
            StoredBody(BodyState.USABLE, NINE, TEN, "Europe/Paris"),
        ),
        (
            json.dumps({**USABLE, "start": {"time": "2026-03-02T10:00:00"}, "tzid": "Europe/Paris"}),
            StoredBody(BodyState.USABLE, NINE, TEN, "Europe/Paris"),
        ),
        (
            json.dumps({**USABLE, "start": "2026-03-02T10:00:00", "tzid": "Europe/Nowhere"}),
            StoredBody(BodyState.ZONE_UNKNOWN, tzid="Europe/Nowhere"),
        ),
        (json.dumps({**USABLE, "tzid": "Europe/Nowhere"}), StoredBody(BodyState.ZONE_UNKNOWN, tzid="Europe/Nowhere")),
        (
            json.dumps({**USABLE, "end": {"time": "2026-03-02T10:00:00Z", "tzid": "Mars/Olympus"}}),
            StoredBody(BodyState.ZONE_UNKNOWN),
        ),
    ],
)
def test_a_stored_body_is_read_as_far_as_a_decision_needs(text: str | None, meaning: StoredBody) -> None:
    assert stored_body(text, EventId("evt-1")) == meaning


@given(st.text())
def test_every_stored_text_has_a_state(text: str) -> None:
    assert stored_body(text, EventId("evt-1")).state in BodyState


# ---------------------------------------------------------------- tokens


def test_a_refresh_is_asked_for_in_json() -> None:
    assert json.loads(refresh_body("id", "secret", "ref/ü")) == {
        "client_id": "id",
        "client_secret": "secret",
        "grant_type": "refresh_token",
        "refresh_token": "ref/ü",
    }


@pytest.mark.parametrize(
    "answer, granted",
    [
        ({"access_token": "a", "refresh_token": "r", "expires_in": 3600}, Granted("a", "r", 3600)),
        ({"access_token": "a"}, Granted("a", None, None)),
        ({"access_token": "a", "refresh_token": "", "expires_in": None}, Granted("a", None, None)),
        ({"access_token": "a", "refresh_token": 5, "expires_in": "soon"}, Granted("a", None, None)),
        ({"access_token": "a", "expires_in": 10**400}, Granted("a", None, None)),
    ],
)
def test_a_new_pair_is_kept_whatever_else_is_odd(answer: dict[str, Any], granted: Granted) -> None:
    assert read_granted(json.dumps(answer).encode()) == granted


def test_an_empty_access_token_is_none() -> None:
    with pytest.raises(Malformed):
        read_granted(b'{"access_token":""}')


def test_tokens_are_shown_by_no_representation() -> None:
    assert "marker" not in repr(Granted("marker", "marker", 5))


@pytest.mark.parametrize(
    "body, error",
    [
        (b'{"error":"invalid_grant","error_description":"x"}', "invalid_grant"),
        (b'{"error":"<script>"}', None),
        (b'{"errors":{}}', None),
    ],
)
def test_the_error_code_of_a_refresh_is_one_plain_word(body: bytes, error: str | None) -> None:
    assert read_token_error(body) == error


def test_msgspec_still_keeps_raw_values_byte_for_byte() -> None:
    raw = msgspec.json.decode(b'{"a": 1.10 }', type=dict[str, msgspec.Raw])
    assert bytes(raw["a"]) == b"1.10"
