"""A check that weakbox's own packages, which have common names, are not hidden by those of another project."""

from importlib.util import find_spec
from pathlib import Path

__all__ = ["check"]

_OWN = ("jobs", "pipeline", "schemas", "stages")


def check() -> None:
    """Raise ImportError where Python finds another package by one of these names, and say where."""
    home = Path(__file__).resolve().parents[1]
    for name in _OWN:
        spec = find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found is None or found.parents[1] != home:
            where = "is not installed" if found is None else f"is hidden by {found}"
            raise ImportError(f"weakbox: its package {name!r} {where}: rename that one, or start Python elsewhere")
