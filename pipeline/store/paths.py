"""Checks of the names that become paths: what they must look like, and that no link leads out of the root.

A run root may be someone else's: stage names, recipe ids and the names of blobs in it are read from JSON that anybody
can write, and a folder of it may be a link to somewhere else.
"""

import os
from collections.abc import Mapping

from pipeline.base.dataset_uri import split_dataset_uri
from pipeline.base.errors import UsageError

_LONGEST = 255
"""Bytes of the longest component of a path that file systems allow."""


class UnsafePathError(UsageError, ValueError):
    """A name that leads out of its root or that no file may have, or a path of a file where something else is."""


def check_below(path: str) -> None:
    """Refuse a path that is not plainly below its root: absolute, with `..`, empty parts, control characters.

    The empty path is the root itself. Raises: UnsafePathError.
    """
    for part in path.split("/") if path else ():
        if part in ("", ".", "..") or _bytes(part) > _LONGEST:
            raise UnsafePathError(f"path leaves the run root, or has no proper name: {path[:200]!r}")
        if "\\" in part or has_control(part):
            raise UnsafePathError(f"path with a character that no name may have: {path[:200]!r}")


def located(uri: str, roots: Mapping[str, str]) -> str:
    """The present place of a dataset URI, by the roots of a run's data sets; any other URI as it is.

    Raises: FileNotFoundError for a data set that the run does not have, UnsafePathError for a path outside of its root.
    """
    named = split_dataset_uri(uri)
    if named is None:
        return uri
    stage, path = named
    if stage not in roots:
        raise FileNotFoundError(f"{uri}: this run has no data set {stage!r}")
    check_below(path)
    root = roots[stage].rstrip("/")
    return f"{root}/{path}" if path else root


def has_control(text: str) -> bool:
    """Whether a text has a character that no name may have: one below the space, or DEL."""
    return not text.isprintable() and any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def check_name(name: str) -> None:
    """Refuse anything but the name of a single file or folder. Raises: UnsafePathError."""
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
    """Whether a link may lie between `base` and a path below it; takes a tenth of the time of resolving both."""
    place = base.rstrip("/")
    if ".." in path or not path.startswith(f"{place}/"):
        return path != base
    for part in path[len(place) + 1 :].split("/"):
        place = f"{place}/{part}"
        if os.path.islink(place):
            return True
    return False


def check_plain(path: str) -> None:
    """Refuse a local path where something else than a file is, e.g. a folder or a pipe. Raises: UnsafePathError."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise UnsafePathError(f"{path} is no file")


def _bytes(part: str) -> int:
    """The length of a name on disk; a name that UTF-8 cannot encode counts as too long."""
    if part.isascii():
        return len(part)
    try:
        return len(os.fsencode(part))
    except UnicodeEncodeError:
        return _LONGEST + 1
