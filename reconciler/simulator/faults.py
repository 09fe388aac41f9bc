"""Faults to inject: what a network and a tired server do to a client (cronofy-api.md sections 9 and 13).

A fault applies to requests that match its path and account, as often as `times` says, with its probability, drawn from
a seeded generator. `after_commit` decides whether the request took effect before its answer was spoilt. One with a
`match_path` also applies to single entries of a batch (kinds `status` and `drop_write`).
"""

from __future__ import annotations

import random
import re
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from reconciler.simulator.intake import STRICT, Seconds

Kind = Literal["status", "reset", "delay", "hold", "hang", "truncate", "html", "drop_write"]
ENTRY_KINDS = frozenset({"status", "drop_write"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"content-length", "transfer-encoding"})
HTML_PAGE = "<html><head><title>We'll be right back</title></head><body><h1>Sorry</h1></body></html>"


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"should be a regular expression: {error}") from None
    return value


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise ValueError("should be names and values that HTTP can carry")
        if name.lower() in _FRAMING:
            raise ValueError(f"should not hold {name}: kind truncate breaks off an answer")
    return headers


@dataclass(config=STRICT)
class Fault:
    """One way to misbehave.

    status      answers `status` (500 unless told) with `body` and `headers`
    reset       breaks the connection
    delay       answers correctly after `delay` real seconds (other kinds honour `delay` too)
    hold        answers correctly once the fault is lifted; `held` requests wait for that
    hang        never answers
    truncate    promises a whole body and breaks off in the middle
    html        answers `status` (502 unless told) with a page of HTML
    drop_write  says 202, and nothing happens
    """

    kind: Kind
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    body: Any = None
    headers: Annotated[dict[str, str], AfterValidator(_sendable)] | None = None
    delay: Seconds = 0.0
    match_path: Annotated[str, AfterValidator(_pattern)] | None = None
    account_id: str | None = None
    times: Annotated[int, Field(ge=0)] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    after_commit: bool = False
    hits: int = field(default=0, init=False)
    held: int = field(default=0, init=False)
    lifted: bool = field(default=False, init=False)

    def matches(self, path: str, account_id: str | None) -> bool:
        """Whether it is meant for this request and not used up."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.account_id is not None and self.account_id != account_id:
            return False
        return self.match_path is None or re.search(self.match_path, path) is not None


class Faults:
    """The faults in force, in order; the first that strikes a request is the only one."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"faults-{seed}")
        self.active: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        self.active.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Lift one."""
        fault.lifted = True
        self.active.remove(fault)

    def clear(self) -> None:
        """Lift all."""
        for fault in self.active:
            fault.lifted = True
        self.active.clear()

    def strike(self, path: str, account_id: str | None) -> Fault | None:
        """The fault for a whole request."""
        return self._draw([f for f in self.active if f.matches(path, account_id)])

    def strike_entry(self, path: str, account_id: str | None) -> Fault | None:
        """The fault for one entry of a batch."""
        aimed = [f for f in self.active if f.match_path is not None and f.kind in ENTRY_KINDS]
        return self._draw([f for f in aimed if f.matches(path, account_id)])

    def _draw(self, candidates: list[Fault]) -> Fault | None:
        for fault in candidates:
            if fault.probability >= 1 or self._random.random() < fault.probability:
                fault.hits += 1
                return fault
        return None
