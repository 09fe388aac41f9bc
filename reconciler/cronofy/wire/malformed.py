"""What decoding says of an answer, or a stored body, that is not as documented."""

import msgspec

UNDECODABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
"""Everything decoding may raise on a hostile answer: no JSON, another shape, endless nesting, no text."""


class Malformed(ValueError):
    """An answer, or a stored body, of another shape than documented. The message holds none of its content."""
