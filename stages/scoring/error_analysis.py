"""SPA's five-way analysis of localisation errors (SPA, supplement, algorithm 1)."""

from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np

from stages.scoring.iou import aligned_iou, area, intersection, ratio
from stages.scoring.metrics import MetricKey, PerImage
from stages.scoring.protocols import correct
from stages.scoring.ragged import BoolArray, FloatArray, IntArray, RaggedBoxes

Variant = Literal["text", "code"]

IOU_CORRECT = 0.5
IOG_INSTANCE = 0.3
IOP_PART = 0.5
IOG_MORE = 0.7


class Category(IntEnum):
    """Outcome of an image: the first of CLS, CORRECT, MULTI, PART and MORE that applies, else OTHER."""

    CORRECT = 0
    CLS = 1
    MULTI = 2
    PART = 3
    MORE = 4
    OTHER = 5


METRICS = {
    Category.CLS: "err_cls",
    Category.MULTI: "err_multi",
    Category.PART: "err_part",
    Category.MORE: "err_more",
    Category.OTHER: "err_other",
}


class Ratios(NamedTuple):
    """Ratios of each ground-truth box (M,): IoU, intersection over ground truth, intersection over prediction."""

    iou: FloatArray
    iog: FloatArray
    iop: FloatArray


def box_ratios(predicted: FloatArray, truth: RaggedBoxes) -> Ratios:
    """Ratios of one predicted box an image (N, 4) with each of its ground-truth boxes; half-open boxes."""
    own = predicted[truth.owner]
    shared = intersection(own, truth.boxes)
    return Ratios(aligned_iou(own, truth.boxes), ratio(shared, area(truth.boxes)), ratio(shared, area(own)))


def categorize(
    predicted: FloatArray,
    truth: RaggedBoxes,
    class_correct: BoolArray,
    variant: Variant = "text",
    strict: bool = True,
) -> IntArray:
    """Category (N,) of each image, from one predicted box (N, 4) and the ground truth, both half-open original pixels.

    ``text`` takes maxima of IoG and IoP over the ground-truth boxes and More is IoG > 0.7; ``code`` takes those of the
    box of the best IoU (the first of equals) and More is IoG >= 0.7. Localised is IoU > 0.5 in both; with ``strict``
    false IoU >= 0.5, as the protocols other than SPA's own count, so that the errors sum to their top1_loc error.
    """
    ratios = box_ratios(predicted, truth)
    owner, images = truth.owner, truth.images
    best = _maximum(ratios.iou, owner, images)
    instances = np.bincount(owner[ratios.iog > IOG_INSTANCE], minlength=images)
    if variant == "code":
        chosen = first_best(ratios.iou, truth)
        valid = chosen >= 0
        iog = np.where(valid, ratios.iog[chosen], 0.0) if len(ratios.iog) else np.zeros(images)
        iop = np.where(valid, ratios.iop[chosen], 0.0) if len(ratios.iop) else np.zeros(images)
        more = iog >= IOG_MORE
    else:
        iop = _maximum(ratios.iop, owner, images)
        more = _maximum(ratios.iog, owner, images) > IOG_MORE
    conditions = [~class_correct, correct(best, IOU_CORRECT, strict), instances > 1, iop > IOP_PART, more]
    outcomes = [Category.CLS, Category.CORRECT, Category.MULTI, Category.PART, Category.MORE]
    return np.select(conditions, outcomes, default=Category.OTHER).astype(np.int64)


def first_best(values: FloatArray, truth: RaggedBoxes) -> IntArray:
    """Index (N,) into the boxes of each image's greatest value (M,), the first of equals; -1 without a box."""
    order = np.lexsort((np.arange(len(values)), -values, truth.owner))
    result = np.full(truth.images, -1, dtype=np.int64)
    has_box = truth.counts > 0
    result[has_box] = order[truth.offsets[:-1][has_box]]
    return result


def error_metrics(categories: IntArray) -> PerImage:
    """Per-image vectors (N,) of the five kinds of error; they sum to the top1_loc error (IoU > 0.5)."""
    return {MetricKey(name, IOU_CORRECT): categories == category for category, name in METRICS.items()}


def _maximum(values: FloatArray, owner: IntArray, images: int) -> FloatArray:
    result = np.zeros(images)
    np.maximum.at(result, owner, values)
    return result
