"""Who is in which trouble: one function per story, each planting at least one cause of interface.md section 4.

Written so that "the first row that fits wins" leaves one cause per event, and so that only GoTo looks like an outage:
of every other provider far fewer than five accounts have something overdue.
"""

from __future__ import annotations

from datetime import timedelta

from reconciler.simulator.cast import HALCYON, NORDLICHT, SAKURA, Customer
from reconciler.simulator.faults import Fault
from reconciler.simulator.stage import JUST_NOW, LATELY, LONG, LONG_AGO, Actor, Stage

# Longer than any grace period a demonstration would set, so that what settles is still settling when one looks.
SLOW = 20 * 60


def healthy(stage: Stage, customer: Customer, index: int, provider: str | None) -> Actor:
    """Somebody whose meetings all have their links; without a provider the calendar's own service gives them."""
    actor = stage.hire(customer, index)
    own = actor.connect(provider).profile_id if provider else "integrated"
    actor.meet_and_link(own, 4)
    actor.meet_and_link("default", 2)
    actor.meet_and_link(own, 2, LATELY)
    stage.tell("assigned", f"{actor.account.name} has a link in every meeting, as most people here do.")
    return actor


def relink_needed(stage: Stage) -> None:
    """Profiles whose credentials were refused: named, and behind `default`. One meeting is within a day."""
    actor = stage.hire(NORDLICHT, 5)
    zoom = actor.connect("zoom")
    actor.meet_and_link(zoom.profile_id)
    actor.meet(zoom.profile_id, "profile_disconnected", LATELY, 3)
    start = stage.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=20)
    soon = {"start": start.isoformat(), "end": (start + timedelta(minutes=45)).isoformat()}
    actor.meet(zoom.profile_id, "profile_disconnected", LATELY, body=soon)
    zoom.connected = False
    stage.tell(
        "profile_disconnected",
        f"{actor.account.name} changed the Zoom password, and Zoom has refused Cronofy ever since.",
    )
    goto = stage.hire(HALCYON, 7)
    lost = goto.connect("go_to")
    goto.meet_and_link(lost.profile_id, 2)
    goto.meet(lost.profile_id, "profile_disconnected", LATELY, 2)
    lost.connected = False
    both = stage.hire(HALCYON, 12)
    profiles = [both.connect("zoom"), both.connect("ms_teams")]
    both.meet_and_link("default", 2)
    both.meet("default", "profile_disconnected", LATELY, 2)
    for profile in profiles:
        profile.connected = False


def profiles_removed(stage: Stage) -> None:
    """Removed profiles: with a replacement of the same provider, of another, and with none."""
    same = stage.hire(NORDLICHT, 6)
    old = same.connect("zoom", "Zoom (Vertrieb)")
    same.meet_and_link(old.profile_id)
    same.meet(old.profile_id, "profile_removed", LONG_AGO, 3)
    (moved,) = same.meet(old.profile_id, "profile_removed", LATELY)
    moved.move_by_user(moved.start.value + timedelta(days=2), moved.end.value + timedelta(days=2))
    same.account.remove_conferencing_profile(old.profile_id)
    same.connect("zoom", "Zoom (Vertrieb)")
    stage.tell(
        "profile_removed",
        f"{same.account.name} removed a Zoom connection and made a new one; older meetings still ask for the first,"
        " and one of them was moved by two days in the calendar meanwhile.",
    )
    for customer, index, heir in ((NORDLICHT, 12, "ms_teams"), (SAKURA, 8, None)):
        actor = stage.hire(customer, index)
        actor.calendar.integrated = False
        gone = actor.connect("zoom")
        actor.meet_and_link(gone.profile_id, 2)
        actor.meet(gone.profile_id, "profile_removed", LATELY, 2)
        actor.account.remove_conferencing_profile(gone.profile_id)
        if heir:
            actor.connect(heir)


def grants_lost(stage: Stage) -> None:
    """A revoked grant, and one whose scope does not reach."""
    revoked = stage.hire(NORDLICHT, 7)
    zoom = revoked.connect("zoom")
    revoked.meet(zoom.profile_id, "account_unauthorized", LONG_AGO, 4)
    revoked.account.revoke()
    stage.tell(
        "account_unauthorized",
        f"{revoked.account.name} withdrew the application's access to the calendar; it has to be given again.",
    )
    narrow = stage.hire(SAKURA, 9, scope="list_calendars create_event")
    narrow.meet(narrow.connect("zoom").profile_id, "account_unauthorized", LONG_AGO, 3)


def answers_broken(stage: Stage) -> None:
    """Accounts that Cronofy cannot answer for today."""
    for customer, index, fault in (
        (NORDLICHT, 11, Fault("status", status=500, body="Internal Server Error")),
        (SAKURA, 10, Fault("html", status=502)),
    ):
        actor = stage.hire(customer, index)
        actor.meet(actor.connect("zoom").profile_id, "unreadable", LONG_AGO, 4)
        fault.account_id, fault.match_path = actor.account.account_id, "^/v1/"
        stage.world.faults.add(fault)
        stage.tell("unreadable", f"Every request for {actor.account.name} is answered with a server error today.")


def changed_in_calendar(stage: Stage) -> None:
    """Deleted, moved into the past, taken out of every listing, or robbed of their conference."""
    actor = stage.hire(NORDLICHT, 10)
    zoom = actor.connect("zoom").profile_id
    actor.meet_and_link(zoom, 2)
    for event in actor.meet(zoom, "event_deleted", LONG_AGO, 2):
        event.delay_generation(LONG)
        event.delete_by_user()
    stage.tell("event_deleted", f"{actor.account.name} deleted two meetings in the calendar.")
    (early,) = actor.meet(zoom, "event_past", LONG_AGO)
    early.delay_generation(LONG)
    early.move_by_user(stage.now - timedelta(minutes=90), stage.now - timedelta(minutes=60))
    stage.tell("event_past", f"{actor.account.name} brought a meeting forward; it took place earlier today.")
    lost = stage.hire(SAKURA, 11)
    meet = lost.connect("zoom").profile_id
    lost.meet_and_link(meet, 5)
    (missing,) = lost.meet(meet, "unexplained", LONG_AGO)
    missing.forget()
    stage.expected_second_run[missing.key] = "event_missing"
    stage.tell(
        "event_missing",
        f"A meeting of {lost.account.name} has vanished from the calendar's listings without a trace.",
    )
    for customer, index, asked in ((NORDLICHT, 14, None), (SAKURA, 12, "default")):
        bare = stage.hire(customer, index)
        profile_id = bare.connect("zoom").profile_id
        bare.meet_and_link(asked or profile_id, 3)
        (event,) = bare.meet(asked or profile_id, "conferencing_absent", LONG_AGO)
        event.clear_conferencing()
        stage.tell(
            "conferencing_absent",
            f"{bare.account.name} asked for Zoom, Zoom is connected, and yet the meeting shows no conferencing.",
        )


def calendars_lost(stage: Stage) -> None:
    """Read-only, deleted, or on a profile that is disconnected: nothing can be written there."""
    for index, flaw in ((8, "readonly"), (9, "deleted"), (10, "disconnected")):
        actor = stage.hire(HALCYON, index)
        teams = actor.connect("ms_teams").profile_id
        actor.meet_and_link(teams, 3)
        cause = "calendar_disconnected" if flaw == "disconnected" else "calendar_unavailable"
        actor.meet(teams, cause, LATELY, 2)
        actor.calendar.readonly = flaw == "readonly"
        actor.calendar.deleted = flaw == "deleted"
        actor.calendar.profile.connected = flaw != "disconnected"
        sentence = {
            "readonly": f"IT made the calendar of {actor.account.name} read-only.",
            "deleted": f"{actor.account.name} deleted the calendar that meetings are booked into.",
            "disconnected": f"Exchange has refused the connection of {actor.account.name} since the password expired.",
        }[flaw]
        stage.tell(cause, sentence)


def providers_gone(stage: Stage) -> None:
    """8x8 was shut down; one person can use Zoom instead, the other has nothing."""
    zoom = stage.hire(NORDLICHT, 13)
    profile = zoom.connect("zoom")
    zoom.meet_and_link(profile.profile_id, 2)
    zoom.meet("8x8", "provider_retired", LONG_AGO, 2)
    stage.tell(
        "provider_retired",
        f"{zoom.account.name} booked two meetings long ago with 8x8, a service that no longer exists.",
    )
    nothing = stage.hire(HALCYON, 11)
    nothing.calendar.integrated = False
    nothing.meet("8x8", "provider_retired", LONG_AGO, 2)


def integrated_trouble(stage: Stage) -> None:
    """The calendar's own service: without a licence it gives no URL, or it is not offered any more."""
    for index, asked in ((4, "integrated"), (5, "default")):
        actor = stage.hire(SAKURA, index)
        actor.meet_and_link(asked)
        actor.meet(asked, "missing_meeting_url", LATELY, 2)
        stage.world.licence_lost(actor.account)
        stage.tell(
            "missing_meeting_url",
            f"{actor.account.name} lost the licence for Google Meet; the calendar offers it, but gives no link.",
        )
    for index, asked in ((6, "integrated"), (7, "default")):
        actor = stage.hire(SAKURA, index)
        actor.meet_and_link(asked, 2)
        actor.meet(asked, "integrated_unavailable", LATELY, 2)
        actor.calendar.integrated = False
        if asked == "integrated":
            actor.connect("zoom")
        stage.tell(
            "integrated_unavailable",
            f"The administrator switched Google Meet off in the calendar of {actor.account.name}.",
        )


def goto_outage(stage: Stage) -> None:
    """GoTo gives no links since yesterday: seven accounts, most of what they wrote since."""
    for index in range(7):
        actor = stage.hire(HALCYON, index)
        goto = actor.connect("go_to").profile_id
        actor.meet_and_link(goto, 3)
        actor.meet(goto, "provider_outage", LATELY, 2)
        if index < len(("first", "second")):
            actor.meet_and_link(goto, 1, LATELY)
    stage.world.outage("go_to")
    stage.tell(
        "provider_outage",
        "GoTo has been failing since yesterday: seven people at Halcyon wait for links they asked for in good order.",
    )


def slow_ones(stage: Stage) -> None:
    """Written a minute ago and still settling; or overdue though everything is in order."""
    for customer, index in ((NORDLICHT, 8), (SAKURA, 13)):
        actor = stage.hire(customer, index)
        zoom = actor.connect("zoom").profile_id
        actor.meet_and_link(zoom, 4)
        for event in actor.meet(zoom, "settling", JUST_NOW, 2):
            event.delay_generation(SLOW)
        stage.tell(
            "settling",
            f"{actor.account.name} booked two meetings a minute ago; the links are still being made.",
        )
    puzzled = stage.hire(NORDLICHT, 9)
    zoom = puzzled.connect("zoom").profile_id
    puzzled.meet_and_link(zoom, 5)
    for age in (LATELY, (timedelta(hours=26), timedelta(hours=40))):
        (event,) = puzzled.meet(zoom, "unexplained", age)
        event.delay_generation(LONG)
    stage.tell(
        "unexplained",
        f"Two Zoom meetings of {puzzled.account.name} stay pending though the profile is connected and Zoom works for"
        " everybody else.",
    )


def none_of_our_business(stage: Stage) -> None:
    """What the reconciler must leave alone: other conferencing, cancelled and past events, a parked account."""
    actor = stage.hire(SAKURA, 14)
    zoom = actor.connect("zoom").profile_id
    actor.meet_and_link(zoom, 2)
    own_room = {
        "profile_id": "explicit",
        "provider_description": "Clinic room",
        "join_url": "https://rooms.sakura.example/14",
    }
    actor.meet("explicit", None, body={"conferencing": own_room})
    actor.meet("none", None, count=2)
    actor.meet(None, None, count=3)
    (cancelled,) = actor.meet(zoom, None, cancelled_at=stage.now - timedelta(hours=5))
    cancelled.delete_by_user()
    over = {
        "start": (stage.now - timedelta(days=3)).isoformat(timespec="seconds"),
        "end": (stage.now - timedelta(days=3, minutes=-30)).isoformat(timespec="seconds"),
    }
    for event in actor.meet(zoom, None, (timedelta(days=5), timedelta(days=9)), body=over):
        event.assign()
    parked = stage.hire(NORDLICHT, 15)
    parked.meet(parked.connect("zoom").profile_id, None, LONG_AGO, 2)
    parked.account.revoke()
    parked.row |= {"state": "parked", "parked_reason": "invalid_grant"}


TROUBLES = (
    relink_needed,
    profiles_removed,
    grants_lost,
    answers_broken,
    changed_in_calendar,
    calendars_lost,
    providers_gone,
    integrated_trouble,
    goto_outage,
    slow_ones,
    none_of_our_business,
)
