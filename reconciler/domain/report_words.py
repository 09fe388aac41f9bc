"""The words of the report for account managers: what may be said of an event, and how each is put.

Tables keyed by an enum hold every member of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.domain.cause import Cause
from reconciler.domain.ids import DEFAULT, INTEGRATED, RETIRED_8X8, ProfileId
from reconciler.domain.remedy import NoticeKind, ProviderChange
from reconciler.domain.support import SUPPORT_ADDRESS


class Actor(StrEnum):
    """Who must act for an event to get its link."""

    NOBODY = "nobody"
    PERSON = "person"
    ACCOUNT_MANAGER = "account_manager"
    ENGINEER = "engineer"


class Step(StrEnum):
    """What happens next to an event at risk where nobody was sent a notice."""

    LOOK_AGAIN = "look_again"
    WAIT = "wait"
    WAIT_FOR_SERVICE = "wait_for_service"
    WAIT_UNSURE = "wait_unsure"
    CORRECTION_SENT = "correction_sent"
    CORRECTION_PLANNED = "correction_planned"
    CORRECTION_OPEN = "correction_open"
    AUTHORIZE = "authorize"
    CHECK_MEETING = "check_meeting"
    CHECK_CALENDAR = "check_calendar"
    SAVE_AGAIN = "save_again"
    ASK_SUPPORT = "ask_support"


class RepairStatus(StrEnum):
    """Whether a repair did what it was for."""

    CONFIRMED = "confirmed"
    AWAITING = "awaiting"
    REPEATED = "repeated"
    CLOSED = "closed"
    UNDONE = "undone"
    UNDO = "undo"


class Delivery(StrEnum):
    """How far an open notice has got; the words of `notices.status`."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"


CAUSE_TITLE: dict[Cause, str] = {
    Cause.UNREADABLE: "Could not be checked",
    Cause.ACCOUNT_UNAUTHORIZED: "No access to the calendar",
    Cause.EVENT_DELETED: "Deleted or cancelled",
    Cause.EVENT_PAST: "Already started",
    Cause.ASSIGNED: "Has its link",
    Cause.EVENT_MISSING: "Not found in the calendar",
    Cause.CALENDAR_UNAVAILABLE: "Calendar cannot be used",
    Cause.CALENDAR_DISCONNECTED: "Calendar disconnected",
    Cause.SETTLING: "Link being made",
    Cause.PROVIDER_RETIRED: "Video service discontinued",
    Cause.PROFILE_REMOVED: "Video account removed",
    Cause.PROFILE_DISCONNECTED: "Video account disconnected",
    Cause.INTEGRATED_UNAVAILABLE: "Calendar offers no video",
    Cause.MISSING_MEETING_URL: "Calendar gives no link",
    Cause.PROVIDER_OUTAGE: "Video service down",
    Cause.CONFERENCING_ABSENT: "Video part missing",
    Cause.UNEXPLAINED: "No reason found yet",
}

CAUSE_TEXT: dict[Cause, str] = {
    Cause.UNREADABLE: "The calendar could not be checked this time.",
    Cause.ACCOUNT_UNAUTHORIZED: "We no longer have access to this person's calendar.",
    Cause.EVENT_DELETED: "The meeting was deleted or cancelled in the calendar.",
    Cause.EVENT_PAST: "The meeting has already started.",
    Cause.ASSIGNED: "The meeting has its video link.",
    Cause.EVENT_MISSING: "The meeting cannot be found in the calendar any more.",
    Cause.CALENDAR_UNAVAILABLE: "The calendar was deleted, or nothing can be written to it any more.",
    Cause.CALENDAR_DISCONNECTED: "The connection to the calendar is broken, for example after a password change.",
    Cause.SETTLING: "The meeting was booked or changed a moment ago; its link is still being made.",
    Cause.PROVIDER_RETIRED: "The meeting was booked with 8x8, a video service that no longer exists.",
    Cause.PROFILE_REMOVED: "The video account that the meeting was booked with has been removed.",
    Cause.PROFILE_DISCONNECTED: "The connection to a video account that the meeting uses, or may use, is broken, for"
    " example after a password change.",
    Cause.INTEGRATED_UNAVAILABLE: "The calendar's own video service was to be used, but the calendar offers none.",
    Cause.MISSING_MEETING_URL: "The calendar's own video service gives no link; most often a licence is missing.",
    Cause.PROVIDER_OUTAGE: "The video service has trouble making links at the moment.",
    Cause.CONFERENCING_ABSENT: "The meeting asks for a video link, but in the calendar it has no video part at all.",
    Cause.UNEXPLAINED: "Everything looks in order, and yet there is no link; no reason has been found so far.",
}

NOT_JUDGED_TITLE = "Not examined yet"
NOT_JUDGED_TEXT = "The meeting had no link when it was last seen; why has not been examined yet."

NOT_LISTED_TITLE = "Not listed the last time"
NOT_LISTED_TEXT = (
    "Cronofy's listing of the calendar lacked the meeting the last time; one listing alone proves nothing."
)


@dataclass(frozen=True, slots=True)
class NextStep:
    """Who must act, and what happens next."""

    actor: Actor
    text: str


LOCATION_TEXT = "It names a place: in a calendar without a field for video links the link would have to stand there."
"""Added where a link is missing without another reason, and the meeting was written with a place."""

_CONFIRMATION = "Cronofy may first send a mail in which the person has to confirm it."

NOTICE_TEXT: dict[NoticeKind, NextStep] = {
    NoticeKind.RELINK_CONFERENCING: NextStep(Actor.PERSON, f"Connect the video account again. {_CONFIRMATION}"),
    NoticeKind.RELINK_CALENDAR: NextStep(Actor.PERSON, "Connect the calendar again."),
    NoticeKind.REAUTHORIZE_ACCOUNT: NextStep(Actor.PERSON, "Allow access to the calendar again."),
    NoticeKind.CONNECT_CONFERENCING: NextStep(
        Actor.PERSON, f"Connect a video account; there is none to use instead. {_CONFIRMATION}"
    ),
    NoticeKind.RESTORE_LICENCE: NextStep(
        Actor.ACCOUNT_MANAGER, "Have the licence for the calendar's own video service restored."
    ),
}

STEP_TEXT: dict[Step, NextStep] = {
    Step.LOOK_AGAIN: NextStep(Actor.NOBODY, "The next run looks at it again."),
    Step.WAIT: NextStep(Actor.NOBODY, "A link mostly takes minutes; we keep checking."),
    Step.WAIT_FOR_SERVICE: NextStep(
        Actor.NOBODY, "The link is expected once the service works again; we keep checking."
    ),
    Step.WAIT_UNSURE: NextStep(
        Actor.NOBODY, "Whether the link still comes is not known; we keep checking, and if it does not, we escalate."
    ),
    Step.CORRECTION_SENT: NextStep(Actor.NOBODY, "The meeting was corrected; we keep checking for its new link."),
    Step.CORRECTION_PLANNED: NextStep(Actor.NOBODY, "A correction is worked out, but has not been made."),
    Step.CORRECTION_OPEN: NextStep(Actor.NOBODY, "A correction has not gone through yet; it will be tried again."),
    Step.AUTHORIZE: NOTICE_TEXT[NoticeKind.REAUTHORIZE_ACCOUNT],
    Step.CHECK_MEETING: NextStep(Actor.ACCOUNT_MANAGER, "Ask the person whether the meeting still stands."),
    Step.CHECK_CALENDAR: NextStep(Actor.ACCOUNT_MANAGER, "Agree with the person on a calendar that can be used."),
    Step.SAVE_AGAIN: NextStep(
        Actor.ACCOUNT_MANAGER, "It cannot be corrected automatically: have the meeting saved again."
    ),
    Step.ASK_SUPPORT: NextStep(
        Actor.ENGINEER,
        f"It has to be handed to Cronofy's support ({SUPPORT_ADDRESS}); `reconciler explain` prints the text for it.",
    ),
}

ACTOR_TEXT: dict[Actor, str] = {
    Actor.NOBODY: "Nobody",
    Actor.PERSON: "The person",
    Actor.ACCOUNT_MANAGER: "Account manager",
    Actor.ENGINEER: "Engineer on call",
}

REPAIR_STATUS_TEXT: dict[RepairStatus, str] = {
    RepairStatus.CONFIRMED: "Confirmed: the link is there",
    RepairStatus.AWAITING: "Awaiting the new link",
    RepairStatus.REPEATED: "No link came; corrected again later",
    RepairStatus.CLOSED: "Over before a link was seen",
    RepairStatus.UNDONE: "Taken back later",
    RepairStatus.UNDO: "Takes an earlier correction back",
}

CHANGE_TEXT: dict[ProviderChange, str] = {
    ProviderChange.SAME: "Same service",
    ProviderChange.CHANGED: "Another service",
    ProviderChange.UNKNOWN: "Not known",
}

DELIVERY_TEXT: dict[Delivery, str] = {
    Delivery.QUEUED: "Not sent yet",
    Delivery.DELIVERED: "Sent",
    Delivery.FAILED: "Sending failed; it is tried again",
    Delivery.DEAD: "Could not be sent",
}

RUN_STATUS_TEXT: dict[str, str] = {
    "running": "Still under way",
    "completed": "Completed",
    "partial": "Finished, but some accounts could not be read or written",
    "stopped": "Stopped early",
    "refused": "Held back by a safety limit",
    "failed": "Failed",
}

NOT_READ_TEXT: Mapping[str, str] = {
    "failed": "could not be checked",
    "parked": "we have no access to any more (they are among those at risk)",
    "left": "were not reached",
}
"""Why events that were due were not read, of their accounts."""

ABANDONED_TEXT = "Not at its end, but its process is gone"

UNREAD_TEXT: Mapping[str, str] = {
    "no_account": "The application does not list this account.",
    "unusable_row": "The application stored a value for a meeting, or for the account, that cannot be used.",
    "token_unreadable": "The access that is stored for the account cannot be read.",
    "wrong_account": "The access that is stored for the account is somebody else's.",
    "write_in_doubt": "A correction was sent, but its answer was lost; the meeting is checked before anything else.",
    "write_failed": "A correction could not be carried out.",
    "write_crossed_delete": "A meeting was deleted while it was corrected: it must be checked whether it is back.",
    "write_crossed_write": "A meeting was changed while it was corrected: it must be checked, or saved again.",
    "correction_refused": "A meeting was corrected, but the application could not take note of it.",
    "parking_refused": "We have no access any more, but the application could not take note of it.",
    "token_not_stored": "The application could not store a renewed access.",
    "barred": "Somebody else kept it locked.",
    "contended": "Its data was in constant use by others.",
    "paused": "The calendar service was too busy.",
    "internal": "Something went wrong on our side.",
    "unknown_data_center": "The application does not say where the account is kept.",
    "malformed": "The calendar service gave no answer that could be used.",
    "rate_limited": "The calendar service was too busy.",
    "timeout": "The calendar service did not answer in time.",
    "unreachable": "The calendar service could not be reached.",
    "server_error": "The calendar service had a fault.",
}
UNREAD_OTHERWISE = "It could not be checked this time."

PROVIDER_TEXT: Mapping[str, str] = {
    "zoom": "Zoom",
    "go_to": "GoTo",
    "ms_teams": "Microsoft Teams",
    "ms_teams_for_business": "Microsoft Teams",
    "google_meet": "Google Meet",
    "google_meet_api": "Google Meet",
    "8x8": "8x8",
    "google": "Google Calendar",
    "exchange": "Exchange",
    "live_connect": "Outlook",
    "apple": "iCloud",
}
"""The list is open at Cronofy: a name that is not here is shown as it is."""

ASKED_TEXT: Mapping[ProfileId, str] = {
    DEFAULT: "The person's usual video account",
    INTEGRATED: "The calendar's own video service",
    RETIRED_8X8: PROVIDER_TEXT["8x8"],
}
"""What an event asks for by a reserved word."""


def provider_text(provider_name: str | None) -> str | None:
    """A provider's name as people know it."""
    return PROVIDER_TEXT.get(provider_name, provider_name) if provider_name else None
