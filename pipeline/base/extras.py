"""Packages that not every installation has: the extras of weakbox, and how to get one."""

from importlib.util import find_spec

from pipeline.base.errors import UsageError


def how_to_get(package: str, extra: str) -> str:
    """The words for a package that is missing."""
    return f"the package {package} is not installed: pip install 'weakbox[{extra}]'"


def require(module: str, package: str, extra: str, where: str) -> None:
    """Refuse to go on without a module of a package. Raises UsageError: `where`, and how to get the package."""
    if find_spec(module) is None:
        raise UsageError(f"{where}: {how_to_get(package, extra)}")
