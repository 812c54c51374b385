"""Opens every image of a shard once."""

import errno
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.base.errors import StageFailed
from pipeline.base.hashing import fingerprint
from pipeline.contract.context import Context
from pipeline.store.files import open_filesystem, retrying
from pipeline.store.records import ImageName, QuarantineRow, ShardResult, Task, quarantined
from schemas import TABLES
from stages.ingest.reader import ReaderParams
from stages.vision.images import ImageError, decode, exif_orientation

__all__ = ["IngestWorker"]

_CARRIED = ("image_id", "uri", "offset", "length", "row", "label", "label_name", "split")
"""Columns of the listing that become columns of the images table."""
_READ = ("image_id", "uri", "offset", "length", "row", "trouble")
_IDENTITY = ("image_id", "content_hash", "label", "label_name", "split", "turned", "lenient")
"""Columns that identify an image; its location is not among them."""
_OF_ONE_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors that are about one file, not about the storage."""


class _Seen(NamedTuple):
    """What decoding an image shows: columns of the images table."""

    content_hash: str
    width: int
    height: int
    orientation: int
    turned: bool
    lenient: bool


class _Refused(Exception):
    """An image that cannot be used, and why. content_hash: hash of its bytes; None where they could not be read."""

    def __init__(self, reason: str, content_hash: str | None = None) -> None:
        super().__init__(reason)
        self.content_hash = content_hash


class IngestWorker:
    """Opens the images of one ingest stage's shards.

    stage: the stage's name in the run. turned: whether images are turned by their EXIF orientation.
    """

    def __init__(self, stage: str, params: ReaderParams, turned: bool, context: Context) -> None:
        self._stage, self._params, self._turned = stage, params, turned
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard; an image that cannot be opened is quarantined with its reason."""
        listed = task.shard.listed
        good: list[int] = []
        seen: list[_Seen] = []
        bad: list[QuarantineRow] = []
        for place, row in enumerate(listed.select(_READ).to_pylist()):
            try:
                seen.append(self._seen(row))
                good.append(place)
            except _Refused as refused:
                name: ImageName = {"image_id": row["image_id"], "uri": row["uri"], "content_hash": refused.content_hash}
                bad.append(quarantined(self._stage, name, str(refused)))
        images = _images(listed.take(pa.array(good, pa.int64())), seen)
        known = list(zip(*(images.column(name).to_pylist() for name in _IDENTITY), strict=True))
        identity = fingerprint([known, [row["image_id"] for row in bad]])
        return ShardResult({"images": images}, quarantine=bad, identity=identity)

    def _seen(self, row: Mapping[str, Any]) -> _Seen:
        """Read and decode an image. Raises _Refused."""
        data = self._bytes(row)
        content_hash = hashlib.sha256(data).hexdigest()
        orientation = exif_orientation(data)
        turned = self._turned and orientation != 1
        try:
            (height, width), lenient = self._size(data, turned)
        except ImageError as error:
            raise _Refused(str(error), content_hash) from error
        return _Seen(content_hash, width, height, orientation, turned, lenient)

    def _size(self, data: bytes, turned: bool) -> tuple[tuple[int, int], bool]:
        """(height, width), and whether lenient decoding was needed. Raises ImageError."""
        try:
            return decode(data, turned=turned).shape[:2], False
        except ImageError:
            if not self._params.lenient:
                raise
        return decode(data, turned=turned, lenient=True).shape[:2], True

    def _bytes(self, row: Mapping[str, Any]) -> bytes:
        if row["trouble"] is not None:
            raise _Refused(row["trouble"])
        try:
            return self._context.read_image(
                {"uri": row["uri"], "offset": row["offset"], "length": row["length"], "row": row["row"]}
            )
        except ValueError as error:
            raise _Refused(str(error)) from error
        except OSError as error:
            if error.errno not in _OF_ONE_FILE and not isinstance(error, FileNotFoundError | PermissionError):
                raise
            self._check_root()
            raise _Refused(f"cannot be read: {error.strerror or error}") from error

    def _check_root(self) -> None:
        """Raise StageFailed if the root itself is gone: an unmounted disk must not quarantine its images."""
        fs, path = open_filesystem(self._params.root)
        if not retrying(lambda: fs.exists(path)):
            raise StageFailed(f"dataset: root {self._params.root} is gone")


def _images(listed: pa.Table, seen: Sequence[_Seen]) -> pa.Table:
    """The images table: columns of the listing and what decoding showed of each image."""
    carried = {name: listed.column(name) for name in _CARRIED}
    found = {name: [getattr(each, name) for each in seen] for name in _Seen._fields}
    return TABLES["images"].from_columns({**carried, **found}, len(seen))
