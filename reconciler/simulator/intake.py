"""What comes in through the control routes and from scene files: decoded into types, or refused in plain words.

Nothing is guessed: `"off"` is no false and `"5"` no number; unknown keys are named. A refusal names every field that is
wrong and what it should be, and never repeats what was sent, for that may be a secret.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from reconciler.simulator.accounts import refuse_real_secret
from reconciler.simulator.times import LONGEST_S, parse, stamp

STRICT = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

_RELATIVE = re.compile(r"([+-]\d{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WORDS = {
    "extra_forbidden": "is unknown",
    "unexpected_keyword_argument": "is unknown",
    "missing": "is missing",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "finite_number": "should be a number",
    "string_type": "should be text",
    "string_too_short": "should not be empty",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "greater_than_equal": "should be at least {ge:.15g}",
    "less_than_equal": "should be at most {le:.15g}",
    "literal_error": "should be {expected}",
    "value_error": "{error}",
    "json_invalid": "is not JSON: {error}",
}
_OBJECTS = frozenset({"model_type", "dataclass_type", "dict_type"})

T = TypeVar("T")


class Wrong(ValueError):
    """Input that makes no sense; the message says what should be different."""


class Order(BaseModel):
    """A JSON object of a client's; what it may hold is what a subclass declares."""

    model_config = STRICT


def decode(kind: type[T], raw: bytes | str) -> T:
    """Read JSON as that type."""
    try:
        decoded: T = _adapter(cast("Any", kind)).validate_json(raw)
    except ValidationError as error:
        raise Wrong(sentence(error.errors(include_url=False, include_input=False))) from None
    return decoded


def sentence(problems: Iterable[ErrorDetails]) -> str:
    """What is wrong, field by field."""
    return "; ".join(f"{_place(problem['loc'])} {_should(problem)}" for problem in problems)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _place(steps: tuple[int | str, ...]) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return path.removeprefix(".") or "the body"


def _should(problem: ErrorDetails) -> str:
    if problem["type"] in _OBJECTS:
        return "should be a JSON object"
    words = _WORDS.get(problem["type"])
    return words.format(**problem.get("ctx", {})) if words else problem["msg"]


def relative(value: Any, now: datetime) -> Any:
    """`+2d` as a time; anything else as it is."""
    found = _RELATIVE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    seconds = int(found[1]) * _UNITS[found[2]]
    if abs(seconds) > LONGEST_S:
        raise ValueError("a relative time lies within a hundred years")
    return stamp(now + timedelta(seconds=seconds))


def in_order(start: Any, end: Any, now: datetime) -> tuple[Any, Any]:
    """Both ends of an event, neither of them relative any more."""
    ends = relative(start, now), relative(end, now)
    first, last = (parse(value) for value in ends)
    if first.all_day != last.all_day or first.instant() > last.instant():
        raise Wrong("start and end should be both dates or both times, in order")
    return ends


def _no_secret(value: str) -> str:
    refuse_real_secret(value)
    return value


def _when(value: Any) -> Any:
    try:
        parse(relative(value, datetime.now(UTC)))
    except (ValueError, OverflowError):
        raise ValueError(
            "should be a date, a time such as 2026-01-31T09:00:00Z, {time, tzid}, or relative such as +2d"
        ) from None
    return value


Name = Annotated[str, Field(min_length=1)]
Harmless = Annotated[str, AfterValidator(_no_secret)]
"""Text that does not look like a real secret."""
Seconds = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]
Gap = Annotated[float, Field(ge=0.001, le=LONGEST_S, allow_inf_nan=False)]
"""Seconds, enough of them for time to pass."""
When = Annotated[Any, AfterValidator(_when)]
"""An event time in any form Cronofy takes, or relative to the present."""
