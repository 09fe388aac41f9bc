"""What Cronofy answers to writes, and why it refuses what it refuses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed


class _Entry(Struct):
    status: int
    data: Raw = Raw()


class _Batch(Struct):
    batch: list[_Entry]


_BATCH = msgspec.json.Decoder(_Batch)


@dataclass(frozen=True, slots=True)
class EntryAnswer:
    """What a batch says of one of its entries."""

    status: int
    keys: tuple[str, ...]


def read_batch(body: bytes) -> Sequence[EntryAnswer]:
    """Read the answers of a batch, in the order of its entries.

    Raises:
        Malformed: this is no answer to a batch.
    """
    try:
        return [EntryAnswer(e.status, read_error_keys(e.data)) for e in _BATCH.decode(body).batch]
    except UNDECODABLE:
        raise Malformed("the answer to a batch has another shape than documented") from None


class _ErrorKey(Struct):
    key: str


class _Errors(Struct):
    errors: dict[str, list[Raw]]


_ERRORS = msgspec.json.Decoder(_Errors)
_ERROR_KEY = msgspec.json.Decoder(_ErrorKey)
_SAFE_KEY = re.compile(r"errors\.[a-z0-9_.]{1,72}")
_MOST_KEYS = 20


def read_error_keys(body: bytes | Raw) -> tuple[str, ...]:
    """The error keys of a 422, each once. Empty where the body is anything else; descriptions are left behind."""
    try:
        errors = _ERRORS.decode(body).errors
    except UNDECODABLE:
        return ()
    keys: dict[str, None] = {}
    for entries in errors.values():
        for raw in entries:
            try:
                key = _ERROR_KEY.decode(raw).key
            except UNDECODABLE:
                continue
            if _SAFE_KEY.fullmatch(key):
                keys[key] = None
    return tuple(keys)[:_MOST_KEYS]
