"""What Cronofy pushes about an event: the event itself, as a listing would show it."""

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.listing import found_in
from reconciler.cronofy.wire.malformed import UNDECODABLE
from reconciler.domain.pushed import PushedEvent


class _Notification(Struct):
    event: Raw = Raw()


_NOTIFICATION = msgspec.json.Decoder(_Notification)


def pushed_event(payload: str) -> PushedEvent | None:
    """The event that a notification carries (Cronofy changelog: the full event); null where it cannot be read."""
    try:
        raw = _NOTIFICATION.decode(payload).event
    except UNDECODABLE:
        return None
    return found_in(raw)
