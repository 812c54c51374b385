"""Files that are no part of the project, found as tests find them; None where they are absent."""

import os
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def data_file(name: str) -> Path | None:
    """A file of the folder of real data sets (WEAKBOX_DATA)."""
    return _found("WEAKBOX_DATA", "data", name)


def golden_file(name: str) -> Path | None:
    """A golden fixture (WEAKBOX_GOLDEN)."""
    return _found("WEAKBOX_GOLDEN", "golden", name)


def _found(variable: str, default: str, name: str) -> Path | None:
    folder = Path(os.environ.get(variable) or _ROOT.parent / "shared" / default)
    return folder / name if (folder / name).is_file() else None
