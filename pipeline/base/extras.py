"""Packages that not every installation has: the extras of weakbox, and how to get one."""

from importlib.util import find_spec

from pipeline.base.errors import UsageError


def how_to_get(package: str, extra: str) -> str:
    """The error text for a missing package: how to install it."""
    return f"the package {package} is not installed: pip install 'weakbox[{extra}]'"


def require(module: str, package: str, extra: str, where: str) -> None:
    """Raise UsageError if a module is not installed; the line starts with `where` and says how to install it."""
    if find_spec(module) is None:
        raise UsageError(f"{where}: {how_to_get(package, extra)}")
