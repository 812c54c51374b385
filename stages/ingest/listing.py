"""Listing the files below a data root, local or remote, each with a stamp that changes when the file does.

Only regular files are opened. Anything else (a broken link, a pipe, a device, a folder without read permission) is
listed with its trouble, so that it becomes a quarantined row and does not end the run.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.store.files import open_filesystem, retrying
from pipeline.store.paths import has_control

_ODD = {
    stat.S_IFIFO: "a pipe, no file",
    stat.S_IFSOCK: "a socket, no file",
    stat.S_IFCHR: "a device, no file",
    stat.S_IFBLK: "a device, no file",
}


class ListedFile(NamedTuple):
    r"""One file: its path below the root (POSIX), where to read it, and its stamp (size and time or version).

    trouble: why it cannot be read, in words; None for a regular file. A name that is not UTF-8 is shown with its odd
    bytes as ``\xe9``; such a path opens no file.
    """

    path: str
    uri: str
    stamp: str
    trouble: str | None = None


def list_files(root: str) -> list[ListedFile]:
    """All files below `root`, sorted by path; hidden files and folders are left out, links are followed.

    A root that is itself a file (an archive, a table) is listed alone; its path is its name.

    Raises:
        UsageError: the root does not exist.
    """
    return sorted(walk_files(root), key=lambda file: file.path)


def walk_files(root: str) -> Iterator[ListedFile]:
    """Yield the files of `list_files` one by one, so that the caller need not hold them all; none is opened.

    They are sorted by path, except that a folder that cannot be listed comes where its files would be.

    Raises: UsageError as `list_files` does, at once.
    """
    if "://" in root:
        return iter(sorted(_list_remote(root), key=lambda file: file.path))
    root = os.path.abspath(root)
    if os.path.isfile(root):
        status = os.stat(root)
        return iter([ListedFile(os.path.basename(root), root, f"{status.st_size}-{status.st_mtime_ns}")])
    try:
        entries = list(os.scandir(root))
    except OSError as error:
        raise UsageError(f"dataset: root {root}: {error.strerror}") from error
    return _walk(entries, "", (_identity(root),))


class _Named(NamedTuple):
    """An entry of a folder. order: its sort key, which ends in a slash for a folder, as the paths of its files do."""

    order: str
    path: str
    trouble: str | None
    is_folder: bool
    entry: "os.DirEntry[str]"


def _walk(
    entries: Iterable["os.DirEntry[str]"], below: str, above: tuple[tuple[int, int], ...]
) -> Iterator[ListedFile]:
    """The files of a folder and its subfolders. above: identities of the parent folders, to detect loops of links."""
    shown = [_named(entry, below) for entry in entries if not entry.name.startswith(".")]
    shown.sort(key=itemgetter(0))
    for _, path, trouble, is_folder, entry in shown:
        if trouble is not None:
            yield ListedFile(path, entry.path, "", trouble)
        elif is_folder:
            yield from _folder(entry, path, above)
        else:
            yield _file(entry, path)


def _named(entry: "os.DirEntry[str]", below: str) -> _Named:
    path, trouble = _readable(below + entry.name)
    is_folder = trouble is None and _is_folder(entry)
    return _Named(f"{path}/" if is_folder else path, path, trouble, is_folder, entry)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _folder(entry: "os.DirEntry[str]", path: str, above: tuple[tuple[int, int], ...]) -> Iterator[ListedFile]:
    try:
        here = _identity(entry.path) if entry.is_symlink() else (entry.stat().st_dev, entry.inode())
        if here in above:
            yield ListedFile(path, entry.path, "", "a link to a folder that holds it")
            return
        entries = list(os.scandir(entry.path))
    except OSError as error:
        yield ListedFile(path, entry.path, "", f"a folder that cannot be listed: {error.strerror}")
        return
    yield from _walk(entries, f"{path}/", (*above, here))


def _file(entry: "os.DirEntry[str]", path: str) -> ListedFile:
    try:
        status = entry.stat()
    except OSError as error:
        words = "a link to nothing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        return ListedFile(path, entry.path, "", words)
    trouble = None if stat.S_ISREG(status.st_mode) else _ODD.get(stat.S_IFMT(status.st_mode))
    return ListedFile(path, entry.path, f"{status.st_size}-{status.st_mtime_ns}", trouble)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _readable(path: str) -> tuple[str, str | None]:
    """A path as printable text, and what is wrong with it; None where nothing is."""
    if path.isascii() and path.isprintable() and "\\" not in path:
        return path, None
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        return shown, "its name is no UTF-8: rename it"
    if "\\" in path or has_control(path):
        return path, "its name has a character that no name may have: rename it"
    return path, None


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
        below = name.removeprefix(base).lstrip("/") or name.rsplit("/", 1)[-1]
        path, trouble = _readable(below)
        if not any(part.startswith(".") for part in path.split("/")):
            files.append(ListedFile(path, fs.unstrip_protocol(name), remote_stamp(info), trouble))
    return files


def remote_stamp(info: Mapping[str, object]) -> str:
    """Size, and version or time, of a remote file. info: what fsspec's `info` says of it."""
    version = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or ""
    return f"{info['size']}-{version}"


def read_bytes(file: ListedFile, most: int | None = None) -> bytes:
    """The bytes of a listed file. Raises UsageError for one that cannot be read, or has more than `most` bytes."""
    where = f"dataset: {file.path}"
    if file.trouble is not None:
        raise UsageError(f"{where}: {file.trouble}")
    fs, path = open_filesystem(file.uri)
    try:
        if most is not None and fs.size(path) > most:
            raise UsageError(f"{where}: larger than {most // 2**20} MiB, the limit for this file")
        return bytes(retrying(lambda: fs.cat_file(path)))
    except FileNotFoundError as error:
        raise UsageError(f"{where}: there is no such file") from error
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror or error}") from error


def read_text(file: ListedFile, most: int | None = None) -> str:
    """The text of a listed file, UTF-8 with or without a byte order mark.

    Raises: UsageError for a file that cannot be read, is in another encoding, or has more than `most` bytes.
    """
    try:
        return read_bytes(file, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        odd = error.object[error.start]
        raise UsageError(f"dataset: {file.path}: no UTF-8 text: byte {error.start} is {odd:#04x}") from error
