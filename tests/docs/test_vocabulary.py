"""Every word that users meet is described: causes, tags, notices, exit codes, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from reconciler.cli import main
from reconciler.commands.terminal import Exit
from reconciler.domain.audit import AuditTag
from reconciler.domain.cause import Cause
from reconciler.domain.evidence_json import EVIDENCE_VERSION
from reconciler.domain.remedy import NoticeKind

DOCS = Path(__file__).parents[2] / "docs"
SETTINGS, AUDIT, DECISIONS = "settings.md", "audit.md", "decisions.md"


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def described(name: str) -> dict[str, str]:
    """What the tables of a document say: of the first cell that is a word in code or a number, what follows it."""
    rows = re.findall(r"^\|(?: \d+ \|)? `?([\w:. -]+?)`? \| (.+) \|$", text_of(name), re.MULTILINE)
    return {word: meaning.strip() for word, meaning in rows}


def commands(group: click.Group, name: str) -> Iterator[str]:
    """The names of all commands, as typed."""
    for word, command in group.commands.items():
        typed = f"{name} {word}"
        if isinstance(command, click.Group):
            yield from commands(command, typed)
        else:
            yield typed


COMMANDS = sorted(commands(main, "reconciler"))


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_described(cause: Cause) -> None:
    assert described(DECISIONS)[cause]


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_notice_is_described(kind: NoticeKind) -> None:
    assert described(DECISIONS)[kind]


@pytest.mark.parametrize("tag", AuditTag)
def test_every_tag_is_described(tag: AuditTag) -> None:
    assert described(AUDIT)[tag]


def test_no_tag_is_described_that_does_not_exist() -> None:
    assert {word for word in described(AUDIT) if ":" in word} == {tag.value for tag in AuditTag}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_described(command: str) -> None:
    assert described(SETTINGS)[command]


def test_no_command_is_described_that_does_not_exist() -> None:
    assert sorted(word for word in described(SETTINGS) if word.startswith("reconciler ")) == COMMANDS


@pytest.mark.parametrize("code", Exit)
def test_every_exit_code_is_described_in_the_document_and_in_the_help(code: Exit) -> None:
    assert described(SETTINGS)[str(code.value)]
    shown = CliRunner().invoke(main, ["--help"]).output
    assert re.search(rf"^ +{code.value} +\w", shown, re.MULTILINE)


def test_no_exit_code_is_described_that_does_not_exist() -> None:
    assert {word for word in described(SETTINGS) if word.isdigit()} == {str(code.value) for code in Exit}


def test_the_version_of_evidence_that_is_read_is_named() -> None:
    assert f"This program reads version {EVIDENCE_VERSION}." in text_of(AUDIT)


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target
