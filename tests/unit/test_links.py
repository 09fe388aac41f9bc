"""Which addresses from outside are links, and which may be handed to a person."""

import re

import pytest
from yarl import URL

from reconciler.cronofy.hosts import Hosts
from reconciler.domain.ids import ProfileId
from reconciler.domain.links import LONGEST, may_be_a_link, meeting_link, person_link
from reconciler.domain.roster import Roster

HERE = frozenset({"app.cronofy.com"})


@pytest.mark.parametrize(
    "text",
    [
        "https://zoom.us/j/1?pwd=a#b",
        "http://meet.example/room",
        "HTTPS://Teams.example:8443/l/meetup-join/19%3ameeting",
        "https://bücher.example/żółć",
        "https://[2001:db8::1]/x",
        "https://192.0.2.1/x",
        "https://zoom.us.",
    ],
)
def test_a_link_is_one(text: str) -> None:
    assert meeting_link(f" {text}\n") == text


NO_LINKS = [
    None, "", "  ", "null", "None", "about:blank", "javascript:alert(1)", "mailto:a@b.example", "tel:+123",
    "data:text/html,x", "/j/1", "//zoom.us/j/1", "zoom.us/j/1", "https:", "https://", "https:///j", "https:zoom.us/j",
    "https://user@zoom.us/j", "https://zoom.us:pw@evil.example/", "https://@zoom.us/", "https://zoom.us\\@evil.example/",
    "https://zoom.us/a b", "https://zoom.us/\x00", "https://zoom.us/\x1b[31m", "https://zoom.us/\nSet-Cookie:a",
    "https://zoom.us/\u202egnp", "https://zoom\u200b.us/", "https://zoom.us/<script>", 'https://zoom.us/"onclick=',
    "https://zoom.us:0/", "https://zoom.us:99999/", "https://zoom.us:x/", "https://[::1/", "https://[zz]/",
    "https://a..b/", "https://-a.example/", f"https://{'a' * 64}.example/", f"https://{'a.' * 130}example/",
    f"https://zoom.us/{'a' * LONGEST}",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_LINKS)
def test_what_leads_nowhere_is_no_link(text: str | None) -> None:
    assert meeting_link(text) is None
    assert person_link(text or "", HERE, loopback=True) is None


@pytest.mark.parametrize("text", NO_LINKS)
def test_what_names_a_place_on_the_web_may_be_a_link(text: str | None) -> None:
    assert may_be_a_link(text) == bool(re.match("https?://[^/]", text or ""))
    assert may_be_a_link("HTTP://x")


@pytest.mark.parametrize(
    "address, loopback, handed_on",
    [
        ("https://app.cronofy.com/v2/relink/go_to?email=a%40b.example", False, True),
        ("https://APP.cronofy.com:443/x", False, True),
        ("https://app.cronofy.com./x", False, True),
        ("http://app.cronofy.com/x", False, False),
        ("https://app.cronofy.com:8443/x", False, False),
        ("https://app-de.cronofy.com/x", False, False),
        ("https://app.cronofy.com.evil.example/x", False, False),
        ("https://evil.example/app.cronofy.com", False, False),
        ("http://127.0.0.1:4000/relink", False, False),
        ("http://127.0.0.1:4000/relink", True, True),
        ("http://localhost/relink", True, True),
        ("http://[::1]:4000/relink", True, True),
        ("https://evil.example/x", True, False),
    ],
)
def test_a_person_is_sent_to_the_data_centre_alone(address: str, loopback: bool, handed_on: bool) -> None:
    assert (person_link(address, HERE, loopback=loopback) == address) is handed_on


@pytest.mark.parametrize(
    "base, data_center, address, handed_on",
    [
        (None, "us", "https://app.cronofy.com/r", True),
        (None, "de", "https://app-de.cronofy.com/r", True),
        (None, "de", "https://app.cronofy.com/r", False),
        (None, "us", "http://127.0.0.1/r", False),
        ("https://cronofy.corp.example", "us", "https://cronofy.corp.example/r", True),
        ("https://cronofy.corp.example", "us", "https://app-de.cronofy.com/r", True),
        ("https://cronofy.corp.example", "us", "https://other.corp.example/r", False),
        ("http://127.0.0.1:4000", "us", "http://127.0.0.1:4000/r", True),
        ("http://127.0.0.1:4000", "us", "https://evil.example/r", False),
    ],
)
def test_of_a_roster_the_relink_addresses_elsewhere_are_withheld(
    base: str | None, data_center: str, address: str, handed_on: bool
) -> None:
    profile = ProfileId("pro_1")
    roster = Hosts(URL(base) if base else None).of(data_center).relinks(Roster((), (), None, {profile: address}))
    assert roster.relink_urls == ({profile: address} if handed_on else {})
    assert roster.withheld == (frozenset() if handed_on else {profile})
