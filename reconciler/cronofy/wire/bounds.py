"""How much an answer may hold, checked on its bytes before any of it becomes an object.

Bytes alone bound nothing: `{}` takes three of them on the wire and over a hundred in memory. Counting is done by the
interpreter's own search, at about the speed of memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.cronofy.wire.malformed import Malformed

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bound:
    """The most bytes, once inflated, and the most elements (objects, lists and what stands in them) of an answer."""

    most_bytes: int
    most_elements: int


BOUNDS: Mapping[str, Bound] = {
    "events": Bound(8 * _MIB, 200_000),
    "userinfo": Bound(8 * _MIB, 200_000),
    "upsert": Bound(64 * 1024, 2_000),
    "batch": Bound(_MIB, 20_000),
    "token": Bound(64 * 1024, 2_000),
}
"""By what is asked for. Cronofy documents no sizes: a page of 300 events with 50 attendees each has 80,000 elements and
3 MB, ten thousand profiles have 50,000 and 2 MB. One decoding stays under 50 ms, and under 60 MB."""


class TooLarge(Malformed):
    """An answer with more elements than its kind may have."""

    def __init__(self, most_elements: int) -> None:
        super().__init__(f"it holds more than {most_elements} elements")


def check_elements(body: bytes, kind: str) -> None:
    """Refuse what would become too many objects.

    Raises:
        TooLarge: it has more elements than an answer of that kind may have.
    """
    most = BOUNDS[kind].most_elements
    if not _has_more(body, most):
        return
    # Texts may hold such characters too. An element has two strings at most, so that more are too many elements.
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * (most + 1) or _has_more(b"".join(plain.split(b'"')[::2]), most):
        raise TooLarge(most)


_AT_ONCE = 1_048_576
"""Bytes that are searched in one go: other threads get their turn in between."""


def _has_more(body: bytes, most: int) -> bool:
    """Whether it has more characters that stand before or between elements."""
    marks = 0
    for begin in range(0, len(body), _AT_ONCE):
        end = begin + _AT_ONCE
        marks += body.count(b"{", begin, end) + body.count(b"[", begin, end) + body.count(b",", begin, end)
        if marks > most:
            return True
    return False
