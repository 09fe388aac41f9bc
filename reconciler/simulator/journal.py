"""What clients did: every request, and everything they did that was harmful or wrong.

Token values never enter it. The kinds are those a client's own request counters distinguish.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

RequestKind = Literal["events", "userinfo", "upsert", "batch", "token", "other"]
_TOKEN_KEYS = frozenset({"access_token", "refresh_token", "client_secret", "token", "code"})
REDACTED = "[redacted]"


@dataclass
class RequestRecord:
    """One request; `status` is None until it is answered, and stays None where the connection was broken.

    `at` is the virtual clock, `arrived` the monotonic one that the rate limits go by.
    """

    at: datetime
    arrived: float
    kind: RequestKind
    method: str
    path: str
    query: list[tuple[str, str]]
    account_id: str | None
    cost: int
    body: Any
    status: int | None = None

    @property
    def json(self) -> Any:
        """The JSON (or form) body, token values redacted."""
        return self.body

    def as_json(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "at": self.at.isoformat(),
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "query": [list(pair) for pair in self.query],
            "account_id": self.account_id,
            "cost": self.cost,
            "status": self.status,
            "body": self.body,
        }


def kind_of(method: str, path: str) -> RequestKind:
    """Which counter a request belongs to."""
    parts = path.strip("/").split("/")
    match method, parts:
        case "GET", ["v1", "events"] | ["v1", "events", "pages", _]:
            return "events"
        case "GET", ["v1", "userinfo"]:
            return "userinfo"
        case "POST", ["v1", "calendars", _, "events"]:
            return "upsert"
        case "POST", ["v1", "batch"]:
            return "batch"
        case "POST", ["oauth", "token", *_]:
            return "token"
        case _:
            return "other"


def redact(value: Any) -> Any:
    """A deep copy without token values."""
    if isinstance(value, dict):
        return {k: REDACTED if k in _TOKEN_KEYS else redact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    return value


def redact_query(query: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same for a query string."""
    return [(k, REDACTED if k in _TOKEN_KEYS else v) for k, v in query]
