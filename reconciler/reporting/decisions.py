"""The decision table as a document, rendered from the rules themselves.

`python -m reconciler.reporting.decisions` writes it to docs/decisions.md of the current folder; a test holds the two
together.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reconciler.domain.cause import MISSES_THAT_COUNT, RULES, SETTLED, Cause
from reconciler.domain.policy import Policy
from reconciler.domain.remedy import NoticeKind
from reconciler.domain.run import OUTAGE_ACCOUNTS, TOLD_ACCOUNTS
from reconciler.domain.support import SUPPORT_ADDRESS

DOCUMENT = Path("docs/decisions.md")

REMEDY_TEXTS: Mapping[Cause, str] = {
    Cause.UNREADABLE: "none: its state stays as it was, the account is counted as failed and due again next run",
    Cause.ACCOUNT_UNAUTHORIZED: "park the account; notice `reauthorize_account`",
    Cause.EVENT_DELETED: "none",
    Cause.EVENT_PAST: "none",
    Cause.ASSIGNED: "record link and provider; resolve the notices that waited for it",
    Cause.EVENT_MISSING: "report",
    Cause.CALENDAR_UNAVAILABLE: "report to the account manager",
    Cause.CALENDAR_DISCONNECTED: "notice `relink_calendar` with the relink URL of the calendar's profile",
    Cause.SETTLING: "wait",
    Cause.PROVIDER_RETIRED: "write again with a replacement; none to be had: notice `connect_conferencing`",
    Cause.PROFILE_REMOVED: "write again with a replacement; none to be had: notice `connect_conferencing`",
    Cause.PROFILE_DISCONNECTED: "notice `relink_conferencing` with the profile's relink URL, for `default` one about "
    "each disconnected profile that it may stand for; no write, for Cronofy makes the link by itself after a relink",
    Cause.INTEGRATED_UNAVAILABLE: "write again with the first connected profile; none: notice `connect_conferencing`",
    Cause.MISSING_MEETING_URL: "notice `restore_licence` to the account manager; no write",
    Cause.PROVIDER_OUTAGE: "wait; no write",
    Cause.CONFERENCING_ABSENT: "report, naming a `location` that the stored body sets: a calendar without a field for "
    "the link would have it there",
    Cause.UNEXPLAINED: "wait; past the escalation age hand it to a person, with what Cronofy's support "
    f"({SUPPORT_ADDRESS}) asks for",
}
"""What is done about each cause, in words."""

_MAIL = "Cronofy may first send a mail in which the person has to confirm it"

NOTICE_TEXTS: Mapping[NoticeKind, str] = {
    NoticeKind.RELINK_CONFERENCING: f"authorise the video provider's profile again; then the link comes. {_MAIL}",
    NoticeKind.RELINK_CALENDAR: "authorise the calendar's profile again",
    NoticeKind.REAUTHORIZE_ACCOUNT: "authorise the application again: nothing of the account can be read until then",
    NoticeKind.CONNECT_CONFERENCING: f"connect a video provider: nothing can take the lost one's place. {_MAIL}",
    NoticeKind.RESTORE_LICENCE: "give the person a licence of the calendar's own video service again",
}
"""What each notice asks for."""

_HEAD = """\
# How an event without a link is judged

Rendered from `reconciler/domain/cause.py`; do not edit (`python -m reconciler.reporting.decisions` writes it anew).

An event has one cause: the first row that fits. *Now* is the moment of decision; the *last write* is the later of the
application's (`written_at`) and our last repair; what was pushed before it speaks of an
older write. The grace period is `RECONCILER_GRACE` ({grace} minutes by default),
the escalation age `RECONCILER_ESCALATE_AFTER` ({escalation} hours). *Settled* events are not read again unless the
application writes them, or a run is told to (`--recheck-assigned`).
"""

_REPLACEMENT = """\
## The replacement for a lost profile

The first that fits, and that is neither the lost one nor one that Cronofy refused for this event:

1. a connected profile of the same provider: the one of the same name as before, else the first listed;
2. the only connected profile;
3. `default`, when there are several;
4. `integrated`, when the calendar offers it.

What provider and name were before is taken from the last roster on record. A change of provider is marked in plan,
audit trail and report; `RECONCILER_SUBSTITUTE=same_provider` allows the first rule alone.

## Outages

Of each service, those that come with a calendar (`google_meet`, `ms_teams_for_business`) included, a run counts the
future events written within `RECONCILER_LOOKBACK` that it should serve, and those that are pending past grace. An
incident is opened where at least {accounts} accounts have some and at least half of all are, or where Cronofy has
pushed failures without a subtype for {accounts} accounts, or for {told} and a tenth of all. It is closed when that is
over and under a tenth are pending. It speaks for events for as long as the escalation age from its opening; after that
the next rows decide, so that a wrong guess hides nothing for long.

## Before an event is written again

The stored body exists, is this event's, and was not refused by Cronofy; the read shows the event ahead, neither deleted
nor linked; the application has not written it meanwhile; it was repaired fewer than {repairs} times (then a person
looks). What is sent is the stored body with another `conferencing.profile_id`, and with the calendar's times if the
person moved the event; one that repeats, or is listed at several times, keeps its stored times, and is looked at once
more before. An accepted write is believed only when a later read shows the link. Where the body cannot be
sent the event is reported instead.

## Several entries under one key

A listing may show an event more than once: the occurrences of a series, copies of it, or the event before and after a
change that came while its pages were read. The safest reading holds. Any link means a link. It is deleted, cancelled or
past only if every entry is one of these; where the days that were read show nothing else, all days ahead are listed
before it is believed. An entry that cannot be read makes the event `unreadable`, unless another one has a link. Entries
at different times, and a stored body with `recurrence`, are no sign that the person moved the event.
"""


def render() -> str:
    """The document."""
    policy = Policy()
    head = _HEAD.format(
        grace=int(policy.grace.total_seconds()) // 60, escalation=int(policy.escalate_after.total_seconds()) // 3600
    )
    return "\n".join(
        (
            head,
            *_table(("", "cause", "when", "what is done", "settled"), _rules()),
            "",
            f"An event that one complete listing lacks is looked for again; {MISSES_THAT_COUNT} in a row count.",
            "",
            _REPLACEMENT.format(repairs=policy.max_repairs_per_event, accounts=OUTAGE_ACCOUNTS, told=TOLD_ACCOUNTS),
            "## Notices",
            "",
            "At most one is open per account, kind and profile; it holds all events that wait for it.",
            "",
            *_table(("notice", "asks the person to"), ((f"`{kind}`", text) for kind, text in NOTICE_TEXTS.items())),
            "",
        )
    )


def _rules() -> Iterable[Sequence[str]]:
    for place, rule in enumerate(RULES, start=1):
        settles = "yes" if rule.cause in SETTLED else ""
        yield str(place), f"`{rule.cause}`", rule.when, REMEDY_TEXTS[rule.cause], settles


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
