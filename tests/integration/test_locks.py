"""The lock files: whatever they name installs with any pip, also when newer releases of it appear."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))
PYTHONS = ("3.11", "3.12", "3.13")

_PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[([^\]]*)\])?==", re.MULTILINE)


def pinned(lock: str) -> dict[str, set[str]]:
    """The packages of a lock file, each with the extras it stands with."""
    return {
        canonicalize_name(name): {canonicalize_name(extra) for extra in extras.split(",") if extra}
        for name, extras in _PIN.findall((ROOT / lock).read_text(encoding="utf-8"))
    }


def asked_with_extras(lock: str) -> Iterator[tuple[str, str, str]]:
    """Package, requirement and extra, for every requirement with an extra that a locked package states of another."""
    pins = pinned(lock)
    for package, extras in pins.items():
        try:
            stated = requires(package) or []
        except PackageNotFoundError:  # for another platform or Python than this one
            continue
        for text in stated:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) in pins and _applies(requirement, extras):
                for extra in requirement.extras:
                    yield package, canonicalize_name(requirement.name), canonicalize_name(extra)


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({"extra": extra, "python_version": python, "python_full_version": f"{python}.0"})
        for extra in (*extras, "")
        for python in PYTHONS
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_a_requirement_with_an_extra_stands_with_it_in_the_lock(lock: str) -> None:
    # to pip 23.2 `coverage[toml]>=7.10` is another package than `coverage==7.17.3`, so it wants the newest
    pins = pinned(lock)
    missing = {
        f"{package} asks for {name}[{extra}]"
        for package, name, extra in asked_with_extras(lock)
        if extra not in pins[name]
    }
    assert not missing


def test_the_widest_lock_has_such_requirements() -> None:
    assert ("pytest-cov", "coverage", "toml") in set(asked_with_extras("requirements-dev.lock"))
