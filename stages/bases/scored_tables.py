"""What `sweep`, `calibrate` and `evaluate` read: tables of several shards, images with their ground truth, masks."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.contract.context import ChangedError, Context
from pipeline.store.records import Done, Task
from schemas import TABLES
from stages.scoring.arrow_tables import TRUTH_COLUMNS, with_truth
from stages.scoring.mask_metrics import MaskTruth
from stages.vision.images import ImageError, decode

_ASPECT = 0.05
"""How far the aspect ratio of a mask may be from its image's: sides are whole pixels."""


def joined(
    context: Context,
    dones: tuple[Done, ...],
    table: str,
    columns: tuple[str, ...],
    filters: pc.Expression | None = None,
) -> pa.Table:
    """One table of several shards."""
    parts = [context.table(done, table, columns, filters) for done in dones]
    return pa.concat_tables(parts) if parts else TABLES[table].empty().select(list(columns))


def scored_images(
    context: Context, task: Task, columns: Sequence[str], filters: pc.Expression | None = None
) -> pa.Table:
    """The images of a task in the order of their ids, with the columns of their ground truth, null without any."""
    images = joined(context, task.inputs["images"], "images", tuple(columns), filters)
    return with_truth(images, joined(context, task.inputs["truth"], "truth", TRUTH_COLUMNS))


def of(task: Task, slot: str, source: str) -> tuple[Done, ...]:
    """The shards in a slot that belong to stage `source`."""
    return tuple(done for done in task.inputs[slot] if done.stage == source)


class Origin(NamedTuple):
    """Values that all rows of a stage's table share; None for a column that the table lacks."""

    method: str
    seed: int | None
    source: str | None
    threshold: float | None
    threshold_choice: str | None


def origin(table: pa.Table, source: str) -> Origin:
    """The origin of a table's rows, read from the first; the threshold is None where rows differ in it (cross-fitted).

    Raises UsageError for a table without rows.
    """
    if not table.num_rows:
        raise UsageError(f"stage {source} has no row of a split that is scored; give it that split")
    row = table.slice(0, 1).to_pylist()[0]
    if "threshold" in row and len(pc.unique(table.column("threshold"))) > 1:
        row["threshold"] = None
    return Origin(row["method"], *(row.get(name) for name in Origin._fields[1:]))


class MaskedImage(TypedDict):
    """An image with ground-truth masks."""

    image_id: str
    height: int
    width: int
    mask_uris: list[str]
    mask_hashes: list[str]
    ignore_uris: list[str] | None
    ignore_hashes: list[str] | None


def masked_images(images: pa.Table) -> list[MaskedImage]:
    """The images of a table of `scored_images` that have a ground-truth mask."""
    chosen = images.filter(pc.greater(pc.list_value_length(images.column("mask_uris")), 0))
    rows: list[MaskedImage] = chosen.select(list(MaskedImage.__annotations__)).to_pylist()
    return rows


def read_masks(context: Context, image: MaskedImage) -> MaskTruth:
    """The ground-truth masks and ignore regions of an image, at their stored size.

    Raises: UsageError for a file that is no image, has another aspect ratio, or has changed since it was listed.
    """
    instances = _read(context, image, image["mask_uris"], image["mask_hashes"])
    return MaskTruth(instances, _read(context, image, image["ignore_uris"] or (), image["ignore_hashes"] or ()))


def _read(context: Context, image: MaskedImage, uris: Sequence[str], hashes: Sequence[str]) -> list[np.ndarray]:
    """Grey masks ``(h, w)`` uint8, of the image's aspect ratio, but maybe another size (OpenImages)."""
    found = []
    height, width = image["height"], image["width"]
    for uri, content_hash in zip(uris, hashes, strict=True):
        where = f"ground-truth mask of {image['image_id']}: {uri}"
        try:
            grey = decode(context.read(uri, content_hash=content_hash))[:, :, 0]
        except (ImageError, ChangedError) as error:
            raise UsageError(f"{where}: {error}") from error
        if abs(grey.shape[1] / grey.shape[0] * height / width - 1) > _ASPECT:
            said = f"{grey.shape[1]} x {grey.shape[0]}"
            raise UsageError(f"{where}: {said} pixels, the image has {width} x {height}")
        found.append(grey)
    return found
