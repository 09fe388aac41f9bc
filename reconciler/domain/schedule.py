"""When an event that is not settled is read again."""

from datetime import datetime, time, timedelta

GAPS = tuple(timedelta(minutes=m) for m in (5, 15, 60, 180, 360))
"""How long to leave an event after its first, second, … look that changed nothing."""

EVERY_RUN_WITHIN = timedelta(hours=24)
"""An event that starts within this is read by every run."""


def next_read_at(now: datetime, starts_at: datetime, unchanged_looks: int, *, in_doubt: bool = False) -> datetime:
    """The moment from which the event is due again, never past the next night (00:00 UTC).

    `unchanged_looks` counts the looks since something last changed. Something in doubt (a repair to be confirmed, an
    event missing once) is due in the very next run.
    """
    if in_doubt or starts_at - now <= EVERY_RUN_WITHIN:
        return now
    gap = GAPS[min(unchanged_looks, len(GAPS) - 1)]
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), tzinfo=now.tzinfo)
    return min(now + gap, midnight)
