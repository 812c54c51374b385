"""The frame of the repository: ranges in pyproject.toml, exact versions in constraints.txt, the change log."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"[A-Za-z0-9._-]+")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def canonical(requirement: str) -> str:
    match = NAME.match(requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def test_constraints_are_exact_versions(constraints: list[str]) -> None:
    """A range, an index option, a host or a local path in constraints.txt breaks it."""
    loose = [line for line in constraints if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.!+]+", line)]
    assert loose == []


def test_every_dependency_is_pinned(project: dict, constraints: list[str]) -> None:
    """A dependency added to pyproject.toml without its pin would be installed at a new version every day."""
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    pinned = {canonical(line) for line in constraints}
    assert {canonical(r) for r in wanted} | {"uv"} <= pinned


def test_only_headless_opencv(constraints: list[str]) -> None:
    """opencv-python and opencv-python-headless overwrite each other's files in one environment."""
    assert [canonical(c) for c in constraints if c.startswith("opencv")] == ["opencv-python-headless"]


def test_change_log_knows_the_version(project: dict) -> None:
    """A version raised without its section in CHANGELOG.md breaks it."""
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
