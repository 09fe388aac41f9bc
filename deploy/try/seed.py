"""Plays the application for compose.yaml: puts one scene both into the simulator and into the database.

Usage: seed.py SCENE.json. Does nothing when the simulator holds a scene already: starting again keeps the story.
"""

import json
import os
import re
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

SIMULATOR = os.environ["RECONCILER_CRONOFY_URL"]
DATABASE = os.environ["RECONCILER_DATABASE_URL"]
UNITS = {"m": "minutes", "h": "hours", "d": "days"}

ACCOUNT = """
INSERT INTO reconciler.accounts (account_id, access_token, refresh_token, name, email, customer, account_manager)
VALUES (%(account_id)s, %(access_token)s, %(refresh_token)s, %(name)s, %(email)s, %(customer)s, %(account_manager)s)
ON CONFLICT (account_id) DO UPDATE
SET access_token = excluded.access_token, refresh_token = excluded.refresh_token, state = 'active'
"""
EVENT = """
INSERT INTO reconciler.events (calendar_id, event_id, account_id, starts_at, ends_at, profile_id, body, written_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (calendar_id, event_id) DO UPDATE
SET starts_at = excluded.starts_at, ends_at = excluded.ends_at, profile_id = excluded.profile_id,
    body = excluded.body, written_at = excluded.written_at
"""


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the simulator's control routes."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - the simulator's own address
        f"{SIMULATOR}/control/{path}", data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return dict(json.load(answer))


def fixed(value: object, now: datetime) -> Any:
    """Relative times such as `+2d` made absolute, so that both sides hold the same."""
    if isinstance(value, dict):
        return {key: fixed(item, now) for key, item in value.items()}
    if isinstance(value, list):
        return [fixed(item, now) for item in value]
    if isinstance(value, str) and (found := re.fullmatch(r"([+-]\d+)([mhd])", value)):
        return (now + timedelta(**{UNITS[found[2]]: int(found[1])})).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def main() -> None:
    """Seed both sides, or neither."""
    if call("GET", "state")["accounts"]:
        print("the simulator holds a scene already")
        return
    scene = fixed(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), datetime.now(UTC))
    with psycopg.connect(DATABASE) as database:
        for account in scene["accounts"]:
            database.execute(ACCOUNT, account)
            for event in account["events"]:
                body = event["body"]
                database.execute(
                    EVENT,
                    (
                        event["calendar_id"],
                        body["event_id"],
                        account["account_id"],
                        body["start"],
                        body["end"],
                        body["conferencing"]["profile_id"],
                        json.dumps(body),
                        event["written_at"],
                    ),
                )
            for ours in ("customer", "account_manager"):
                del account[ours]
        print(call("PUT", "scene", scene))


main()
