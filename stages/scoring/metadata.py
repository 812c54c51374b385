"""The metadata text files of wsolevaluation, parsed, and the trivial baselines they imply.

Parsers take lines, not paths. Corners in the files count as inclusive and become half-open here (x1 + 1, y1 + 1).
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from stages.scoring.cuts.cut_counts import MAX_BOX_ACC_V2_IOUS
from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import FloatArray, IntArray, RaggedBoxes, from_counts
from stages.scoring.trivial import best_over, predictors

Value = TypeVar("Value")

BASELINES = (
    ("whole_image", "original"),
    ("whole_image", "wsolevaluation"),
    ("whole_crop", "psol"),
    ("whole_image", "first_box"),
    ("centred_gaussian", "wsolevaluation"),
)


class BoxMetadata(NamedTuple):
    """Ground truth of one split: N image ids, their sizes (N, 2) as width, height, boxes in original pixels."""

    image_ids: tuple[str, ...]
    sizes: FloatArray
    truth: RaggedBoxes


class MaskFiles(NamedTuple):
    """The files of an image's masks, relative to a folder of masks: one for each instance, and regions to ignore."""

    instances: tuple[str, ...]
    ignore: str | None


class Baseline(NamedTuple):
    """Accuracy in percent of a trivial predictor under a protocol at one IoU level."""

    predictor: str
    protocol: str
    iou: float
    value: float


def parse_image_ids(lines: Iterable[str]) -> tuple[str, ...]:
    """Image ids in file order; raises ValueError for a repeated id."""
    ids = tuple(line.strip() for line in lines if line.strip())
    for image_id, times in Counter(ids).most_common(1):
        if times > 1:
            raise ValueError(f"{image_id}: listed twice")
    return ids


def parse_class_labels(lines: Iterable[str], image_ids: Sequence[str]) -> IntArray:
    """Class index (N,) int64 of each image, from lines ``id,label``."""
    labels = {image_id: values[0] for image_id, values in _once(_rows(lines, 1), "class label")}
    for image_id, label in labels.items():
        if label != int(label):
            raise ValueError(f"{image_id}: class label {label:g} is no class index")
    return np.array([_known(labels, image_id, "class label") for image_id in image_ids], dtype=np.int64)


def parse_boxes(image_ids: Sequence[str], size_lines: Iterable[str], localization_lines: Iterable[str]) -> BoxMetadata:
    """Sizes and boxes of the images, from lines ``id,width,height`` and ``id,x0,y0,x1,y1``.

    Raises ValueError, naming the id, for an image without a size or a box, a box of an unknown image, a malformed line
    or a box with x1 < x0 or y1 < y0.
    """
    sizes = parse_sizes(image_ids, size_lines)
    return BoxMetadata(tuple(image_ids), sizes, parse_localization(image_ids, localization_lines))


def parse_localization(image_ids: Sequence[str], lines: Iterable[str]) -> RaggedBoxes:
    """Boxes of the images, from lines ``id,x0,y0,x1,y1``, several an image; raises ValueError as `parse_boxes`."""
    boxes: dict[str, list[list[float]]] = {image_id: [] for image_id in image_ids}
    for image_id, (x0, y0, x1, y1) in _rows(lines, 4):
        if x1 < x0 or y1 < y0:
            raise ValueError(f"{image_id}: box {x0:g},{y0:g},{x1:g},{y1:g} has x1 < x0 or y1 < y0")
        _known(boxes, image_id, "image id").append([x0, y0, x1 + 1, y1 + 1])
    for image_id, own in boxes.items():
        if not own:
            raise ValueError(f"{image_id}: no ground-truth box")
    joined = np.array([box for own in boxes.values() for box in own], dtype=np.float64).reshape(-1, 4)
    return from_counts(joined, [len(own) for own in boxes.values()])


def parse_sizes(image_ids: Sequence[str], lines: Iterable[str]) -> FloatArray:
    """Width and height (N, 2) of the images, from lines ``id,width,height``; raises ValueError, naming the id."""
    sizes = dict(_once(_rows(lines, 2), "image size"))
    rows = np.array([_known(sizes, image_id, "image size") for image_id in image_ids], dtype=np.float64).reshape(-1, 2)
    for row in np.flatnonzero((rows <= 0).any(axis=1))[:1]:
        raise ValueError(f"{image_ids[row]}: image size {rows[row, 0]:g} x {rows[row, 1]:g}")
    return rows


def parse_mask_files(image_ids: Sequence[str], lines: Iterable[str]) -> tuple[MaskFiles, ...]:
    """Mask files of the images, from lines ``id,instance mask,ignore mask or nothing`` (OpenImages).

    Raises ValueError, naming the id, for an image without a mask, an unknown image or a malformed line.
    """
    found: dict[str, list[str]] = {image_id: [] for image_id in image_ids}
    ignored: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        image_id, *files = line.strip().rsplit(",", 2)
        if len(files) != 2 or not files[0]:
            raise ValueError(
                f"line {number}: expected an id, a mask and an ignore mask or nothing, got {line.strip()!r}"
            )
        _known(found, image_id, "image id").append(files[0])
        if files[1]:
            ignored[image_id] = files[1]
    for image_id, own in found.items():
        if not own:
            raise ValueError(f"{image_id}: no ground-truth mask")
    return tuple(MaskFiles(tuple(own), ignored.get(image_id)) for image_id, own in found.items())


def names_masks(localization: Sequence[str]) -> bool:
    """Whether localization.txt lists mask files instead of boxes, as that of OpenImages does."""
    first, ignore = localization[0].strip().rsplit(",", 2)[-2:] if localization[0].count(",") > 1 else ("", "")
    return first.endswith(".png") and (not ignore or ignore.endswith(".png"))


def baselines(metadata: BoxMetadata) -> list[Baseline]:
    """Accuracy of the trivial predictors, one row a predictor and IoU level, each under its protocol's own comparison.

    ``first_box`` is left out where no image has a second box: it would repeat ``original``.
    """
    several = bool((metadata.truth.counts > 1).any())
    rows = []
    for name, protocol_name in BASELINES:
        if protocol_name == "first_box" and not several:
            continue
        protocol = PROTOCOLS[protocol_name]
        candidates = predictors(protocol, protocol.frame(metadata.sizes))[name]
        truth = protocol.ground_truth(metadata.truth, metadata.sizes)
        best = best_over(candidates, truth, MAX_BOX_ACC_V2_IOUS, protocol.strict)
        rows += [Baseline(name, protocol_name, iou, best[iou].value) for iou in MAX_BOX_ACC_V2_IOUS]
    return rows


def _rows(lines: Iterable[str], fields: int) -> Iterable[tuple[str, list[float]]]:
    """Split ``id,number,...`` lines; an id may hold commas."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        image_id, *values = line.strip().rsplit(",", fields)
        try:
            parsed = [float(value) for value in values]
        except ValueError:
            parsed = []
        if len(parsed) != fields or not all(map(math.isfinite, parsed)):
            raise ValueError(f"line {number}: expected an id and {fields} numbers, got {line.strip()!r}")
        yield image_id, parsed


def _once(rows: Iterable[tuple[str, list[float]]], what: str) -> Iterator[tuple[str, list[float]]]:
    """The rows; raises ValueError for an id that comes back with another value."""
    seen: dict[str, list[float]] = {}
    for image_id, values in rows:
        if seen.setdefault(image_id, values) != values:
            raise ValueError(f"{image_id}: more than one {what}")
        yield image_id, values


def _known(table: dict[str, Value], image_id: str, what: str) -> Value:
    if image_id not in table:
        raise ValueError(f"{image_id}: no {what}")
    return table[image_id]
