"""Unpacking a data set's published archive; names in it cannot climb out, nothing is left of one that is damaged."""

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
"""What keeps permissions and owners out, where Python has it (3.11.4)."""
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
    """Unpack an archive so that what is on top of it lies in the new folder `root`; all or nothing.

    Raises: UsageError as `unpack`, whatever the number of tops.
    """
    with _unpacked(archive, root) as staged:
        _move(staged, root)


@contextmanager
def _unpacked(archive: str, root: str) -> Iterator[str]:
    """A folder on the disk of `root` that holds what is in the archive, and goes afterwards."""
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
    """Make a folder the root, unless another process was quicker."""
    try:
        os.rename(folder, root)
    except OSError:
        if not os.path.isdir(root):
            raise


def _refuse_odd_members(tar: tarfile.TarFile, room: int) -> None:
    """Raise TarError for what is neither file nor folder, or lies outside the archive's own folder, or needs no `room`.

    room: bytes that the disk has left.
    """
    needed = 0
    for member in tar:
        inside = not os.path.isabs(member.name) and ".." not in member.name.split("/")
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is no file or folder of its own")
        needed += member.size
        if needed > room:
            raise tarfile.TarError(f"its files do not fit on the disk, which has {room // 2**20} MiB left")
