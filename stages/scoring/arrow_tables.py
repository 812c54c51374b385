"""From Arrow tables to the arrays that metrics are computed on, images in the order of their ids."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.scoring.ragged import FloatArray, IntArray, RaggedBoxes, from_lists
from stages.scoring.tally import Tally

Value = TypeVar("Value")


@dataclass(frozen=True)
class Truth:
    """The N images of a split that have a ground-truth box: ids, sizes (N, 2) as width, height, labels (N,), boxes."""

    image_ids: tuple[str, ...]
    sizes: FloatArray
    labels: IntArray
    boxes: RaggedBoxes

    def take(self, rows: Mapping[str, Value], missing: Value) -> list[Value]:
        """The values of a mapping by image id, in the order of `image_ids`; `missing` for an image without a row."""
        return [rows.get(image_id, missing) for image_id in self.image_ids]


IMAGE_COLUMNS = ("image_id", "width", "height", "label", "split")
"""The columns of table images that scoring reads."""

TRUTH_COLUMNS = ("image_id", "boxes", "mask_uris", "mask_hashes", "ignore_uris", "ignore_hashes")
"""The columns of table truth that scoring reads."""


def with_truth(images: pa.Table, truth: pa.Table) -> pa.Table:
    """Rows of table images in the order of their ids, joined with the columns of `truth`; null without ground truth."""
    images = images.take(pc.sort_indices(images, [("image_id", "ascending")]))
    place = pc.index_in(images.column("image_id"), truth.column("image_id"))
    for name in truth.column_names[1:]:
        images = images.append_column(name, truth.column(name).take(place))
    return images


def truth_of(images: pa.Table, split: str) -> Truth:
    """Ground truth of a split, from a table with `IMAGE_COLUMNS` and the boxes of `with_truth`."""
    chosen = images.filter((pc.field("split") == split) & (pc.list_value_length(pc.field("boxes")) > 0))
    chosen = chosen.take(pc.sort_indices(chosen, [("image_id", "ascending")]))
    boxes = [[corners(box) for box in row] for row in chosen.column("boxes").to_pylist()]
    sizes = np.stack([chosen.column(name).to_numpy() for name in ("width", "height")], axis=1).astype(np.float64)
    labels = chosen.column("label").to_numpy().astype(np.int64)
    return Truth(tuple(chosen.column("image_id").to_pylist()), sizes, labels, from_lists(boxes))


def corners(box: Mapping[str, float]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a box row."""
    return box["x0"], box["y0"], box["x1"], box["y1"]


def first_boxes(table: pa.Table) -> dict[str, tuple[float, float, float, float]]:
    """The best box of each image in a pseudo_labels or predictions table; an image without one gets an empty box."""
    ids, boxes = table.column("image_id").to_pylist(), table.column("boxes").to_pylist()
    return {
        image_id: corners(row[0]) if row else (0.0, 0.0, 0.0, 0.0) for image_id, row in zip(ids, boxes, strict=True)
    }


def tallies_of(table: pa.Table) -> Iterator[Tally]:
    """The rows of a counts table."""
    for row in table.select(["rule", "iou", "images", "counts"]).to_pylist():
        yield Tally(row["rule"], row["iou"], row["images"], np.array(row["counts"], dtype=np.int64))
