"""Listing the files below a data root, local or remote, with what tells one version of a file from the next."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.base.errors import UsageError
from pipeline.store.files import open_filesystem, retrying


@dataclass(frozen=True)
class ListedFile:
    """One file: its path below the root (POSIX), where to read it, and its stamp (size and time or version)."""

    path: str
    uri: str
    stamp: str


def list_files(root: str) -> list[ListedFile]:
    """All files below `root`, sorted by path; hidden files and folders are left out.

    Raises:
        UsageError: the root does not exist or is no folder.
    """
    files = _list_remote(root) if "://" in root else list(_walk(os.path.abspath(root), ""))
    return sorted(files, key=lambda file: file.path)


def _walk(root: str, below: str) -> Iterator[ListedFile]:
    try:
        entries = list(os.scandir(os.path.join(root, below)))
    except OSError as error:
        raise UsageError(f"dataset: root {root}: {error.strerror}") from error
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(root, path)
        else:
            status = entry.stat()
            yield ListedFile(path, entry.path, f"{status.st_size}-{status.st_mtime_ns}")


def _list_remote(root: str) -> list[ListedFile]:
    try:
        fs, base = open_filesystem(root)
    except ValueError as error:
        raise UsageError(f"dataset: root {root}: {error}") from error
    found = retrying(lambda: fs.find(base, detail=True))
    if not found:
        raise UsageError(f"dataset: root {root}: no such folder, or nothing in it")
    files = []
    for name, info in found.items():
        path = name.removeprefix(base).lstrip("/")
        if not any(part.startswith(".") for part in path.split("/")):
            version = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or ""
            files.append(ListedFile(path, fs.unstrip_protocol(name), f"{info['size']}-{version}"))
    return files


def read_text(file: ListedFile) -> str:
    """The text of a listed file, UTF-8 with or without a byte order mark; undecodable bytes become U+FFFD."""
    fs, path = open_filesystem(file.uri)
    return bytes(retrying(lambda: fs.cat_file(path))).decode("utf-8-sig", errors="replace")
