"""Places of a run and its data set, made absolute so that they mean the same from every folder."""

import os

from pipeline.base.errors import UsageError

_LOCAL = ("file://", "local://")


def absolute(place: str) -> str:
    """A local place, with or without `file://`, as an absolute path with `~` expanded; any other URI unchanged.

    Raises: ValueError for the home of an unknown user, and for control characters.
    """
    if not place.isprintable():
        raise ValueError("a place has no control characters")
    scheme = next((scheme for scheme in _LOCAL if place.startswith(scheme)), "")
    if "://" in place and not scheme:
        return place
    path = os.path.expanduser(place.removeprefix(scheme))
    if path.startswith("~"):
        raise ValueError(f"there is no user {path.split('/')[0].removeprefix('~')!r}: write ./~... for a folder")
    return os.path.abspath(path)


def check_apart(run_root: str, data_root: str) -> None:
    """Refuse a run root inside of the data, or data inside of the run root: its own files would be read as images.

    Raises: UsageError, one line.
    """
    run, data = _resolved(run_root), _resolved(data_root)
    if f"{run}/".startswith(f"{data}/") or f"{data}/".startswith(f"{run}/"):
        raise UsageError(
            f"run_root {run_root} and dataset.root {data_root} lie inside each other: the run's own files would be read"
            " as images; choose a run_root beside the data"
        )


def _resolved(place: str) -> str:
    """The place with symbolic links resolved, without a trailing slash."""
    return (place if "://" in place else os.path.realpath(place)).rstrip("/")
