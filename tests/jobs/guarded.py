"""A finished run root to be damaged again and again: put back after each time, and commands called under guard."""

import contextlib
import io
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import structlog
import yaml

from jobs.cli import main
from jobs.target import Target, open_target
from tests import runs

LIMIT = 60
"""Seconds for one command: it is to end by itself."""
_KEPT = ("classify", "classes", "cam", "sweep_cam", "calibrate", "boxes_cam")
_STAGES: dict[str, Any] = {
    **{name: runs.STAGES[name] for name in _KEPT},
    "evaluate": {"classes": "classes", "labels": ["boxes_cam"], "counts": ["sweep_cam"], "splits": ["test"]},
    "report": {"samples": 2, "labels": ["boxes_cam"]},
    "export": {"labels": "boxes_cam"},
}


def finish(folder: Path, finished: Target) -> Path:
    """A finished run by the command in folder/run, of data in folder/data; returns its config file.

    Stages are those of the tiny run as far as its images go, and everything that commands read.
    """
    shutil.copytree(finished.config.dataset["root"], folder / "data")
    for name in ("ingest", "truth", *_KEPT):
        shutil.copytree(f"{finished.config.run_root}/{name}", folder / "run" / name)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({**runs.config(folder / "data", folder / "run"), "stages": _STAGES}))
    ended = call("run", str(config), "--in-process")
    assert ended.code == 0, ended.err
    return config


def opened(config: str, *changes: str) -> Target:
    """The run that a config file names."""
    return open_target(config, changes)


class Ended(NamedTuple):
    """How a command ended."""

    code: object
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """What stands on stderr besides the log."""
        return [line for line in self.err.splitlines() if line and not line.startswith("timestamp=")]


def call(*arguments: str) -> Ended:
    """Call the command in this process, on streams that take UTF-8 alone, as a terminal does.

    Raises: _TooLongError; whatever else escapes, which would be a traceback.
    """
    said = [io.BytesIO(), io.BytesIO()]
    out, err = (io.TextIOWrapper(each, "utf-8", newline="\n", write_through=True) for each in said)
    code: object = None
    with _limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as ended:
            code = ended.code
        finally:
            structlog.reset_defaults()
    return Ended(code, *(each.getvalue().decode() for each in said))


class _TooLongError(BaseException):
    """A command that hangs. No `except Exception` catches it."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise in this thread after LIMIT seconds; the alarm of pytest-timeout is kept."""

    def ring(*_: object) -> None:
        raise _TooLongError

    handler = signal.signal(signal.SIGALRM, ring)
    left, started = signal.setitimer(signal.ITIMER_REAL, LIMIT)[0], time.monotonic()
    try:
        yield
    finally:
        rest = max(0.1, left - (time.monotonic() - started)) if left else 0.0
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, rest)


class Entry(NamedTuple):
    """What lies at a path: bytes of a file, the target of a link, or None for a folder; and what tells it is that."""

    data: bytes | str | None
    stamp: tuple[int, ...]


class Tree:
    """All that lies below a folder at one time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = {path: Entry(_content(path), stamp) for path, stamp in _walk(folder)}

    def changes(self) -> list[str]:
        """What is other than it was, by content."""
        now = {path: _content(path) for path, _ in _walk(self.folder)}
        was = {path: entry.data for path, entry in self.entries.items()}
        return sorted(str(path) for path in now.keys() | was.keys() if now.get(path, 0) != was.get(path, 0))

    def restore(self) -> None:
        """Make it again what it was."""
        now = dict(_walk(self.folder))
        for path in sorted(now.keys() - self.entries.keys(), reverse=True):
            _remove(path)
        for path, entry in self.entries.items():
            if now.get(path) == entry.stamp and os.path.lexists(path):
                continue
            if os.path.lexists(path):
                if entry.data is None and path.is_dir() and not path.is_symlink():
                    continue
                _remove(path)
            if entry.data is None:
                path.mkdir()
            elif isinstance(entry.data, str):
                path.symlink_to(entry.data)
            else:
                path.write_bytes(entry.data)
            self.entries[path] = Entry(entry.data, _stamp(path))


def _walk(folder: Path) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """Every path, folders before what is in them; links are not followed."""
    for entry in os.scandir(folder):
        path = Path(entry.path)
        yield path, _stamp(path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    folder = path.is_dir() and not path.is_symlink()
    return (found.st_mode,) if folder else (found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns)


def _content(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return os.readlink(path)
    return path.read_bytes() if path.is_file() else None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
