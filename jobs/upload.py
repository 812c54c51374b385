"""What is uploaded with a submitted job: its config; and the whole working folder, if that is weakbox's own source."""

import logging
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.base.errors import UsageError, WeakboxError

EXCLUDES = (".git", ".venv", "venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", "/runs", "/data")
"""Patterns of files that are not uploaded, besides those in .gitignore and .rayignore, in the same syntax: a slash in
front stands for the working folder."""

LIMIT = 100 * 2**20
"""Bytes before compression: Ray's job server takes no larger package, and text that compresses well gets no more."""

_SOURCE = ("jobs/cli.py", "pipeline", "schemas", "stages/catalog.py")
_QUIET = logging.getLogger(__name__)
_Rule = Callable[[Path], bool]
_OfExcludes = Callable[[Path, list[str]], _Rule]
_OfIgnoreFiles = Callable[[Path, bool, logging.Logger], list[_Rule]]


class Package(NamedTuple):
    """What is uploaded. config: its path in the folder. is_source: whether the folder's own weakbox runs."""

    folder: Path
    config: str
    is_source: bool


@contextmanager
def packaged(config: str, working_dir: str | None) -> Iterator[Package]:
    """Inside, what is to be uploaded is in one folder.

    The working folder (the current one unless given) is uploaded if it is weakbox's source, so that this source runs.
    Any other folder is not uploaded: a package `jobs` in it, for example, would hide the cluster's own.

    Raises:
        UsageError: no such folder; of the source, the config lies outside or is not packed, or more than
            100 MiB are.
    """
    folder, file = Path(working_dir or ".").resolve(), Path(config)
    if not folder.is_dir():
        raise UsageError(f"--working-dir {working_dir}: no such folder")
    if is_source(folder):
        yield Package(folder, _inside(folder, file, config), True)
        return
    with tempfile.TemporaryDirectory(prefix="weakbox-submit-") as alone:
        shutil.copyfile(file, Path(alone) / file.name)
        yield Package(Path(alone), file.name, False)


def is_source(folder: Path) -> bool:
    """Whether a folder is a checkout of weakbox: its project file says so, and its packages lie in it."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project")
    except (OSError, ValueError):
        return False
    named = isinstance(project, dict) and project.get("name") == "weakbox"
    return named and all((folder / path).exists() for path in _SOURCE)


def _inside(folder: Path, file: Path, config: str) -> str:
    """The config's path in the folder. Raises UsageError as `packaged`."""
    file = file.parent.resolve() / file.name
    if not file.is_relative_to(folder):
        raise UsageError(f"config {config} is outside of the working folder {folder}: --working-dir names another")
    if file not in _measured(folder):
        raise UsageError(f"config {config} would not be uploaded: .gitignore, .rayignore or a default leaves it out")
    return file.relative_to(folder).as_posix()


def packed(folder: Path) -> Iterator[Path]:
    """The files that Ray packs, by its own reading of EXCLUDES and of the .gitignore and .rayignore of every folder."""
    of_excludes, of_ignore_files = _rays_reading()
    return _walk(folder, [of_excludes(folder, list(EXCLUDES))], of_ignore_files)


def _rays_reading() -> tuple[_OfExcludes, _OfIgnoreFiles]:
    """Ray's own reading of exclude patterns and of ignore files, which no public name gives.

    Raises: WeakboxError where this Ray has them elsewhere.
    """
    import ray

    try:
        from ray._private.runtime_env.packaging import _get_excludes, get_excludes_from_ignore_files
    except ImportError as error:
        raise WeakboxError(
            f"Ray {ray.__version__} packs working folders in a way that this weakbox does not know: install a Ray of "
            "the range in its pyproject.toml, or use `ray job submit`"
        ) from error
    return _get_excludes, get_excludes_from_ignore_files


def _walk(path: Path, rules: list[_Rule], of_ignore_files: _OfIgnoreFiles) -> Iterator[Path]:
    if not path.is_dir():
        if path.is_file() and not any(rule(path) for rule in rules):
            yield path
        return
    rules = [*rules, *of_ignore_files(path, True, _QUIET)]
    if not any(rule(path) for rule in rules):
        for below in path.iterdir():
            yield from _walk(below, rules, of_ignore_files)


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
