"""What people read: reports as HTML, CSV and JSON, stories, summaries. Pure: values in, text out."""

from importlib import import_module

from reconciler.domain.report import Report

FORMATS = ("html", "csv", "json")


def render(report: Report, format: str) -> bytes:
    """A report as a file's content, UTF-8. Only the format asked for is imported.

    Raises:
        ValueError: there is no such format; the message is one line.
    """
    if format not in FORMATS:
        raise ValueError(f"no report format {format!r}; there are {', '.join(FORMATS)}")
    content: bytes = import_module(f"{__name__}.{format}").render(report)
    return content
