"""What was once found to fit is not tried again: an empty file a question, in the user's cache folder.

A verdict saves a later command the import of slow libraries, and nothing depends on it: where the folder is gone or
cannot be written, the same question is asked again. What does not fit is never kept: an installation may change.
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
    """Call `ask`, which raises where something does not fit, unless it was found to fit before.

    question: all that the answer depends on, besides the versions of `packages` and of weakbox.
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
    """The verdicts' folder below XDG_CACHE_HOME, which counts where it is absolute, or ~/.cache."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named if os.path.isabs(named) else os.path.expanduser("~/.cache")) / _FOLDER


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
