"""Packaging: ranges in pyproject.toml, exact versions in constraints.txt, the change log."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
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
    wanted = {canonical(r) for r in (*project["dependencies"], *in_extras(project))} - {"weakbox"}
    assert wanted | {"uv"} <= {canonical(line) for line in constraints}


def in_extras(project: dict) -> list[str]:
    return [requirement for extra in project["optional-dependencies"].values() for requirement in extra]


def test_the_code_imports_what_is_declared_and_nothing_is_declared_for_nothing(project: dict) -> None:
    """A library that code imports and nobody declares, or that everyone must install and nothing imports, breaks it."""
    base = {canonical(requirement) for requirement in project["dependencies"]}
    declared = base | {canonical(requirement) for requirement in in_extras(project)} - {"weakbox"}
    own = {"jobs", "pipeline", "schemas", "stages", "weakbox"}
    modules = set(imported_modules(own)) - own - sys.stdlib_module_names
    distributions = packages_distributions()
    imported = {canonical(name) for module in modules for name in distributions[module]}
    assert imported - declared == {"huggingface-hub"}, "timm brings it"
    assert base - imported == set()


def imported_modules(packages: set[str]) -> Iterator[str]:
    """Top-level names that modules of these packages import, at their top or inside of functions."""
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.split(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module.split(".")[0]


def test_only_headless_opencv(constraints: list[str]) -> None:
    """opencv-python and opencv-python-headless overwrite each other's files in one environment."""
    assert [canonical(c) for c in constraints if c.startswith("opencv")] == ["opencv-python-headless"]


def test_change_log_knows_the_version(project: dict) -> None:
    """Breaks when a version is written by hand, or where git is not another one stands than the change log's newest."""
    assert project["dynamic"] == ["version"]
    scm = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]
    (newest, *_) = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert scm["fallback_version"] in (newest, f"{newest}.dev0")
