"""What Cronofy answers to writes, and why it refuses what it refuses."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from reconciler.cronofy.wire.malformed import UNDECODABLE, Malformed
from reconciler.cronofy.wire.mending import decode


class _Entry(Struct):
    status: int
    data: Raw = Raw()


class _Batch(Struct):
    batch: list[Raw]


_BATCH = msgspec.json.Decoder(_Batch)
_ENTRY = msgspec.json.Decoder(_Entry)


@dataclass(frozen=True, slots=True)
class EntryAnswer:
    """What a batch says of one of its entries; `status` is null where that cannot be read."""

    status: int | None
    keys: tuple[str, ...]


def read_batch(body: bytes) -> Sequence[EntryAnswer]:
    """Read the answers of a batch, in the order of its entries.

    Raises:
        Malformed: this is no answer to a batch.
    """
    try:
        entries = decode(_BATCH, body).batch
    except UNDECODABLE:
        raise Malformed("the answer to a batch has another shape than documented") from None
    return [_read_entry(raw) for raw in entries]


def _read_entry(raw: Raw) -> EntryAnswer:
    try:
        entry = decode(_ENTRY, raw)
    except UNDECODABLE:
        return EntryAnswer(None, ())
    return EntryAnswer(entry.status, read_error_keys(entry.data))


class _ErrorKey(Struct):
    key: str


class _Errors(Struct):
    errors: dict[str, Raw]


_ERRORS = msgspec.json.Decoder(_Errors)
_ERRORS_OF_ONE = msgspec.json.Decoder(list[Raw])
_ERROR_KEY = msgspec.json.Decoder(_ErrorKey)
_SAFE_KEY = re.compile(r"errors\.[a-z0-9_.]{1,72}")
_MOST_KEYS = 20


def read_error_keys(body: bytes | Raw) -> tuple[str, ...]:
    """The error keys of a 422, each once. Empty where the body is anything else; descriptions are left behind."""
    try:
        errors = decode(_ERRORS, body).errors
    except UNDECODABLE:
        return ()
    keys = dict.fromkeys(key for raw in errors.values() for key in _keys_of_one(raw) if _SAFE_KEY.fullmatch(key))
    return tuple(keys)[:_MOST_KEYS]


def _keys_of_one(raw: Raw) -> Iterator[str]:
    try:
        entries = decode(_ERRORS_OF_ONE, raw)
    except UNDECODABLE:
        return
    for entry in entries:
        with suppress(*UNDECODABLE):
            yield decode(_ERROR_KEY, entry).key
