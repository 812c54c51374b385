"""One small module for local and remote paths: atomic creation, whole-object writes, retries. Nothing else opens files.

Traps that it avoids: fsspec's local `pipe_file` opens the final name in place, and its mode "create" checks, then
writes; an exception inside an open output stream commits a truncated object on S3; s3fs caches listings.
"""

import contextlib
import errno
import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import IO, Any, NamedTuple, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.base.errors import UsageError
from pipeline.base.extras import how_to_get
from pipeline.store.paths import UnsafePathError, check_below, check_links, check_plain

T = TypeVar("T")

_PACKAGES = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
"""Protocol -> the package that speaks it, and our extra that brings it."""
_HOPELESS = (errno.ENOSPC, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of a disk that waiting cannot mend, besides those that have a class of their own."""
_NOT_WORTH_A_RETRY = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_BROKEN_HTTP = "HTTPClientError"
"""botocore's error for a broken or truncated response. Known by name, as it is no OSError and botocore is optional."""
ATTEMPTS = 5
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
"""Seconds before a retry: the wait doubles with each attempt up to the longest; jitter takes a random part of it."""
_STAGED = ".staged-"
_MODE = 0o666
"""Mode of a new file on this disk, before the umask: who may read a run is the user's own choice."""
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems call the time of the last write."""
_REMOVED_AT_ONCE = 16


class Listed(NamedTuple):
    """A file as a listing shows it. modified: seconds since 1970 by the storage's clock; None where it does not say."""

    path: str
    bytes: int
    modified: float | None

    @property
    def staged(self) -> bool:
        """Whether it is the temporary file of a write that is going on or was killed."""
        return self.path.rsplit("/", 1)[-1].startswith(_STAGED)


def retrying(call: Callable[[], T]) -> T:
    """Call, and call again after storage errors (timeouts, 5xx, throttling) with exponential backoff and jitter.

    Raises: the last error after 5 attempts; errors that waiting cannot mend (missing, exists, no permission) at once.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except Exception as error:
            if not _worth_a_retry(error):
                raise
            time.sleep(random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)))
    return call()


def _worth_a_retry(error: BaseException) -> bool:
    if any(base.__name__ == _BROKEN_HTTP for base in type(error).__mro__):
        return True
    return isinstance(error, OSError) and not isinstance(error, _NOT_WORTH_A_RETRY) and error.errno not in _HOPELESS


def open_filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI (or local path) and the path inside it. Listings are never cached.

    Raises: UsageError for a URI whose package is not installed, or that names no storage.
    """
    options = {"use_listings_cache": False} if "://" in uri and not uri.startswith(("file://", "memory://")) else {}
    try:
        fs, path = fsspec.core.url_to_fs(uri, **options)
    except ImportError as error:
        package, extra = _PACKAGES.get(uri.partition("://")[0], (None, None))
        raise UsageError(f"{uri}: {how_to_get(package, extra) if package and extra else error}") from error
    return fs, path.rstrip("/")


class Files:
    """The objects below one root URI; all paths are relative to it. Neither names nor links lead out of it."""

    def __init__(self, root: str) -> None:
        self.root = root if "://" in root else os.path.abspath(root)
        self._fs, self._base = open_filesystem(self.root)
        self._local = isinstance(self._fs, LocalFileSystem)

    def __reduce__(self) -> tuple[type["Files"], tuple[str]]:
        return (Files, (self.root,))

    @property
    def filesystem(self) -> tuple[fsspec.AbstractFileSystem, str, bool]:
        """(file system, path of the root in it, whether it is this machine's disk), for libraries that want these."""
        return self._fs, self._base, self._local

    def full(self, path: str) -> str:
        """The path inside the file system, for reading. Raises UnsafePathError for one that leaves the root."""
        full = self._full(path)
        if self._local:
            check_links(self._base, full)
        return full

    def _full(self, path: str) -> str:
        check_below(path)
        return f"{self._base}/{path}" if path else self._base

    def _own(self, path: str) -> str:
        """The path of an object to be written or removed; if it is a link, the link itself and not its target."""
        full = self._full(path)
        if self._local:
            check_links(self._base, os.path.dirname(full))
        return full

    def _file(self, path: str) -> str:
        """The path of an object to be opened."""
        full = self.full(path)
        if self._local:
            check_plain(full)
        return full

    def get(self, path: str) -> bytes:
        """The whole object. Raises FileNotFoundError; UnsafePathError for a path that is no file."""
        full = self._file(path)
        return bytes(retrying(lambda: self._fs.cat_file(full)))

    def get_many(self, paths: Sequence[str]) -> dict[str, bytes]:
        """All of `paths` that exist, path -> bytes; fetched concurrently where the file system can."""
        if not paths:
            return {}
        if self._local:
            found: dict[str, bytes] = {}
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    found[path] = self.get(path)
            return found
        full = {self.full(path): path for path in paths}
        objects = retrying(lambda: self._cat(list(full)))
        return {full[self._fs._strip_protocol(name)]: bytes(data) for name, data in objects.items()}

    def _cat(self, paths: list[str]) -> dict[str, bytes]:
        """The objects that exist. fsspec's on_error="omit" would also omit objects that a storage error hides."""
        found = self._fs.cat(paths, on_error="return")
        for error in found.values():
            if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                raise error
        return {path: data for path, data in found.items() if not isinstance(data, Exception)}

    def open(self, path: str) -> IO[bytes]:
        """A readable, seekable binary file."""
        full = self._file(path)
        opened: IO[bytes] = retrying(lambda: self._fs.open(full, "rb"))
        return opened

    def exists(self, path: str) -> bool:
        """Whether the object is there now."""
        return bool(retrying(lambda: self._fs.exists(self.full(path))))

    def holds(self, path: str) -> bool:
        """Whether anything is there now; a link counts, whatever it leads to."""
        return os.path.lexists(self._own(path)) if self._local else self.exists(path)

    def in_the_way(self, path: str) -> str:
        """What must go before `path` can be written: a parent that is no folder inside the root, else `path` itself."""
        if self._local:
            parts = path.split("/")
            for folder in ("/".join(parts[:depth]) for depth in range(1, len(parts))):
                if os.path.lexists(full := self._own(folder)) and not (os.path.isdir(full) and self._is_inside(full)):
                    return folder
        return path

    def _is_inside(self, full: str) -> bool:
        try:
            check_links(self._base, full)
        except UnsafePathError:
            return False
        return True

    def size(self, path: str) -> int:
        """Bytes of the object. Raises FileNotFoundError."""
        return int(retrying(lambda: self._fs.info(self.full(path)))["size"])

    def names(self, folder: str) -> list[str]:
        """Sorted names directly below a folder; [] where it is missing. Not for data folders: manifests name data.

        The temporary file of a write that was killed is no object and left out.
        """
        full = self.full(folder)
        try:
            entries = self._names(full)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)
        return sorted(name for name in names if not name.startswith(_STAGED))

    def _names(self, folder: str) -> list[str]:
        if self._local:
            return os.listdir(folder)
        names: list[str] = retrying(lambda: self._fs.ls(folder, detail=False, refresh=True))
        return names

    def listing(self, folder: str, depth: int | None = None) -> list[Listed]:
        """All files below a folder, `depth` levels deep, sorted by path; [] where it is missing. For upkeep only.

        Links on this machine's disk are no files, and are not followed.
        """
        full = self.full(folder)
        if self._local:
            return sorted(self._walk(full, depth))
        try:
            found = retrying(lambda: self._fs.find(full, maxdepth=depth, detail=True))
        except FileNotFoundError:
            return []
        files = ((name, info) for name, info in sorted(found.items()) if info["type"] == "file")
        return [Listed(self._below(name), int(info["size"]), _modified(info)) for name, info in files]

    def _walk(self, folder: str, depth: int | None) -> Iterator[Listed]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and depth != 1:
                yield from self._walk(entry.path, None if depth is None else depth - 1)
            elif entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                yield Listed(self._below(entry.path), status.st_size, status.st_mtime)

    def now(self) -> float | None:
        """The time by the storage's own clock, which is the time that it gives an object written just now."""
        path = f"{_STAGED}{uuid.uuid4().hex}"
        self.put(path, b"?")
        try:
            return _modified(retrying(lambda: self._fs.info(self.full(path))))
        finally:
            self.remove(path)

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write an object atomically: a reader never sees half of it, and on return it survives a power cut.

        durable: False skips the sync to this machine's disk, which saves a millisecond a file; a power cut may lose it.
        """
        if self._local:
            with self._staged(path, data, durable) as staged:
                os.replace(staged, self._own(path))
        else:
            retrying(lambda: self._fs.pipe_file(self._own(path), data))

    def put_file(self, path: str, source: str) -> None:
        """Write an object, as `put` does, from a file of this machine of any size."""
        if self._local:
            with open(source, "rb") as file, self._staged(path, file) as staged:
                os.replace(staged, self._own(path))
        else:
            retrying(lambda: self._fs.put_file(source, self._own(path)))

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link to a file of this machine, over one that is there; for folders that people browse.

        Raises: UnsafePathError for a remote root.
        """
        if not self._local:
            raise UnsafePathError(f"{self.root}: links can be made on this machine's disk only")
        own = self._own(path)
        os.makedirs(os.path.dirname(own), exist_ok=True)
        staged = f"{os.path.dirname(own)}/{_STAGED}{uuid.uuid4().hex}"
        os.symlink(target, staged)
        os.replace(staged, own)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Create an object unless it exists, in one atomic step. True for the one call that created it.

        Locally: temporary file in the same folder, fsync, os.link, unlink. On object stores: one conditional PUT.
        """
        try:
            if self._local:
                with self._staged(path, data) as staged:
                    os.link(staged, self._own(path))
            else:
                retrying(lambda: self._fs.pipe_file(self._own(path), data, mode="create"))
        except FileExistsError:
            return False
        return True

    def remove(self, path: str) -> None:
        """Delete an object; one that is already gone is fine."""
        full = self._own(path)
        with contextlib.suppress(FileNotFoundError):
            retrying(lambda: self._fs.rm_file(full))

    def move(self, path: str, to: str) -> None:
        """Move an object, over whatever is at the new path. Raises FileNotFoundError."""
        if self._local:
            os.makedirs(os.path.dirname(self._own(to)), exist_ok=True)
            os.replace(self._own(path), self._own(to))
            return
        self.put(to, self.get(path))
        self.remove(path)

    def remove_many(self, paths: Sequence[str]) -> None:
        """Delete objects, several at once. Not by a bulk request: those do not say what they failed to delete."""
        with ThreadPoolExecutor(_REMOVED_AT_ONCE) as pool:
            list(pool.map(self.remove, paths))

    def remove_empty_folders(self, folder: str) -> None:
        """Delete the folders that hold nothing, `folder` itself included. Object stores have none."""
        if self._local:
            for below, _, _ in os.walk(self.full(folder), topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(below)

    def remove_folder(self, path: str) -> None:
        """Delete everything below a folder; one that is already gone is fine."""
        with contextlib.suppress(FileNotFoundError):
            retrying(lambda: self._fs.rm(self.full(path), recursive=True))

    def _below(self, name: str) -> str:
        """The path below the root of a name that the file system gives."""
        return str(name).removeprefix(self._base).lstrip("/")

    @contextlib.contextmanager
    def _staged(self, path: str, data: bytes | IO[bytes], durable: bool = True) -> Iterator[str]:
        folder = os.path.dirname(self._own(path))
        os.makedirs(folder, exist_ok=True)
        staged = f"{folder}/{_STAGED}{uuid.uuid4().hex}"
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            with os.fdopen(handle, "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    shutil.copyfileobj(data, file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            yield staged
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)


def _modified(info: Mapping[str, Any]) -> float | None:
    said = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    return said.timestamp() if isinstance(said, datetime) else said
