"""Remembers checks that passed, so that they are not repeated: one empty file per check, in the user's cache folder.

This saves later commands the import of slow libraries. No result depends on it: where the folder is gone or cannot be
written, the check runs again. A check that failed is never remembered, as the installation may change.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.base.hashing import fingerprint
from pipeline.base.json_types import Json

_FOLDER = "weakbox/verdicts"


def once(question: Json, packages: Sequence[str], ask: Callable[[], None]) -> None:
    """Call `ask`, a check that raises when it fails, unless it passed before.

    question: all that the outcome depends on, besides the versions of `packages` and of weakbox.
    """
    versions: list[Json] = [_version(package) for package in ("weakbox", *packages)]
    kept = _folder() / fingerprint([question, versions])
    with contextlib.suppress(OSError):
        if kept.exists():
            return
    ask()
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch()


def _folder() -> Path:
    """The verdicts' folder: below XDG_CACHE_HOME if that is an absolute path, else below ~/.cache."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named if os.path.isabs(named) else os.path.expanduser("~/.cache")) / _FOLDER


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
