"""Broken texts in an answer, mended in its bytes so that they cost no more than themselves.

JSON as programs write it may hold half an emoji (`\\ud83d` without its other half), bytes that are not text, NUL (which
Postgres stores in no text), or `NaN`: a decoder refuses the whole answer for one of them, wherever it stands. In place
of each comes U+FFFD, or null. Deliberately absent: guesses at what was meant, and any repair of a document's structure.

What is broken all over is not mended: that would take seconds, in which nobody else's answer is read.
"""

import re
from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec import Raw
from msgspec.json import Decoder

from reconciler.cronofy.wire.malformed import UNDECODABLE

T = TypeVar("T")

STAND_IN = "\ufffd"
"""U+FFFD, in the place of a character that is none, or that cannot be stored."""

_NUL = rb"\u0000"


def decode(decoder: Decoder[T], body: bytes | Raw) -> T:
    """The value of an answer, or of a part of it. The only way from an answer's bytes to objects.

    Raises:
        one of `UNDECODABLE`: it is none of the decoder's, mended or not, or broken all over.
    """
    body = bytes(body)
    try:
        return decoder.decode(mended(body) if _NUL in body else body)
    except msgspec.ValidationError:
        raise
    except UNDECODABLE:
        better = mended(body)
        if better is body:
            raise
    return decoder.decode(better)


_BACKSLASH, _QUOTE = rb"\\", rb"\""
_BACKSLASH_ASIDE, _QUOTE_ASIDE = b"\xff\xfe", b"\xff\xfd"
"""An escaped backslash and an escaped quote, out of the way: no text in UTF-8 has such bytes."""

_SPOILT = re.compile(
    rb"\\(?:u0000"
    rb"|u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\)u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?![/bfnrt]|u[0-9a-fA-F]{4}))"
)
"""NUL, the first half of a pair without the second, the second without the first, and what is no escape at all."""

_STRING_OR_WORD = re.compile(rb'"[^"]*"?|-?\b(?:NaN|Infinity)\b')
_CONTROL = re.compile(rb"[\x00-\x1f]")
_CONTROLS = bytes(range(0x20))

MOST_BROKEN = 20_000
"""Characters of an answer that are put in the place of broken ones."""
MOST_ESCAPES = 500_000
"""Escapes of an answer, but for backslashes and quotes, that are looked at for broken ones: a tenth of a second."""
_AT_ONCE = 65_536


class _Unmendable(UnicodeError):
    """Too much of an answer is broken."""


def mended(body: bytes) -> bytes:
    """An answer with its broken texts mended; the very same where there are none.

    Raises:
        UnicodeError: there are too many.
    """
    text = _in_utf8(body)
    aside = text.replace(_BACKSLASH, _BACKSLASH_ASIDE).replace(_QUOTE, _QUOTE_ASIDE)
    if aside.count(b"\\") > MOST_ESCAPES:
        raise _Unmendable
    aside, broken = _SPOILT.subn(rb"\\ufffd", aside)
    if broken > MOST_BROKEN:
        raise _Unmendable
    if b"NaN" in aside or b"Infinity" in aside or _CONTROL.search(aside):
        aside = _STRING_OR_WORD.sub(_TokensMended(), aside)
    better = aside.replace(_QUOTE_ASIDE, _QUOTE).replace(_BACKSLASH_ASIDE, _BACKSLASH)
    return body if better == body else better


def _in_utf8(body: bytes) -> bytes:
    if body.isascii():
        return body
    body = body.removeprefix(BOM_UTF8)
    try:
        body.decode()
    except UnicodeDecodeError:
        return b"".join(_replaced(body))
    return body


def _replaced(body: bytes) -> Iterator[bytes]:
    """The same with U+FFFD in place of what is no text, piece by piece."""
    decoder, broken = getincrementaldecoder("utf-8")("replace"), 0
    for begin in range(0, len(body), _AT_ONCE):
        text = decoder.decode(body[begin : begin + _AT_ONCE], begin + _AT_ONCE >= len(body))
        broken += text.count(STAND_IN)
        if broken > MOST_BROKEN:
            raise _Unmendable
        yield text.encode()


class _TokensMended:
    """A string with its control characters escaped; null for a number that JSON does not have."""

    def __init__(self) -> None:
        self._broken = 0

    def __call__(self, token: re.Match[bytes]) -> bytes:
        text = token[0]
        if not text.startswith(b'"'):
            return b"null"
        self._broken += len(text) - len(text.translate(None, _CONTROLS))
        if self._broken > MOST_BROKEN:
            raise _Unmendable
        return _CONTROL.sub(_escaped, text)


def _escaped(control: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % control[0][0] if control[0] != b"\0" else rb"\ufffd"


def is_spoilt(text: str, body: bytes) -> bool:
    """Whether mending put a stand-in into this text of the answer: as an id it names something else then."""
    return STAND_IN in text and STAND_IN.encode() not in body and rb"\ufffd" not in body.lower()
