"""Signals of a box that need no ground truth, and its rank among the boxes of its class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.scoring.iou import aligned_iou, area, ratio
from stages.scoring.ragged import BoolArray, FloatArray, IntArray

__all__ = ["SIGNALS", "Found", "agreements", "ranks", "signals_of"]

SIGNALS = (
    "agreement",
    "agreement_least",
    "mask_agreement",
    "agreement_rank",
    "score",
    "score_rank",
    "contrast",
    "contrast_rank",
    "border",
    "area",
    "area_rank",
    "aspect",
    "fill",
    "components",
    "confidence",
)
"""The signals of a box, in the order of the columns of table qualities."""


@dataclass(frozen=True)
class Found:
    """The best box of one source in each of N images; NaN where it has no box, or a value is unknown.

    boxes: ``(N, 4)`` half-open pixels. score, contrast, area_fraction, components: ``(N,)`` as table pseudo_labels has
    them.
    """

    boxes: FloatArray
    score: FloatArray
    contrast: FloatArray
    area_fraction: FloatArray
    components: FloatArray


def agreements(boxes: FloatArray) -> FloatArray:
    """IoU ``(S, S, N)`` of the boxes ``(S, N, 4)`` of every two of S sources; NaN where one of them has no box."""
    pairs = aligned_iou(boxes[:, None], boxes[None])
    missing: BoolArray = np.asarray(np.isnan(boxes).any(axis=-1))
    return np.where(missing[:, None] | missing[None], np.nan, pairs)


def ranks(values: FloatArray, labels: IntArray) -> FloatArray:
    """Rank ``(N,)`` in [0, 1]: share of the other images of the class with a smaller value, equal values counted half.

    values: ``(N,)``; NaN stays NaN and is not counted. labels: ``(N,)``. An image alone in its class has 0.5.
    """
    result = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.lexsort((values[known], labels[known]))]
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        _, place, counts = np.unique(values[members], return_inverse=True, return_counts=True)
        below = np.cumsum(counts) - counts
        others = max(len(members) - 1, 1)
        result[members] = (below + (counts - 1) / 2)[place] / others if len(members) > 1 else 0.5
    return result


def signals_of(
    source: int,
    found: Found,
    pairs: FloatArray,
    mask_pairs: FloatArray,
    sizes: FloatArray,
    labels: IntArray,
    confidence: FloatArray,
) -> Mapping[str, FloatArray]:
    """The `SIGNALS` ``(N,)`` of one source's boxes, NaN where unknown.

    source: its index among the S sources. pairs, mask_pairs: ``(S, S, N)`` IoU of best boxes, and of masks. sizes:
    ``(N, 2)`` width and height of the images. labels: ``(N,)`` classes. confidence: ``(N,)`` probability that the
    classifier gives to the label.

    border: share of the image's four sides that the box touches. area: share of the image in the box. aspect: log(width
    / height). fill: area of the mask by area of the box.
    """
    others = [place for place in range(len(pairs)) if place != source]
    agreement = _mean(pairs[source, others])
    least = _least(pairs[source, others])
    width, height = sizes[:, 0], sizes[:, 1]
    share = area(found.boxes) / (width * height)
    touches = np.sum(found.boxes[:, :2] <= 0.5, axis=1) + np.sum(found.boxes[:, 2:] >= sizes - 0.5, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        aspect = np.where((sides > 0).all(axis=1), np.log(sides[:, 0] / sides[:, 1]), np.nan)
    missing = np.isnan(found.boxes).any(axis=1)
    return {
        "agreement": agreement,
        "agreement_least": least,
        "mask_agreement": _mean(mask_pairs[source, others]),
        "agreement_rank": ranks(agreement, labels),
        "score": found.score,
        "score_rank": ranks(found.score, labels),
        "contrast": found.contrast,
        "contrast_rank": ranks(found.contrast, labels),
        "border": np.where(missing, np.nan, touches / 4),
        "area": np.where(missing, np.nan, share),
        "area_rank": ranks(np.where(missing, np.nan, share), labels),
        "aspect": aspect,
        "fill": np.where(missing, np.nan, ratio(found.area_fraction, share)),
        "components": found.components,
        "confidence": confidence,
    }


def _mean(values: FloatArray) -> FloatArray:
    """Mean ``(N,)`` over the first axis without NaN; NaN where all are."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _least(values: FloatArray) -> FloatArray:
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    known = ~np.isnan(values)
    return np.where(known.any(axis=0), np.where(known, values, np.inf).min(axis=0), np.nan)
