"""Files that a table names: below the data root, by an absolute path, or by a URI."""

import os
import posixpath
import stat
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.base.credentials import has_credentials
from pipeline.base.errors import UsageError
from pipeline.store.files import open_filesystem, retrying
from pipeline.store.paths import has_control
from stages.formats.file_names import ByName
from stages.ingest.listing import ListedFile, remote_stamp

_ASKED_AT_ONCE = 16


def path_of(name: str, root: str, where: str, folder: str = "") -> str:
    """A file name in a table as a path below the root where the file lies there, else as an absolute path or a URI.

    root: the data root. folder: the folder below the root that a relative name starts from. where: what the error
    starts with. Backslashes count as slashes in a relative name.

    Raises: UsageError for a name that climbs out of the root, or is no valid file name.
    """
    if not name.strip() or has_control(name):
        raise UsageError(f"{where}: {name!r:.100} is no name of a file")
    if "::" in name or has_credentials(name):
        raise UsageError(f"{where}: a URI inside another, or with a password in it, is not taken")
    name = name.removeprefix("file://")
    if "://" in name or name.startswith("/"):
        base = (root if "://" in root else os.path.abspath(root)).rstrip("/") + "/"
        if not name.startswith(base):
            return name if "://" in name else posixpath.normpath(name)
        name, folder = name.removeprefix(base), ""
    path = posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))
    if path.startswith(("../", "/")) or path in ("..", "."):
        raise UsageError(f"{where}: {name!r:.200} climbs out of the root")
    return path


def files_of(paths: Iterable[str], listed: Sequence[ListedFile]) -> dict[str, ListedFile]:
    """Path -> file, for paths that `path_of` returned; files outside the root are checked in parallel.

    listed: all files below the root. A name in another Unicode form finds its file. An absent file is included, with
    that as its trouble.

    Raises: UsageError for a storage that does not answer, or of an unknown kind.
    """
    names = ByName({file.path: file for file in listed})
    wanted = list(dict.fromkeys(paths))
    outside = [path for path in wanted if path.startswith("/") or "://" in path]
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        elsewhere = dict(zip(outside, pool.map(_look_at, outside), strict=True))
    return {path: elsewhere.get(path) or names.get(path) or _absent(path) for path in wanted}


def _absent(path: str) -> ListedFile:
    return ListedFile(path, path, "", "there is no such file")


def _look_at(path: str) -> ListedFile:
    """Check a file outside the root. Raises UsageError for an error of the storage, not of the one file."""
    try:
        return _remote(path) if "://" in path else _local(path)
    except (FileNotFoundError, NotADirectoryError):
        return _absent(path)
    except (OSError, ValueError) as error:
        if "://" in path and not isinstance(error, PermissionError):
            raise UsageError(f"dataset: {path}: {error}") from error
        words = error.strerror if isinstance(error, OSError) else None
        return ListedFile(path, path, "", f"cannot be read: {words or error}")


def _local(path: str) -> ListedFile:
    status = os.stat(path)
    trouble = None if stat.S_ISREG(status.st_mode) else "no ordinary file"
    return ListedFile(path, path, f"{status.st_size}-{status.st_mtime_ns}", trouble)


def _remote(path: str) -> ListedFile:
    fs, name = open_filesystem(path)
    info = retrying(lambda: fs.info(name))
    return ListedFile(path, path, remote_stamp(info), None if info["type"] == "file" else "no ordinary file")
