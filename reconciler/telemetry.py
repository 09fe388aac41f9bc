"""Logs: one JSON object a line on stderr, each event once, nothing secret in it."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"
_SECRET_WORDS = ("token", "secret", "password", "relink_url", "join_url", "body", "authorization", "database_url")


def hide_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The last guard: a value under a name that means a secret is never written."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = HIDDEN
    return event


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


def configure_logs(form: str = "json", level: str = "info") -> None:
    """Set up structlog for this process."""
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    if form == "console":
        processors.append(
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        )
    else:
        processors += [_plain_error, structlog.processors.JSONRenderer(sort_keys=False)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    if not any(isinstance(handler, LibraryLogs) for handler in logging.root.handlers):
        logging.root.addHandler(LibraryLogs(logging.WARNING))
