"""Unpacking a data set's published archive; names in it cannot climb out."""

import os
import tarfile
import tempfile
from typing import Any

from pipeline.base.errors import UsageError

_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""What keeps permissions and owners out, where Python has it (3.11.4)."""


def unpack(archive: str, root: str) -> None:
    """Unpack an archive with one top folder so that this folder becomes `root`; all or nothing.

    Raises:
        UsageError: the archive is missing or unreadable, or has no single top folder.
    """
    parent = os.path.dirname(os.path.abspath(root))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".unpack-") as staged:
        try:
            with tarfile.open(archive) as tar:
                _refuse_odd_members(tar)
                tar.extractall(staged, **_FILTER)
        except (OSError, tarfile.TarError) as error:
            raise UsageError(f"dataset: archive {archive}: {error}") from error
        tops = os.listdir(staged)
        if len(tops) != 1:
            raise UsageError(f"dataset: archive {archive}: one top folder was expected, found {len(tops)}")
        try:
            os.rename(os.path.join(staged, tops[0]), root)
        except OSError:
            if not os.path.isdir(root):
                raise


def _refuse_odd_members(tar: tarfile.TarFile) -> None:
    """Raise TarError for a member that is neither file nor folder, or lies outside the archive's own folder."""
    for member in tar:
        inside = not os.path.isabs(member.name) and ".." not in member.name.split("/")
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is no file or folder of its own")
