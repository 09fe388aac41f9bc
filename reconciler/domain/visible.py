"""Text from outside as a person may see it: what moves a cursor, turns or hides text is shown as an escape.

Nothing that a reader needs is lost: letters of every script, marks and emoji stay as they are.
"""

import re
from collections.abc import Iterable

_HARMFUL = (
    r"\x00-\x1f\x7f-\x9f"  # control characters: C0, DEL, C1
    r"\u2028\u2029"  # line and paragraph separator
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    r"\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # seen by nobody
    r"\ud800-\udfff"  # half a character
)
_JOINERS = r"\u200c\u200d"
_OUTSIDE_ASCII = r"[^\x00-\x7f]"
_ESCAPED = re.compile(
    f"[{_HARMFUL}]|(?<!{_OUTSIDE_ASCII})[{_JOINERS}]|[{_JOINERS}](?!{_OUTSIDE_ASCII})"  # scripts and emoji need them
)


def visible(text: str, keep: str = "") -> str:
    """The text on one line. `keep` names characters that stay as they are: `\\n` of a text that is several lines."""
    if text.isascii() and text.isprintable():
        return text
    return _ESCAPED.sub(lambda c: c[0] if c[0] in keep else c[0].encode("unicode_escape").decode(), text)


def page(lines: Iterable[str]) -> str:
    """Lines one below the other; a line break within one is shown, so that no value passes for a line of ours."""
    return "\n".join(visible(line) for line in lines)
