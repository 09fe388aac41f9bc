"""Loads the named SQL statements, from the wheel or from the source tree."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

_INCLUDE = re.compile(r"^-- include: (\w+)\s*$", re.MULTILINE)
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def sql_folder() -> Path:
    """The folder `sql/`: inside the installed package, or beside it in a source tree."""
    packaged = Path(str(files("reconciler") / "sql"))
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "sql"


def _fragment(name: str) -> str:
    return (sql_folder() / "fragments" / f"{name}.sql").read_text(encoding="utf-8").rstrip() + "\n"


@cache
def statements(name: str) -> dict[str, str]:
    """The statements of `sql/queries/{name}.sql`, by the names in their `-- name:` lines.

    A line `-- include: x` stands for the text of `sql/fragments/x.sql`.
    """
    text = (sql_folder() / "queries" / f"{name}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(_INCLUDE.sub(lambda match: _fragment(match[1]), text))[1:]
    return {key: body.strip().rstrip(";") for key, body in zip(parts[::2], parts[1::2], strict=True)}
