"""Unpacking a data set's published archive: no member leaves the target folder, a damaged archive leaves nothing."""

import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.base.errors import UsageError

_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Drops permissions and owners, where Python has the filter (since 3.11.4)."""
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


def unpack(archive: str, root: str) -> None:
    """Unpack an archive with one top folder so that this folder becomes `root`; all or nothing.

    Raises:
        UsageError: the archive is missing, unreadable or larger than the disk, or has no single top folder.
    """
    with _unpacked(archive, root) as staged:
        tops = os.listdir(staged)
        if len(tops) != 1:
            raise UsageError(f"dataset: archive {archive}: one top folder was expected, found {len(tops)}")
        _move(os.path.join(staged, tops[0]), root)


def unpack_into(archive: str, root: str) -> None:
    """Unpack the top level of an archive into the new folder `root`; all or nothing.

    Raises: UsageError as `unpack` does, but any number of top folders is allowed.
    """
    with _unpacked(archive, root) as staged:
        _move(staged, root)


@contextmanager
def _unpacked(archive: str, root: str) -> Iterator[str]:
    """A temporary folder beside `root` with the unpacked archive, removed afterwards."""
    parent = os.path.dirname(os.path.abspath(root))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".unpack-") as private:
        staged = os.path.join(private, "all")
        os.mkdir(staged)
        try:
            with tarfile.open(archive) as tar:
                _refuse_odd_members(tar, shutil.disk_usage(parent).free)
                tar.extractall(staged, **_FILTER)
        except _DAMAGED as error:
            raise UsageError(f"dataset: archive {archive}: {error}") from error
        yield staged


def _move(folder: str, root: str) -> None:
    """Rename a folder to the root, unless another process has made the root meanwhile."""
    try:
        os.rename(folder, root)
    except OSError:
        if not os.path.isdir(root):
            raise


def _refuse_odd_members(tar: tarfile.TarFile, room: int) -> None:
    """Raise TarError for a member that is no file or folder or leaves the archive, or if all need more than `room`.

    room: free bytes on the disk.
    """
    needed = 0
    for member in tar:
        inside = not os.path.isabs(member.name) and ".." not in member.name.split("/")
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is no file or folder of its own")
        needed += member.size
        if needed > room:
            raise tarfile.TarError(f"its files do not fit on the disk, which has {room // 2**20} MiB left")
