"""What decoding says of an answer, or a stored body, that is not as documented."""

import msgspec

UNDECODABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
"""Everything decoding may raise on a hostile answer: no JSON, another shape, endless nesting, no text."""


_NUL, _REPLACED = rb"\u0000", rb"\ufffd"


def storable(body: bytes) -> bytes:
    """An answer whose strings Postgres can store: U+FFFD stands where it has the NUL character."""
    return body.replace(_NUL, _REPLACED) if _NUL in body else body


class Malformed(ValueError):
    """An answer, or a stored body, of another shape than documented. The message holds none of its content."""
