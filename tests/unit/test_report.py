"""The report for account managers: how lines are grouped, what they say, and that no name breaks a format."""

import csv
import io
import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.cause import Cause
from reconciler.domain.ids import AccountId, CalendarId, EventId, EventKey, ProfileId
from reconciler.domain.outage import Aftermath
from reconciler.domain.remedy import REMEDY_NAMES, NoticeKind, ProviderChange, Reupsert
from reconciler.domain.report import Header, NotRead, Period, Report, RunFacts, Tally, fold
from reconciler.domain.report_lines import Asked, AtRisk, Lines, Linked, Owner, Repaired, Unread, Waiting, owner
from reconciler.domain.report_words import (
    ACTOR_TEXT,
    CAUSE_TEXT,
    CAUSE_TITLE,
    CHANGE_TEXT,
    DELIVERY_TEXT,
    NOT_JUDGED_TEXT,
    NOT_LISTED_TEXT,
    NOT_LISTED_TITLE,
    NOTICE_TEXT,
    REPAIR_STATUS_TEXT,
    STEP_TEXT,
    UNREAD_OTHERWISE,
    Actor,
    Delivery,
    RepairStatus,
    Step,
)
from reconciler.domain.visible import visible
from reconciler.reporting import FORMATS, render
from reconciler.reporting.csv import COLUMNS, safe

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PERIOD = Header(Period(NOW - timedelta(days=1), NOW), NOW)
RUN = RunFacts(UUID(int=7), "completed", dry_run=False, started_at=NOW - timedelta(minutes=5), finished_at=NOW)
NOT_READ = (NotRead("failed", 8, 2), NotRead("parked", 1, 1))
ANNA = Owner(AccountId("acc_anna"), "Anna", "Nordlicht", "Marta")


def in_(**delta: float) -> datetime:
    return NOW + timedelta(**delta)


TOMORROW, LATER = in_(days=1), in_(days=3)


def a_key(name: str = "e1") -> EventKey:
    return EventKey(CalendarId("cal_1"), EventId(name))


@pytest.mark.parametrize("cause", Cause)
def test_a_place_in_the_meeting_is_named_where_nothing_else_explains_the_missing_link(cause: Cause) -> None:
    plain = at_risk(cause=cause)
    named = replace(plain, located=True).explanation != plain.explanation
    assert named is (cause in {Cause.CONFERENCING_ABSENT, Cause.UNEXPLAINED})


def at_risk(
    who: Owner = ANNA,
    starts_at: datetime = LATER,
    cause: Cause | None = Cause.SETTLING,
    remedy: str | None = "wait",
    *,
    corrected: bool = False,
    planned: bool = False,
    unlisted: bool = False,
) -> AtRisk:
    return AtRisk(who, a_key(), starts_at, cause, remedy, corrected, planned, unlisted)


def repaired(status: RepairStatus = RepairStatus.CONFIRMED, starts_at: datetime | None = LATER) -> Repaired:
    old, new = Asked(ProfileId("8x8")), Asked(ProfileId("pro_2"), "zoom")
    return Repaired(ANNA, a_key(), starts_at, NOW, old, new, ProviderChange.CHANGED, status)


def waiting(first_event_at: datetime | None = TOMORROW, provider: str | None = "zoom") -> Waiting:
    return Waiting(ANNA, NoticeKind.RELINK_CONFERENCING, provider, 2, first_event_at, NOW, Delivery.QUEUED)


def everything(who: Owner = ANNA) -> Lines:
    """One line of each kind, all of that owner."""
    return Lines(
        at_risk=[at_risk(who)],
        waiting=[replace(waiting(), owner=who)],
        repaired=[replace(repaired(), owner=who)],
        unread=[Unread(who, "timeout", 3, in_(days=4))],
        linked=[Linked(who.account_manager, who.customer, 12, over=2)],
    )


def rows_of(report: Report) -> list[dict[str, str]]:
    text = render(report, "csv").decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


class TestWording:
    @pytest.mark.parametrize(
        "table, members",
        [
            (CAUSE_TEXT, Cause),
            (CAUSE_TITLE, Cause),
            (NOTICE_TEXT, NoticeKind),
            (STEP_TEXT, Step),
            (ACTOR_TEXT, Actor),
            (REPAIR_STATUS_TEXT, RepairStatus),
            (CHANGE_TEXT, ProviderChange),
            (DELIVERY_TEXT, Delivery),
        ],
        ids=["cause", "cause title", "notice", "step", "actor", "repair", "change", "delivery"],
    )
    def test_every_member_has_its_own_text(self, table: dict[object, object], members: type) -> None:
        assert list(table) == list(members)  # type: ignore[call-overload] # an enum class is iterable
        assert all(table.values())
        if members is not Step:
            assert len(set(map(str, table.values()))) == len(table)

    def test_no_text_speaks_of_the_machinery(self) -> None:
        texts = [*CAUSE_TEXT.values(), *CAUSE_TITLE.values(), *UNREAD_OTHERWISE.split("\n")]
        texts += [step.text for step in (*NOTICE_TEXT.values(), *STEP_TEXT.values())]
        jargon = re.compile(r"profile|upsert|conferenc|pending|token|oauth|api\b|_", re.IGNORECASE)
        assert [text for text in texts if jargon.search(text)] == []

    @pytest.mark.parametrize("word", [n for kind, n in REMEDY_NAMES.items() if kind is not Reupsert] + ["", "new_word"])
    @pytest.mark.parametrize("cause", [*Cause, None])
    def test_every_remedy_of_every_cause_has_a_next_step(self, word: str, cause: Cause | None) -> None:
        assert at_risk(cause=cause, remedy=word).next_step in STEP_TEXT.values()

    @pytest.mark.parametrize("kind", NoticeKind)
    def test_a_notice_says_what_must_be_done(self, kind: NoticeKind) -> None:
        assert at_risk(remedy=f"notify {kind.value} pro_1").next_step == NOTICE_TEXT[kind]
        assert at_risk(remedy=f"notify {kind.value}").next_step == NOTICE_TEXT[kind]
        assert at_risk(remedy=f"notify {kind.value} pro_1 pro_2").next_step == NOTICE_TEXT[kind]

    @pytest.mark.parametrize(
        "line, step",
        [
            (at_risk(remedy="reupsert pro_2", planned=True), Step.CORRECTION_PLANNED),
            (at_risk(remedy="reupsert pro_2"), Step.CORRECTION_OPEN),
            (replace(at_risk(remedy="reupsert pro_2"), refused=True), Step.SAVE_AGAIN),
            (at_risk(remedy="reupsert pro_2", corrected=True), Step.CORRECTION_SENT),
            (at_risk(remedy="wait", corrected=True), Step.CORRECTION_SENT),
            (at_risk(remedy="wait"), Step.WAIT),
            (at_risk(remedy="wait", cause=Cause.PROVIDER_OUTAGE), Step.WAIT_FOR_SERVICE),
            (at_risk(remedy="wait", cause=Cause.UNEXPLAINED), Step.WAIT_UNSURE),
            (at_risk(remedy="wait", cause=Cause.UNEXPLAINED, corrected=True), Step.CORRECTION_SENT),
            (at_risk(remedy="wait", cause=Cause.UNEXPLAINED, unlisted=True), Step.LOOK_AGAIN),
            (at_risk(remedy="wait", unlisted=True), Step.WAIT),
            (at_risk(remedy="park"), Step.AUTHORIZE),
            (at_risk(remedy="escalate"), Step.ASK_SUPPORT),
            (at_risk(remedy="report", cause=Cause.CONFERENCING_ABSENT), Step.SAVE_AGAIN),
            (at_risk(remedy="report", cause=Cause.EVENT_MISSING), Step.CHECK_MEETING),
            (at_risk(remedy="report", cause=Cause.CALENDAR_UNAVAILABLE), Step.CHECK_CALENDAR),
            (at_risk(remedy="leave", cause=Cause.UNREADABLE), Step.LOOK_AGAIN),
            (at_risk(remedy=None, cause=None), Step.LOOK_AGAIN),
        ],
        ids=lambda value: value.value if isinstance(value, Step) else "",
    )
    def test_what_happens_next_follows_from_the_remedy_and_what_became_of_it(self, line: AtRisk, step: Step) -> None:
        assert line.next_step == STEP_TEXT[step]

    def test_an_event_not_judged_yet_says_so(self) -> None:
        line = at_risk(cause=None)
        assert (line.title, line.explanation) == ("Not examined yet", NOT_JUDGED_TEXT)
        assert at_risk(cause=Cause.EVENT_MISSING).title == "Not found in the calendar"

    def test_an_event_that_one_listing_lacked_is_not_said_to_be_in_order(self) -> None:
        line = at_risk(cause=Cause.UNEXPLAINED, unlisted=True)
        assert (line.title, line.explanation) == (NOT_LISTED_TITLE, NOT_LISTED_TEXT)
        assert "Cronofy's listing" in line.explanation
        judged_again = at_risk(cause=Cause.CALENDAR_UNAVAILABLE, remedy="report", unlisted=True)
        assert judged_again.explanation == CAUSE_TEXT[Cause.CALENDAR_UNAVAILABLE]
        planned = at_risk(cause=Cause.UNEXPLAINED, remedy="escalate", unlisted=True, planned=True)
        assert planned.explanation == CAUSE_TEXT[Cause.UNEXPLAINED]

    def test_nobody_is_said_to_have_been_told_of_an_escalated_event(self) -> None:
        line = at_risk(cause=Cause.UNEXPLAINED, remedy="escalate")
        assert line.next_step.actor is Actor.ENGINEER
        said = Page(render(fold(PERIOD, Lines(at_risk=[line])), "html")).said
        assert "Engineer on call" in said
        assert "has to be handed to Cronofy's support" in said
        assert "reconciler explain prints the text for it. cal_1/e1" in said

    @pytest.mark.parametrize(
        "asked, text, named",
        [
            (Asked(ProfileId("pro_1"), "zoom"), "Zoom", "pro_1"),
            (Asked(ProfileId("pro_1"), "new_service"), "new_service", "pro_1"),
            (Asked(ProfileId("pro_1")), "Service not known", "pro_1"),
            (Asked(ProfileId("8x8")), "8x8", None),
            (Asked(ProfileId("default")), "The person's usual video account", None),
            (Asked(ProfileId("integrated")), "The calendar's own video service", None),
            (Asked(None), "Service not known", None),
        ],
        ids=str,
    )
    def test_what_was_asked_for_is_named_as_people_know_it(self, asked: Asked, text: str, named: str | None) -> None:
        assert (asked.text, asked.named) == (text, named)

    def test_an_account_failure_without_words_of_its_own_has_general_ones(self) -> None:
        assert Unread(ANNA, "paging_loop", 1, None).explanation == UNREAD_OTHERWISE
        assert Unread(ANNA, "timeout", 1, None).explanation != UNREAD_OTHERWISE


class TestFolding:
    def test_managers_come_by_name_and_accounts_without_one_last(self) -> None:
        people = [replace(ANNA, account_manager=name) for name in (None, "zoe", "Yann", "Ada")]
        report = fold(PERIOD, Lines(at_risk=[at_risk(who) for who in people]))
        assert [m.title for m in report.managers] == ["Ada", "Yann", "zoe", "No account manager"]

    def test_the_customer_with_the_soonest_event_at_risk_comes_first(self) -> None:
        far, soon = replace(ANNA, customer="A far one"), replace(ANNA, customer="Soon")
        quiet, unnamed = replace(ANNA, customer="Quiet"), replace(ANNA, customer=None)
        lines = Lines(
            at_risk=[at_risk(far, in_(days=9)), at_risk(soon, in_(days=1))],
            unread=[Unread(unnamed, "timeout", 1, None), Unread(quiet, "timeout", 1, None)],
        )
        (manager,) = fold(PERIOD, lines).managers
        assert [c.title for c in manager.customers] == ["Soon", "A far one", "Quiet", "No customer"]

    def test_lines_come_soonest_first_and_those_without_a_time_last(self) -> None:
        lines = Lines(
            at_risk=[at_risk(starts_at=in_(days=n)) for n in (3, 1, 2)],
            waiting=[waiting(None), waiting(in_(days=2)), waiting(in_(days=1))],
            repaired=[repaired(starts_at=None), repaired(starts_at=in_(days=1))],
        )
        shown = fold(PERIOD, lines).managers[0].customers[0].lines
        assert [line.starts_at for line in shown.at_risk] == [in_(days=n) for n in (1, 2, 3)]
        assert [line.first_event_at for line in shown.waiting] == [in_(days=1), in_(days=2), None]
        assert [line.starts_at for line in shown.repaired] == [in_(days=1), None]

    def test_everything_is_counted_once(self) -> None:
        other = replace(ANNA, customer="Halcyon", account_manager="Priya")
        one, two = everything(), everything(other)
        lines = Lines(
            at_risk=[*one.at_risk, at_risk(starts_at=in_(hours=24)), at_risk(other, in_(hours=25))],
            waiting=[*one.waiting, *two.waiting],
            repaired=[*one.repaired, repaired(RepairStatus.AWAITING), repaired(RepairStatus.UNDO)],
            unread=two.unread,
            linked=[*one.linked, *two.linked, *two.linked],
        )
        report = fold(PERIOD, lines)
        assert report.tally == Tally(3, soon=1, waiting=2, repaired=2, confirmed=1, linked=36, over=6, unread=1)
        assert {m.name: m.tally.linked for m in report.managers} == {"Marta": 12, "Priya": 24}

    def test_causes_are_counted_the_most_frequent_first(self) -> None:
        causes = [Cause.UNEXPLAINED, None, Cause.SETTLING, Cause.UNEXPLAINED, None, Cause.PROVIDER_OUTAGE]
        report = fold(PERIOD, Lines(at_risk=[at_risk(cause=cause) for cause in causes]))
        assert report.causes == (
            (None, 2),
            (Cause.UNEXPLAINED, 2),
            (Cause.PROVIDER_OUTAGE, 1),
            (Cause.SETTLING, 1),
        )
        assert report.reasons == (
            ("No reason found yet", 2),
            ("Not examined yet", 2),
            ("Link being made", 1),
            ("Video service down", 1),
        )

    def test_blank_names_count_as_none(self) -> None:
        assert owner("acc_1", " ", "", " \t", "") == Owner(AccountId("acc_1"), "acc_1", None, None)
        assert owner("acc_1", None, "a@b.example", "C", "M").person == "a@b.example"
        assert owner("", None, None, None, None).person == "No account"
        report = fold(PERIOD, Lines(linked=[Linked(" ", "", 1), Linked(None, None, 2)]))
        assert [(m.title, m.customers[0].title, m.tally.linked) for m in report.managers] == [
            ("No account manager", "No customer", 3)
        ]

    @given(st.lists(st.tuples(st.sampled_from("AB "), st.sampled_from("xy "), st.integers(1, 400)), max_size=12))
    def test_no_line_is_lost_or_doubled(self, drawn: list[tuple[str, str, int]]) -> None:
        lines = [at_risk(owner("acc", "P", None, c, m), in_(hours=hours)) for m, c, hours in drawn]
        shown = [x for m in fold(PERIOD, Lines(at_risk=lines)).managers for c in m.customers for x in c.lines.at_risk]
        assert sorted(line.starts_at for line in shown) == sorted(line.starts_at for line in lines)


class TestNotes:
    def test_a_period_says_that_open_matters_are_as_of_now(self) -> None:
        assert "as it stands now" in PERIOD.notes[0]

    def test_a_run_that_saw_everything_needs_none(self) -> None:
        assert Header(RUN, NOW).notes == ()

    @pytest.mark.parametrize(
        "run, words",
        [
            (replace(RUN, dry_run=True, elsewhere=3), "trial run"),
            (replace(RUN, status="running"), "under way"),
            (replace(RUN, status="running", abandoned=True), "its process is gone"),
            (replace(RUN, status="refused"), "safety limit"),
            (replace(RUN, accounts_left=1), "1 account was not reached"),
            (replace(RUN, accounts_left=1200), "1,200 accounts were not reached"),
            (replace(RUN, elsewhere=1), "1 meeting is at risk"),
            (replace(RUN, elsewhere=52), "52 meetings are at risk"),
            (replace(RUN, overtaken=True), "Other runs"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_whatever_a_reader_could_misread_is_said(self, run: RunFacts, words: str) -> None:
        (note,) = Header(run, NOW).notes
        assert words in note

    @pytest.mark.parametrize(
        "run, words",
        [
            (replace(RUN, status="running"), "Still under way"),
            (replace(RUN, status="running", abandoned=True), "Not at its end, but its process is gone"),
            (
                replace(RUN, status="partial", accounts_due=12, accounts_unseen=3),
                "Ended early: 3 of 12 accounts were not looked at",
            ),
            (
                replace(RUN, status="partial", accounts_due=1, accounts_unseen=1),
                "Ended early: 1 of 1 account was not looked at",
            ),
            (
                replace(RUN, status="partial", accounts_due=12, accounts_left=2),
                "Finished, but some accounts could not be read or written",
            ),
            (replace(RUN, status="stopped", accounts_due=12, accounts_unseen=3), "Stopped early"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_the_run_is_said_to_have_come_as_far_as_it_has(self, run: RunFacts, words: str) -> None:
        assert f": {words}." in Page(render(fold(Header(run, NOW), Lines()), "html")).said


class TestOutage:
    @pytest.mark.parametrize(
        "outage, words",
        [
            (
                Aftermath(27, 2, 1, 3),
                "27 have recovered, 2 are still failing, 1 has another reason now, 3 were deleted or",
            ),
            (Aftermath(1, 1, 2), "1 has recovered, 1 is still failing, 2 have another reason now."),
            (Aftermath(1000), "1,000 have recovered, 0 are still failing, 0 have another reason now."),
        ],
    )
    def test_what_became_of_those_that_waited_is_said(self, outage: Aftermath, words: str) -> None:
        report = fold(Header(replace(RUN, outage=outage), NOW), Lines())
        assert words in render(report, "html").decode()
        assert json.loads(render(report, "json"))["run"]["outage"] == asdict(outage)

    def test_nothing_is_said_where_nothing_had_waited(self) -> None:
        report = fold(Header(RUN, NOW), Lines())
        assert "waited" not in render(report, "html").decode()
        assert json.loads(render(report, "json"))["run"]["outage"] is None


HOSTILE = [
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(A1)",
    "\u200b=1",
    "\ufeff=1",
    " \u2060+1",
    "\x1f=1",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    '=HYPERLINK("http://x.example","y")',
]


class TestCsv:
    def test_one_row_per_line_with_its_kind(self) -> None:
        rows = rows_of(fold(PERIOD, everything()))
        assert [row["kind"] for row in rows] == ["at_risk", "waiting", "repaired", "unread", "linked", "over"]
        assert list(rows[0]) == list(COLUMNS)
        assert {row["account_manager"] for row in rows} == {"Marta"}
        assert rows[0]["start_utc"] == "2026-03-05 09:00:00"
        assert (rows[2]["old_provider"], rows[2]["new_provider"]) == ("8x8", "Zoom")
        assert (rows[4]["events"], rows[5]["events"]) == ("12", "2")

    def test_it_begins_with_the_mark_that_excel_needs(self) -> None:
        assert render(fold(PERIOD, Lines()), "csv").startswith(b"\xef\xbb\xbfkind,")

    @pytest.mark.parametrize("text", HOSTILE)
    def test_no_name_becomes_a_formula(self, text: str) -> None:
        who = Owner(AccountId(text), text, text, text)
        rows = rows_of(fold(PERIOD, everything(who)))
        assert len(rows) == 6
        for row in rows:
            assert row["customer"] in {safe(text), safe(text.strip())}
            assert row["customer"].startswith("'")
            assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]

    @given(st.text())
    def test_every_text_survives_and_none_is_a_formula(self, text: str) -> None:
        shown = str(safe(text))
        assert shown.removeprefix("'") in {visible(text, "\t\r\n"), visible(text, "\t\r\n").removeprefix("'")}
        assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))

    def test_line_breaks_and_quotes_stay_within_their_cell(self) -> None:
        who = replace(ANNA, person='A\r\nB,"C"\n')
        assert [row["person"] for row in rows_of(fold(PERIOD, everything(who)))][:4] == [who.person] * 4

    def test_what_is_not_known_is_empty(self) -> None:
        who = Owner(AccountId("acc_1"), "acc_1", None, None)
        (row,) = rows_of(fold(PERIOD, Lines(at_risk=[at_risk(who, cause=None)])))
        assert (row["account_manager"], row["customer"], row["reason"], row["events"]) == ("", "", "", "")


class TestJson:
    def test_a_run_with_its_sections(self) -> None:
        document = json.loads(render(fold(Header(RUN, NOW, ("Marta",)), everything()), "json"))
        assert document["run"]["run_id"] == str(RUN.run_id)
        assert document["generated_at"] == "2026-03-02T09:00:00+00:00"
        assert document["filters"] == {"account_managers": ["Marta"], "customers": []}
        assert document["causes"] == {"settling": 1}
        (manager,) = document["account_managers"]
        (customer,) = manager["customers"]
        assert (manager["name"], customer["name"], customer["totals"]["linked"]) == ("Marta", "Nordlicht", 12)
        assert customer["at_risk"][0]["cause"] == "settling"
        assert customer["waiting"][0]["kind"] == "relink_conferencing"
        assert customer["repaired"][0]["new"] == {"profile_id": "pro_2", "provider_name": "zoom"}
        assert customer["unread"][0]["events"] == 3

    def test_a_period_with_an_open_beginning(self) -> None:
        document = json.loads(
            render(fold(Header(Period(None, NOW), NOW), Lines(at_risk=[at_risk(cause=None)])), "json")
        )
        assert document["period"] == {"since": None, "until": "2026-03-02T09:00:00+00:00"}
        assert document["causes"] == {"not_judged": 1}


class Page(HTMLParser):
    """What a browser would make of a page: its elements in order, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attrs.get(name) for element, attrs in self.elements if element == tag]


class TestHtml:
    def test_hostile_names_are_text_and_nothing_else(self) -> None:
        nasty = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}'
        lines = everything(Owner(AccountId("acc_1"), nasty, nasty, nasty))
        run = replace(RUN, reason=nasty, status=nasty)
        page = Page(render(fold(Header(run, NOW, (nasty,), (nasty,)), lines), "html"))
        assert not {"script", "img"} & {tag for tag, _ in page.elements}
        assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
        assert page.said.count(nasty) == 11
        assert page.open == []

    def test_it_needs_nothing_but_itself(self) -> None:
        text = render(fold(PERIOD, everything()), "html").decode()
        assert not re.search(r"https?:|src=|url\(|@import|<link|<script", text)
        assert "default-src 'none'" in text

    def test_it_can_be_read_aloud(self) -> None:
        page = Page(render(fold(PERIOD, everything()), "html"))
        assert page.attributes("html", "lang") == ["en"]
        tags = [tag for tag, _ in page.elements]
        assert tags.count("table") == tags.count("caption") == 6
        assert set(page.attributes("th", "scope")) == {"col", "row"}
        assert [tag for tag in tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h2", "h2", "h3"]
        ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert {attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs} <= set(ids)
        assert {str(link)[1:] for link in page.attributes("a", "href")} <= set(ids)

    def test_the_contents_lead_to_every_manager(self) -> None:
        lines = Lines(at_risk=[at_risk(replace(ANNA, account_manager=name)) for name in ("A", "B", None)])
        links = Page(render(fold(PERIOD, lines), "html")).attributes("a", "href")
        assert links == ["#managers", "#manager-1", "#manager-2", "#manager-3"]

    def test_times_say_their_zone_whatever_zone_they_came_in(self) -> None:
        tokyo = datetime.fromisoformat("2026-03-05T08:30:00+09:00")
        page = Page(render(fold(PERIOD, Lines(at_risk=[at_risk(starts_at=tokyo)])), "html"))
        assert "Wed 4 Mar 2026, 23:30" in page.said
        assert "All times are UTC." in page.said
        assert "2026-03-04T23:30:00Z" in page.attributes("time", "datetime")

    @pytest.mark.parametrize(
        "header, words",
        [
            (PERIOD, "Sun 1 Mar 2026, 09:00 UTC to Mon 2 Mar 2026, 09:00 UTC"),
            (Header(Period(None, NOW), NOW), "Everything until Mon 2 Mar 2026"),
            (Header(replace(RUN, dry_run=True, finished_at=None), NOW), "Trial run of Mon 2 Mar 2026, 08:55 UTC:"),
            (Header(replace(RUN, accounts_read=1, events_read=2400), NOW), "It read 2,400 meetings in 1 account."),
            (
                Header(replace(RUN, accounts_read=40, events_read=230, not_read=NOT_READ), NOW),
                "It read 230 meetings in 40 accounts. Due, but not read: 8 meetings in 2 accounts that could not be "
                "checked; 1 meeting in 1 account that we have no access to any more (they are among those at risk).",
            ),
        ],
        ids=["period", "open beginning", "dry run", "numbers", "not all was read"],
    )
    def test_the_header_says_what_it_is_about(self, header: Header, words: str) -> None:
        page = Page(render(fold(header, Lines()), "html"))
        assert words in " ".join(page.said.split())
        assert "There is nothing to report." in page.said

    def test_a_trial_run_does_not_claim_that_nothing_has_a_link(self) -> None:
        lines = Lines(at_risk=[at_risk()])
        assert "Have their link" in Page(render(fold(Header(RUN, NOW), lines), "html")).said
        trial = Page(render(fold(Header(replace(RUN, dry_run=True), NOW), lines), "html")).said
        assert "Have their link" not in trial
        assert "Have a link" not in trial

    def test_lines_with_gaps_are_shown(self) -> None:
        lines = Lines(
            at_risk=[at_risk(starts_at=in_(hours=3), cause=None)],
            waiting=[waiting(None, None)],
            repaired=[repaired(RepairStatus.AWAITING, None)],
            unread=[Unread(ANNA, "timeout", 3, None)],
        )
        said = Page(render(fold(PERIOD, lines), "html")).said
        for words in ("within 24 h", "none ahead", "no longer listed", "Not examined yet"):
            assert words in said


def test_a_format_that_does_not_exist_is_refused_in_one_line() -> None:
    assert FORMATS == ("html", "csv", "json")
    with pytest.raises(ValueError, match="no report format 'xml'; there are html, csv, json"):
        render(fold(PERIOD, Lines()), "xml")
