"""Listing the files below a data root, local or remote, with what tells one version of a file from the next.

Only regular files are ever opened. Whatever else lies there - a link to nothing, a pipe, a device, a folder that nobody
may look into - is listed with what is wrong with it, so that it becomes a row and not the end of a run.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.store.files import open_filesystem, retrying

_ODD = {
    stat.S_IFIFO: "a pipe, no file",
    stat.S_IFSOCK: "a socket, no file",
    stat.S_IFCHR: "a device, no file",
    stat.S_IFBLK: "a device, no file",
}


class ListedFile(NamedTuple):
    r"""One file: its path below the root (POSIX), where to read it, and its stamp (size and time or version).

    trouble: why it cannot be read, in words; None of an ordinary file. The path of a name that is no UTF-8 shows its
    odd bytes as ``\xe9``, and is the path of nothing.
    """

    path: str
    uri: str
    stamp: str
    trouble: str | None = None


def list_files(root: str) -> list[ListedFile]:
    """All files below `root`, sorted by path; hidden files and folders are left out. A link counts as what it leads to.

    A root that is a file itself, an archive or a table, is the only one; its path is its name.

    Raises:
        UsageError: the root does not exist.
    """
    return sorted(walk_files(root), key=lambda file: file.path)


def walk_files(root: str) -> Iterator[ListedFile]:
    """The same files one after another, for who need not hold them all; none is opened.

    They come sorted by path, but a folder that cannot be listed comes where its files would be.

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
    """An entry of a folder. order: as which it sorts: a folder's files come where `folder/` does."""

    order: str
    path: str
    trouble: str | None
    is_folder: bool
    entry: "os.DirEntry[str]"


def _walk(
    entries: Iterable["os.DirEntry[str]"], below: str, above: tuple[tuple[int, int], ...]
) -> Iterator[ListedFile]:
    """The files of a folder and of those in it. above: the folders that led here, which a link may lead back to."""
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
    """A path as text that can be written down, and what is wrong with it."""
    if path.isascii() and path.isprintable() and "\\" not in path:
        return path, None
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        return shown, "its name is no UTF-8: rename it"
    if "\\" in path or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
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
    """Size, and version or time, of a file on a remote storage, of what the storage says of it."""
    version = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or ""
    return f"{info['size']}-{version}"


def read_bytes(file: ListedFile, most: int | None = None) -> bytes:
    """The bytes of a listed file. Raises UsageError for one that cannot be read, or of more than `most` bytes."""
    where = f"dataset: {file.path}"
    if file.trouble is not None:
        raise UsageError(f"{where}: {file.trouble}")
    fs, path = open_filesystem(file.uri)
    try:
        if most is not None and fs.size(path) > most:
            raise UsageError(f"{where}: larger than {most // 2**20} MiB, which no such file is")
        return bytes(retrying(lambda: fs.cat_file(path)))
    except FileNotFoundError as error:
        raise UsageError(f"{where}: there is no such file") from error
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror or error}") from error


def read_text(file: ListedFile, most: int | None = None) -> str:
    """The text of a listed file, UTF-8 with or without a byte order mark.

    Raises: UsageError for a file that cannot be read, that is in another encoding, or of more than `most` bytes.
    """
    try:
        return read_bytes(file, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        odd = error.object[error.start]
        raise UsageError(f"dataset: {file.path}: no UTF-8 text: byte {error.start} is {odd:#04x}") from error
