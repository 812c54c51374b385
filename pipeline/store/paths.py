"""The one place where a name becomes a path: what it must look like, and that no link leads it out of its root.

A run root may be someone else's: stage names, recipe ids and the names of blobs in it are read from JSON that anybody
can write, and a folder of it may be a link to somewhere else.
"""

import os

from pipeline.base.errors import UsageError

_LONGEST = 255
"""Bytes of one component of a path, as file systems have it."""


class UnsafePathError(UsageError, ValueError):
    """A name that leads out of its root, or that no file may have; or what is at a file's place and is none."""


def check_below(path: str) -> None:
    """Refuse a path that is not plainly below its root: absolute, with `..`, empty parts, control characters.

    The empty path is the root itself. Raises: UnsafePathError.
    """
    for part in path.split("/") if path else ():
        if part in ("", ".", "..") or _bytes(part) > _LONGEST:
            raise UnsafePathError(f"path leaves the run root, or has no proper name: {path[:200]!r}")
        if "\\" in part or has_control(part):
            raise UnsafePathError(f"path with a character that no name may have: {path[:200]!r}")


def has_control(text: str) -> bool:
    """Whether a text has a character that no name may have: one below the space, or DEL."""
    return not text.isprintable() and any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def check_name(name: str) -> None:
    """Refuse what is no name of a single file or folder. Raises: UnsafePathError."""
    if not name or "/" in name:
        raise UnsafePathError(f"no name of a file: {name[:200]!r}")
    check_below(name)


def check_links(base: str, path: str) -> None:
    """Refuse a local path that links lead out of `base`, which may itself be a link. Raises: UnsafePathError."""
    if not _has_links(base, path):
        return
    real, root = os.path.realpath(path), os.path.realpath(base)
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        raise UnsafePathError(f"{path} leads out of {base}: links are not followed there")


def _has_links(base: str, path: str) -> bool:
    """Whether a link may lie on the way from `base` to a path below it; a tenth of what resolving both costs."""
    place = base.rstrip("/")
    if ".." in path or not path.startswith(f"{place}/"):
        return path != base
    for part in path[len(place) + 1 :].split("/"):
        place = f"{place}/{part}"
        if os.path.islink(place):
            return True
    return False


def check_plain(path: str) -> None:
    """Refuse what is at a local path and is no file: a folder, a pipe without a writer. Raises: UnsafePathError."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise UnsafePathError(f"{path} is no file")


def _bytes(part: str) -> int:
    """The length of a name on disk; one that UTF-8 cannot say is too long for any."""
    if part.isascii():
        return len(part)
    try:
        return len(os.fsencode(part))
    except UnicodeEncodeError:
        return _LONGEST + 1
