"""Peak-IoU and Peak-T: the best IoU of a localization map with a mask over thresholds 0..255 (SPA, 4.1).

The definition leaves two choices open: one IoU of the pooled pixels or the mean of per-image IoUs, and a prediction
u >= t or u > t. All four are here; the default is pooled and u >= t.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from stages.scoring.ragged import BoolArray, FloatArray, IntArray, Uint8Array
from stages.vision.score_maps import min_max

Comparison = Literal["ge", "gt"]
Pooling = Literal["pooled", "per_image"]

LEVELS = 256
# Per-image IoUs are summed as integers of this unit, so that the order of merging never matters: the rounding of one
# IoU is below 1e-13, and a sum of half a million images still fits 64 bits.
FIXED_POINT = 1 << 43


class Peak(NamedTuple):
    """Peak-IoU in percent, and Peak-T, the first threshold that reaches it."""

    iou: float
    threshold: int


def localization_map(score_map: npt.ArrayLike, height: int, width: int) -> Uint8Array:
    """Localization map (height, width) uint8 of a score map (h, w): floor(255 * min-maxed map), enlarged bilinearly.

    A constant map, or one with a NaN, becomes zeros.
    """
    levels = (min_max(np.asarray(score_map)) * 255).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def overlap_counts(score_map: Uint8Array, mask: BoolArray, comparison: Comparison = "ge") -> tuple[IntArray, IntArray]:
    """Intersection and union pixels (256,) int64 of ``map >= t`` (or ``map > t``) with a mask, t = 0..255.

    ``score_map`` (H, W) uint8 and ``mask`` (H, W) bool. Raises ValueError when they differ in shape.
    """
    if score_map.shape != mask.shape:
        raise ValueError(f"score map {score_map.shape} and mask {mask.shape} differ in shape")
    inside = np.bincount(score_map[mask], minlength=LEVELS)
    predicted = _above(np.bincount(score_map.ravel(), minlength=LEVELS), comparison)
    shared = _above(inside, comparison)
    return shared, predicted + inside.sum() - shared


def _above(histogram: IntArray, comparison: Comparison) -> IntArray:
    """Pixels at or above (or above) each level."""
    at_least = np.cumsum(histogram[::-1])[::-1]
    return at_least if comparison == "ge" else at_least - histogram


@dataclass(frozen=True)
class PeakCounts:
    """Sums over images at thresholds 0..255: intersections, unions (256,) int64, and per-image IoUs in fixed point."""

    images: int
    shared: IntArray
    union: IntArray
    iou_sum: IntArray

    def __add__(self, other: "PeakCounts") -> "PeakCounts":
        """Merge two disjoint sets of images."""
        return PeakCounts(
            self.images + other.images,
            self.shared + other.shared,
            self.union + other.union,
            self.iou_sum + other.iou_sum,
        )

    def curve(self, pooling: Pooling = "pooled") -> FloatArray:
        """IoU (256,) in [0, 1] at each threshold; 0 where the union is empty; raises ValueError without images."""
        if not self.images:
            raise ValueError("Peak-IoU is undefined without images")
        return _quotient(self.shared, self.union) if pooling == "pooled" else self.iou_sum / FIXED_POINT / self.images

    def peak(self, pooling: Pooling = "pooled") -> Peak:
        """Peak-IoU in percent, and Peak-T."""
        curve = self.curve(pooling)
        threshold = int(np.argmax(curve))
        return Peak(100.0 * float(curve[threshold]), threshold)


def peak_counts(score_map: Uint8Array, mask: BoolArray, comparison: Comparison = "ge") -> PeakCounts:
    """Counts of one image, map and mask (H, W); see :func:`overlap_counts`."""
    shared, union = overlap_counts(score_map, mask, comparison)
    return PeakCounts(1, shared, union, np.rint(_quotient(shared, union) * FIXED_POINT).astype(np.int64))


def _quotient(shared: IntArray, union: IntArray) -> FloatArray:
    return np.where(union > 0, shared / np.maximum(union, 1), 0.0)
