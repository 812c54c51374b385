"""Opens every image of a shard once."""

import errno
import hashlib
from collections.abc import Mapping
from typing import Any

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
_COLUMNS = [*_CARRIED, "trouble"]
_IDENTITY = ("image_id", "content_hash", "label", "label_name", "split", "turned", "lenient")
"""What an image is. Where it lies does not matter."""
_OF_ONE_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors that are about one file, not about the storage."""


class _Refused(Exception):
    """An image that cannot be used, and why. content_hash: of its bytes as far as they could be read."""

    def __init__(self, reason: str, content_hash: str | None = None) -> None:
        super().__init__(reason)
        self.content_hash = content_hash


class IngestWorker:
    """Opens the images of one ingest stage's shards. stage: the stage's name in the run. turned: see table images."""

    def __init__(self, stage: str, params: ReaderParams, turned: bool, context: Context) -> None:
        self._stage, self._params, self._turned = stage, params, turned
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard; an image that cannot be opened is quarantined with its reason."""
        good: list[dict[str, Any]] = []
        bad: list[QuarantineRow] = []
        for row in task.shard.listed.select(_COLUMNS).to_pylist():
            try:
                good.append({**{name: row[name] for name in _CARRIED}, **self._seen(row)})
            except _Refused as refused:
                name: ImageName = {"image_id": row["image_id"], "uri": row["uri"], "content_hash": refused.content_hash}
                bad.append(quarantined(self._stage, name, str(refused)))
        known = [[row[name] for name in _IDENTITY] for row in good]
        identity = fingerprint([known, [row["image_id"] for row in bad]])
        return ShardResult({"images": TABLES["images"].from_rows(good)}, quarantine=bad, identity=identity)

    def _seen(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What opening an image shows. Raises _Refused."""
        data = self._bytes(row)
        content_hash = hashlib.sha256(data).hexdigest()
        orientation = exif_orientation(data)
        turned = self._turned and orientation != 1
        try:
            (height, width), lenient = self._size(data, turned)
        except ImageError as error:
            raise _Refused(str(error), content_hash) from error
        return {
            "content_hash": content_hash,
            "width": width,
            "height": height,
            "orientation": orientation,
            "turned": turned,
            "lenient": lenient,
        }

    def _size(self, data: bytes, turned: bool) -> tuple[tuple[int, int], bool]:
        """(height, width), and whether that took leniency. Raises ImageError."""
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
        """Whether the data set is there at all: a disk that was unmounted is not the fault of its images."""
        fs, path = open_filesystem(self._params.root)
        if not retrying(lambda: fs.exists(path)):
            raise StageFailed(f"dataset: root {self._params.root} is gone")
