"""Rows of table truth for a shard of the listing: boxes clipped to their images, masks with file hashes."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.base.errors import UsageError
from pipeline.base.hashing import fingerprint
from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES
from stages.vision.held_boxes import held

__all__ = ["TruthWorker"]

_LOG = logging.getLogger("weakbox.truth")

_COLUMNS = ["image_id", "boxes", "mask_uris", "ignore_uris"]
_CORNERS = ("x0", "y0", "x1", "y1")

Sizes = Mapping[str, tuple[int, int]]
"""Image id -> width, height."""


class TruthWorker:
    """Makes the rows of the annotated images."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The rows of a shard. Raises UsageError for a box that lies mostly outside its image."""
        listed = task.shard.listed.select(_COLUMNS).to_pylist()
        sizes = self._sizes(task)
        rows = [self._row(row, sizes) for row in listed if row["boxes"] or row["mask_uris"] or row["ignore_uris"]]
        hashes = [[str(row["image_id"]), repr(row["mask_hashes"]), repr(row["ignore_hashes"])] for row in rows]
        said = task.shard.args
        identity = fingerprint([said["annotations"], hashes]) if "masks" in said else str(said["annotations"])
        if cut := sum(row["clipped"] for row in rows):
            _LOG.warning("%d ground-truth boxes stuck out of their images and were cut to them", cut)
        return ShardResult({"truth": TABLES["truth"].from_rows(rows)}, identity=identity)

    def _sizes(self, task: Task) -> Sizes:
        tables = [
            self._context.table(done, "images", ("image_id", "width", "height")) for done in task.inputs["images"]
        ]
        return {row["image_id"]: (row["width"], row["height"]) for table in tables for row in table.to_pylist()}

    def _row(self, listed: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
        hashes = {name: [self._hash(uri) for uri in listed[f"{name}_uris"]] for name in ("mask", "ignore")}
        return {**listed, **_held(listed, sizes), "mask_hashes": hashes["mask"], "ignore_hashes": hashes["ignore"]}

    def _hash(self, uri: str) -> str:
        return hashlib.sha256(self._context.read(uri)).hexdigest()


def _held(listed: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """The boxes clipped to their image; boxes of a quarantined image, whose size is unknown, stay as they are."""
    given: Sequence[Mapping[str, float]] = listed["boxes"] or ()
    size = sizes.get(listed["image_id"])
    if not given or size is None:
        return {"clipped": 0}
    try:
        boxes, cut = held([[box[corner] for corner in _CORNERS] for box in given], *size)
    except ValueError as error:
        raise UsageError(f"dataset: ground truth of {listed['image_id']!r}: {error}") from error
    return {"boxes": [dict(zip(_CORNERS, box, strict=True)) for box in boxes], "clipped": cut}
