"""What the words of the command line may be: moments, durations, ids of any kind."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from reconciler.domain.durations import parse_duration, parse_moment
from reconciler.domain.ids import EventKey, id_from, keys_from


class Text(click.ParamType[str]):
    """Any text that can be stored."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is no text in the terminal's encoding, and what no database holds."""
        text = str(value)
        if "\x00" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)):
            self.fail(f"{text!r} is no text", param, ctx)
        return text


class Moment(click.ParamType[datetime]):
    """A point in time: ISO 8601, or a duration from now, ahead or back."""

    name = "time"

    def __init__(self, *, ahead: bool) -> None:
        self._ahead = ahead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse it; wrong usage otherwise."""
        try:
            return parse_moment(value, datetime.now(UTC), ahead=self._ahead).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[timedelta]):
    """A length of time: `90s 15m 24h 7d` or ISO 8601."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse it; wrong usage otherwise."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seal(Text):
    """A hash as summaries and logs show it."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what cannot be one."""
        text = super().convert(value, param, ctx).strip().lower()
        if not re.fullmatch("[0-9a-f]{64}", text):
            self.fail(f"{text!r} is not a seal: that is 64 hexadecimal digits", param, ctx)
        return text


class Identifier(Text):
    """An id or name: any text but the empty one; a JSON string in quotes is taken as written."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take it as written; refuse an empty one, which usually is a variable that is not set."""
        if not value:
            self.fail(f"{value!r} is no id", param, ctx)
        return super().convert(id_from(str(value)), param, ctx)


class RunName(click.types.UUIDParameterType):
    """The id of a run or plan; in quotes, as `--json` prints it, it will do too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse it; wrong usage otherwise."""
        return super().convert(id_from(value) if isinstance(value, str) else value, param, ctx)


class EventName(click.ParamType[tuple[EventKey, ...]]):
    """An event as CALENDAR_ID/EVENT_ID; all that this may mean, where an id may hold a slash."""

    name = "calendar/event"
    _text = Text()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[EventKey, ...]:
        """Split it."""
        try:
            keys = keys_from(self._text.convert(value, param, ctx))
        except ValueError:
            self.fail(f"{value!r} is not CALENDAR_ID/EVENT_ID", param, ctx)
        for key in keys:
            self._text.convert(str(key), param, ctx)
        return keys
