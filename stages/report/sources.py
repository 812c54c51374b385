"""The results of each source of boxes on the shown split: the first box of every image, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.scoring.error_analysis import Category, categorize
from stages.scoring.iou import best_iou
from stages.scoring.ragged import BoolArray, FloatArray, IntArray, RaggedBoxes
from stages.scoring.verdict import WHOLE

__all__ = ["KINDS", "Images", "Judged", "Summary", "first_boxes", "judged", "summary"]

KINDS = ("right", "several objects", "part of it", "too large", "elsewhere", "no box")
"""Kinds of boxes where true boxes are known; all but the last by SPA's analysis of errors."""

_OF_CATEGORY = {
    Category.CORRECT: 0,
    Category.MULTI: 1,
    Category.PART: 2,
    Category.MORE: 3,
    Category.OTHER: 4,
}
_NO_BOX = 5
_BINS = 20


@dataclass(frozen=True)
class Images:
    """The N images of a split.

    sizes: ``(N, 2)`` width and height, pixels. labels: ``(N,)``. truth: true boxes, none where they are not known.
    """

    ids: Sequence[str]
    sizes: FloatArray
    labels: IntArray
    truth: RaggedBoxes
    places: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {image_id: place for place, image_id in enumerate(self.ids)})


@dataclass(frozen=True)
class Judged:
    """The results of a source on the N images of a split, NaN where unknown.

    given: whether the source has a row. area: of the first box, share of the image; 0 without a box. iou: best IoU with
    a true box. kind: index into `KINDS`, -1 without a true box. quality: chance that the box is right. flags: of the
    rows, None for an ordinary box.
    """

    given: BoolArray
    area: FloatArray
    iou: FloatArray
    kind: IntArray
    quality: FloatArray
    flags: Sequence[str | None]

    def ranks(self) -> tuple[FloatArray, str]:
        """The values ``(N,)`` that order the images, and their name: IoU if any is known, else quality."""
        known = bool(np.isfinite(self.iou).any())
        return (self.iou, "IoU") if known else (self.quality, "quality")


@dataclass(frozen=True)
class Summary:
    """A source in one line: counts, percent (None where unknown), and histograms as heights of 20 bars, 0 to 100."""

    rows: int
    boxes: int
    whole: float
    flagged: float
    right: float | None
    quality: float | None
    areas: tuple[float, ...]
    qualities: tuple[float, ...]


def first_boxes(boxes: pa.Array) -> FloatArray:
    """Corners of the first box of each row of a column of boxes, ``(R, 4)`` float64; NaN for a row without boxes."""
    found = np.full((len(boxes), 4), np.nan)
    first = pc.list_slice(boxes, 0, 1)
    flat = pc.list_flatten(first)
    corners = [pc.struct_field(flat, name).to_numpy(zero_copy_only=False) for name in ("x0", "y0", "x1", "y1")]
    found[pc.list_parent_indices(first).to_numpy(zero_copy_only=False)] = np.stack(corners, axis=1)
    return found


def judged(table: pa.Table, images: Images, qualities: Mapping[str, float]) -> Judged:
    """Judge a source's rows (image_id, boxes, and maybe flag and quality) on the images of a split.

    qualities: image id -> quality of the source's box, from a stage `quality`.
    """
    number = len(images.ids)
    table = table.take(pa.array(np.arange(len(table))[::-1]))  # so that of several rows of an image the first one wins
    places = np.array([images.places.get(image_id, -1) for image_id in table.column("image_id").to_pylist()], np.int64)
    kept = np.flatnonzero(places >= 0)
    at = places[kept]
    given, boxes = np.zeros(number, bool), np.full((number, 4), np.nan)
    given[at] = True
    boxes[at] = first_boxes(table.column("boxes").combine_chunks())[kept]
    has_box = np.isfinite(boxes).all(axis=1)
    boxes[~has_box] = 0.0
    known = given & (images.truth.counts > 0)
    iou = np.where(known, best_iou(boxes, images.truth), np.nan)
    flags: list[str | None] = [None] * number
    quality = np.array([qualities.get(image_id, np.nan) for image_id in images.ids], np.float64)
    for name in {"flag", "quality"} & set(table.column_names):
        for place, value in zip(at, table.column(name).take(pa.array(kept)).to_pylist(), strict=True):
            if value is not None and name == "flag":
                flags[place] = value
            elif value is not None:
                quality[place] = value
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / images.sizes.prod(axis=1)
    return Judged(given, area, iou, _kinds(boxes, has_box, known, images.truth), quality, flags)


def summary(source: Judged) -> Summary:
    """Summarize a source in one line."""
    given = source.given
    rows, quality = int(given.sum()), source.quality[given]
    known = source.kind[given & (source.kind >= 0)]
    flagged = [flag is not None for flag, own in zip(source.flags, given, strict=True) if own]
    return Summary(
        rows=rows,
        boxes=int((source.area[given] > 0).sum()),
        whole=100 * float((source.area[given] >= WHOLE).mean()) if rows else 0.0,
        flagged=100 * sum(flagged) / max(1, rows),
        right=100 * float((known == 0).mean()) if len(known) else None,
        quality=100 * float(np.nanmean(quality)) if np.isfinite(quality).any() else None,
        areas=_bars(source.area[given]),
        qualities=_bars(quality[np.isfinite(quality)]),
    )


def _kinds(boxes: FloatArray, has_box: BoolArray, known: BoolArray, truth: RaggedBoxes) -> IntArray:
    categories = categorize(boxes, truth, np.ones(len(boxes), bool), strict=False)
    kinds = np.array([_OF_CATEGORY.get(Category(category), 4) for category in range(len(Category))])[categories]
    return np.where(known, np.where(has_box, kinds, _NO_BOX), -1).astype(np.int64)


def _bars(values: FloatArray) -> tuple[float, ...]:
    """Heights of a histogram of values in [0, 1], the highest 100; empty without a value."""
    if not len(values):
        return ()
    counts, _ = np.histogram(np.clip(values, 0, 1), bins=_BINS, range=(0, 1))
    return tuple(round(100 * float(count) / counts.max(), 1) for count in counts)
