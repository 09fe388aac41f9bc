"""Logs: one JSON object a line on stderr, each event once, nothing secret in it."""

import io
import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from reconciler.domain.visible import visible

HIDDEN = "[hidden]"
_SECRET_WORDS = ("token", "secret", "password", "relink_url", "join_url", "body", "authorization", "database_url")


def hide_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The last guard: a value under a name that means a secret is never written."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = HIDDEN
    return event


def _visible_values(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Lines for a terminal: every value on its line, harmless. Other values than texts are shown as code is."""
    return {key: visible(value) if isinstance(value, str) else value for key, value in event.items()}


def _visible_traceback(stream: TextIO, error: structlog.typing.ExcInfo) -> None:
    told = io.StringIO()
    structlog.dev.plain_traceback(told, error)
    stream.write(visible(told.getvalue(), keep="\n"))


def _plain_error(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Tracebacks without local variables: those may hold tokens."""
    if event.pop("exc_info", None):
        event["exception"] = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)(_current())
    return event


def _current() -> Any:
    return sys.exc_info()


class LibraryLogs(logging.Handler):
    """Warnings of the libraries as one line of ours each. Their tracebacks stay out: they may quote rows."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it."""
        said = record.getMessage().splitlines() or [""]
        structlog.get_logger().log(record.levelno, "library", logger=record.name, said=said[0][:200])


def configure_logs(form: str = "json", level: str = "info", terminal: TextIO | None = None) -> None:
    """Set up structlog for this process. `terminal` is what coloured lines are drawn on."""
    colours = False
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    if form == "console":
        colours = sys.stderr.isatty() and terminal is not None
        processors += [
            _visible_values,
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=_visible_traceback),
        ]
    else:
        processors += [_plain_error, structlog.processors.JSONRenderer(sort_keys=False)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=terminal if colours else sys.stderr),
        cache_logger_on_first_use=False,
    )
    if not any(isinstance(handler, LibraryLogs) for handler in logging.root.handlers):
        logging.root.addHandler(LibraryLogs(logging.WARNING))
