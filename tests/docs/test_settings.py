"""docs/settings.md names every setting with its default and meaning."""

import re
import typing
from datetime import timedelta
from enum import Enum
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from reconciler.config import PREFIX, Settings, load_settings
from reconciler.domain.durations import parse_duration

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"
ROW = re.compile(r"^\| `(RECONCILER_\w+)`( \*\*secret\*\*)? \| (.*?) \| (.*?) \|$", re.MULTILINE)
FIELDS = Settings.model_fields


def rows() -> dict[str, tuple[bool, str, str]]:
    """What the document says of each variable: whether it is secret, its default, its meaning."""
    return {
        name: (bool(secret), default, meaning)
        for name, secret, default, meaning in ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    }


def variable(name: str) -> str:
    return PREFIX + name.upper()


def is_secret(field: FieldInfo) -> bool:
    parts = [field.annotation, *typing.get_args(field.annotation)]
    return SecretStr in parts


def says_default(text: str, default: object) -> bool:
    """Whether a text is how a person would write this default."""
    match default:
        case None | ():
            return text == "none"
        case timedelta():
            return parse_duration(text) == default
        case Enum():
            return bool(text == default.value)
        case float() | int():
            return float(text) == default
        case _:
            return text == str(default)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_there_with_its_default_and_meaning(name: str) -> None:
    secret, default, meaning = rows()[variable(name)]
    assert says_default(default, FIELDS[name].default)
    assert meaning == FIELDS[name].description
    assert secret is is_secret(FIELDS[name])


def test_no_setting_is_there_that_does_not_exist() -> None:
    assert set(rows()) == {variable(name) for name in FIELDS}


def test_no_setting_is_there_twice() -> None:
    names = [row[0] for row in ROW.findall(DOCUMENT.read_text(encoding="utf-8"))]
    assert len(names) == len(set(names))


def test_the_secrets_are_those_that_must_not_be_shown() -> None:
    secret = {name for name, (is_so, _, _) in rows().items() if is_so}
    assert secret == {variable(n) for n in ("database_url", "cronofy_client_secret", "token_keys")}


def test_a_default_that_is_written_down_is_a_value_that_can_be_set() -> None:
    environment = {name: default for name, (_, default, _) in rows().items() if default != "none"}
    assert load_settings(environment) == load_settings({})


def test_a_file_in_place_of_a_variable_works_as_the_document_says(tmp_path: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "RECONCILER_DATABASE_URL_FILE" in text
    there = tmp_path / "grace"
    there.write_text("7m\n", encoding="utf-8")
    assert load_settings({"RECONCILER_GRACE_FILE": str(there)}).grace == timedelta(minutes=7)
    both = {"RECONCILER_GRACE_FILE": str(there), "RECONCILER_GRACE": "9m"}
    assert "Where both are set the variable itself wins" in text
    assert load_settings(both).grace == timedelta(minutes=9)
