"""What a submitted job takes along: the working folder, as far as Ray packs it."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.base.errors import UsageError

EXCLUDES = (".git", ".venv", "venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "/runs", "/data")
"""Left behind besides what .gitignore and .rayignore say, in their syntax: a slash in front is the working folder."""

LIMIT = 100 * 2**20
"""Bytes. Ray's job server takes no larger package; text, which packs well, is not given more."""

_QUIET = logging.getLogger(__name__)
_Rule = Callable[[Path], bool]


def locate(config: str, working_dir: str | None) -> tuple[Path, str]:
    """The working folder (the current one unless given) and the config's path in it.

    Raises:
        UsageError: no such config or folder, the config lies outside of it or is not packed, or more than 100 MiB are.
    """
    folder, file = Path(working_dir or ".").resolve(), Path(config)
    if not file.is_file():
        raise UsageError(f"config {config}: no such file")
    if not folder.is_dir():
        raise UsageError(f"--working-dir {working_dir}: no such folder")
    file = file.parent.resolve() / file.name
    if not file.is_relative_to(folder):
        raise UsageError(f"config {config} is outside of the working folder {folder}: --working-dir names another")
    if file not in _measured(folder):
        raise UsageError(f"config {config} would not be uploaded: .gitignore, .rayignore or a default leaves it out")
    return folder, file.relative_to(folder).as_posix()


def packed(folder: Path) -> Iterator[Path]:
    """The files that Ray packs, by its own reading of EXCLUDES and of the .gitignore and .rayignore of every folder."""
    from ray._private.runtime_env.packaging import _get_excludes

    return _walk(folder, [_get_excludes(folder, list(EXCLUDES))])


def _walk(path: Path, rules: list[_Rule]) -> Iterator[Path]:
    from ray._private.runtime_env.packaging import get_excludes_from_ignore_files

    if not path.is_dir():
        if path.is_file() and not any(rule(path) for rule in rules):
            yield path
        return
    rules = [*rules, *get_excludes_from_ignore_files(path, True, _QUIET)]
    if not any(rule(path) for rule in rules):
        for below in path.iterdir():
            yield from _walk(below, rules)


def _measured(folder: Path) -> set[Path]:
    """The packed files. Raises UsageError as soon as they are too large: a mistaken folder may hold millions."""
    sizes: dict[str, int] = {}
    found = set()
    for file in packed(folder):
        found.add(file)
        top = file.relative_to(folder).parts[0]
        sizes[top] = sizes.get(top, 0) + file.stat().st_size
        if sum(sizes.values()) > LIMIT:
            largest = max(sizes, key=lambda name: sizes[name])
            raise UsageError(
                f"the working folder {folder} holds more than 100 MiB, most of it in {largest}: name in its .rayignore "
                "what the job does not need, or give another --working-dir"
            )
    return found
