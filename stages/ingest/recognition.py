"""Recognising a layout by looking at few of its names: what a reader is shown, and what it answers."""

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
"""Bytes of a file that are looked at."""


@dataclass(frozen=True)
class Match:
    """A root that a reader can take.

    why: the names that tell, in words. settings: parameters of the reader that the names give. missing: what is not
    there, where it is this layout but for one thing.
    """

    why: str
    settings: Mapping[str, Json] = field(default_factory=dict)
    missing: str = ""


class Names(NamedTuple):
    """What lies in one folder, both sorted, hidden ones left out; pipes, devices and links to nothing are neither."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


class Tree:
    """The names below a root, each folder listed when it is asked for and once. Nothing is listed whole."""

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
        """What lies in the folder `path` below the root; nothing where there is none."""
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
            return b""  # also of a pipe, which nobody may ever write into
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
                return Names((), ())  # who lists the images says so of this folder
            raise UsageError(f"dataset: root {self.root}: {error.strerror or error}") from error
        named = [(str(entry["name"]).rstrip("/").rsplit("/", 1)[-1], _kind(fs, entry)) for entry in entries]
        shown = sorted((name, kind) for name, kind in named if not name.startswith("."))
        return Names(
            tuple(name for name, kind in shown if kind == "directory"),
            tuple(name for name, kind in shown if kind == "file"),
        )


def _kind(fs: fsspec.AbstractFileSystem, entry: Mapping[str, Any]) -> str:
    """What an entry of a folder is: a link what it leads to; neither file nor directory what may not be opened."""
    if entry["type"] in ("file", "directory"):
        return str(entry["type"])
    try:
        return str(fs.info(entry["name"])["type"])
    except OSError:
        return "other"
