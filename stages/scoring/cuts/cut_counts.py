"""Accuracy over thresholds: counts for each cut, MaxBoxAcc, MaxBoxAccV2, and the choice of a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.scoring.protocols import correct
from stages.scoring.ragged import BoolArray, FloatArray, IntArray

MAX_BOX_ACC_IOU = 0.5
MAX_BOX_ACC_V2_IOUS = (0.3, 0.5, 0.7)
CUT_THRESHOLDS = np.arange(255) / 255
"""Thresholds (255,) of maps whose maximum is 1: one for each cut."""
WSOL_THRESHOLDS = np.arange(0.0, 1.0, 0.001)
"""wsolevaluation's thresholds (1000,), as fractions of each map's own maximum."""


@dataclass(frozen=True)
class CutCounts:
    """Correct images at each IoU level and threshold: ``hits`` (levels, thresholds) int64 of ``images``."""

    images: int
    levels: tuple[float, ...]
    hits: IntArray

    def __add__(self, other: "CutCounts") -> "CutCounts":
        """Merge two disjoint sets of images; raises ValueError when levels or number of thresholds differ."""
        if self.levels != other.levels or self.hits.shape != other.hits.shape:
            raise ValueError("counts with different IoU levels or thresholds cannot be merged")
        return CutCounts(self.images + other.images, self.levels, self.hits + other.hits)

    @property
    def thresholds(self) -> FloatArray:
        """The thresholds that were counted, k / 255 or wsolevaluation's thousand, told apart by their number."""
        return WSOL_THRESHOLDS if self.hits.shape[1] == len(WSOL_THRESHOLDS) else CUT_THRESHOLDS

    def curve(self, iou: float) -> FloatArray:
        """Accuracy in percent at each threshold (thresholds,); NaN without images."""
        hits = self.hits[self._level(iou)]
        return 100.0 * hits / self.images if self.images else np.full(len(hits), np.nan)

    def best(self, iou: float) -> float:
        """Highest accuracy in percent over the thresholds, with one threshold for all images."""
        return float(self.curve(iou).max())

    def _level(self, iou: float) -> int:
        if iou not in self.levels:
            raise ValueError(f"IoU level {iou} was not counted, only {list(self.levels)}")
        return self.levels.index(iou)


def count_cuts(best_iou: FloatArray, levels: Sequence[float] = MAX_BOX_ACC_V2_IOUS, strict: bool = False) -> CutCounts:
    """Count the images whose best IoU (N, thresholds) float64 passes each level."""
    hits = np.stack([correct(best_iou, level, strict).sum(axis=0) for level in levels]).astype(np.int64)
    return CutCounts(len(best_iou), tuple(levels), hits)


def max_box_acc(largest: CutCounts, iou: float = MAX_BOX_ACC_IOU) -> float:
    """MaxBoxAcc in percent, from the counts of the largest contour."""
    return largest.best(iou)


def max_box_acc_v2(every: CutCounts) -> float:
    """MaxBoxAccV2 in percent, from the counts of all contours: the mean over levels, each at its own best threshold."""
    return float(np.mean([every.best(iou) for iou in every.levels]))


class Choice(NamedTuple):
    """A threshold, its position among all, and its accuracy in percent on the data it was chosen on."""

    position: int
    threshold: float
    value: float


def choose_threshold(counts: CutCounts, thresholds: FloatArray, iou: float = MAX_BOX_ACC_IOU) -> Choice:
    """Choose the best of the thresholds (S,) by the counts at one IoU level.

    Several thresholds are often equally good: the choice is the middle (the lower of two) of the longest run of
    neighbouring best ones, the first run of equals, so that it sits away from the edges where accuracy drops.
    Raises ValueError without images or with another number of thresholds.
    """
    curve = counts.curve(iou)
    if not counts.images or len(curve) != len(thresholds):
        raise ValueError(f"{len(thresholds)} thresholds for {len(curve)} counts of {counts.images} images")
    first, last = _longest_run(curve == curve.max())
    position = (first + last) // 2
    return Choice(position, float(thresholds[position]), float(curve[position]))


def _longest_run(flags: BoolArray) -> tuple[int, int]:
    """First and last index of the longest run of true values, the first of equals."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest]) - 1
