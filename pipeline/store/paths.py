"""The one place where a name becomes a path: what it must look like, and that no link leads it out of its root.

A run root may be someone else's: stage names, recipe ids and the names of blobs in it are read from JSON that anybody
can write, and a folder of it may be a link to somewhere else.
"""

import os

from pipeline.base.errors import UsageError

_LONGEST = 255
"""Bytes of one component of a path, as file systems have it."""


class UnsafePathError(UsageError, ValueError):
    """A name that leads out of its root, or that no file may have."""


def check_below(path: str) -> None:
    """Refuse a path that is not plainly below its root: absolute, with `..`, empty parts, control characters.

    The empty path is the root itself. Raises: UnsafePathError.
    """
    for part in path.split("/") if path else ():
        if part in ("", ".", "..") or len(os.fsencode(part)) > _LONGEST:
            raise UnsafePathError(f"path leaves the run root, or has no proper name: {path[:200]!r}")
        if "\\" in part or any(ord(letter) < 32 or ord(letter) == 127 for letter in part):
            raise UnsafePathError(f"path with a character that no name may have: {path[:200]!r}")


def check_links(base: str, path: str) -> None:
    """Refuse a local path that links lead out of `base`, which may itself be a link. Raises: UnsafePathError."""
    real, root = os.path.realpath(path), os.path.realpath(base)
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        raise UnsafePathError(f"{path} leads out of {base}: links are not followed there")
