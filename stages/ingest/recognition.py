"""Recognizing a layout by a few of its names: what a reader looks at (`Tree`) and what it answers (`Match`)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import fsspec

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.store.files import open_filesystem, retrying

_MOST = 64 * 2**10
"""The most bytes that are read from the start of a file."""


@dataclass(frozen=True)
class Match:
    """A root that a reader can read.

    why: the names that show it, in words. settings: parameters of the reader that follow from the names. missing: the
    one thing that is absent, where all else fits the layout.
    """

    why: str
    settings: Mapping[str, Json] = field(default_factory=dict)
    missing: str = ""


class Names(NamedTuple):
    """The folders and files in one folder, each sorted; without hidden ones, pipes, devices and broken links."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


class Tree:
    """The names below a root; each folder is listed once, on first use, and never the whole tree."""

    def __init__(self, root: str) -> None:
        self.root = root if "://" in root else os.path.abspath(root)
        self._known: dict[str, Names] = {}

    @cached_property
    def _place(self) -> tuple[fsspec.AbstractFileSystem, str]:
        return open_filesystem(self.root)

    @property
    def is_file(self) -> bool:
        """Whether the root itself is a file: an archive, a table."""
        fs, base = self._place
        return bool(retrying(lambda: fs.isfile(base)))

    def names(self, path: str = "") -> Names:
        """The names in the folder `path` below the root; empty where there is no such folder."""
        if path not in self._known:
            self._known[path] = self._list(path)
        return self._known[path]

    def folders(self, path: str = "") -> tuple[str, ...]:
        """The folders in a folder."""
        return self.names(path).folders

    def files(self, path: str = "") -> tuple[str, ...]:
        """The files in a folder."""
        return self.names(path).files

    def has(self, path: str) -> bool:
        """Whether a file or folder lies at `path`."""
        folder, _, name = path.rpartition("/")
        return name in self.folders(folder) or name in self.files(folder)

    def head(self, path: str) -> bytes:
        """The first bytes of a file, at most 64 KiB; empty where there is none."""
        folder, _, name = path.rpartition("/")
        if path and name not in self.files(folder):
            return b""  # also for a pipe, which would block the read
        fs, base = self._place
        full = f"{base}/{path}" if path else base
        try:
            return bytes(retrying(lambda: fs.cat_file(full, start=0, end=_MOST)))
        except OSError:
            return b""

    def _list(self, path: str) -> Names:
        fs, base = self._place
        full = f"{base}/{path}" if path else base
        try:
            entries: list[dict[str, Any]] = retrying(lambda: fs.ls(full, detail=True))
        except (FileNotFoundError, NotADirectoryError):
            return Names((), ())
        except OSError as error:
            if path and isinstance(error, PermissionError):
                return Names((), ())  # the listing of images reports this folder
            raise UsageError(f"dataset: root {self.root}: {error.strerror or error}") from error
        named = [(str(entry["name"]).rstrip("/").rsplit("/", 1)[-1], _kind(fs, entry)) for entry in entries]
        shown = sorted((name, kind) for name, kind in named if not name.startswith("."))
        return Names(
            tuple(name for name, kind in shown if kind == "directory"),
            tuple(name for name, kind in shown if kind == "file"),
        )


def _kind(fs: fsspec.AbstractFileSystem, entry: Mapping[str, Any]) -> str:
    """The type of an entry of a folder, links followed; neither file nor directory if it must not be opened."""
    if entry["type"] in ("file", "directory"):
        return str(entry["type"])
    try:
        return str(fs.info(entry["name"])["type"])
    except OSError:
        return "other"
