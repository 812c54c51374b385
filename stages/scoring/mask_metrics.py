"""Pixel metrics against ground-truth masks: PxAP with ignore regions, and mask IoU."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stages.scoring.cuts.quantized import Uint8Array
from stages.scoring.ragged import BoolArray, FloatArray, IntArray

GREY = 128
"""Mask pixels above this grey value are foreground; for PxAP all that are not black (wsolevaluation)."""

MASK_SIDE = 224
INTERVAL = 0.001


def evaluation_masks(
    instances: Iterable[npt.ArrayLike], ignored: Iterable[npt.ArrayLike] = (), side: int = MASK_SIDE
) -> tuple[BoolArray, BoolArray]:
    """Foreground and ignore mask (side, side) bool of one image, as wsolevaluation builds them.

    ``instances``: masks (H, W), non-zero inside, at least one; each is resized to side x side with OpenCV's nearest
    rule and their union is the foreground. ``ignored`` likewise, minus the foreground.
    """
    resized = [_resize_nearest(mask, side) for mask in instances]
    if not resized:
        raise ValueError("an image needs at least one instance mask")
    foreground = np.logical_or.reduce(resized)
    left_out = np.zeros_like(foreground)
    for region in ignored:
        left_out |= _resize_nearest(region, side)
    return foreground, left_out & ~foreground


@dataclass(frozen=True)
class MaskTruth:
    """The ground-truth masks of an image.

    instances: grey ``(h, w)`` uint8, each of its own size, at least one. ignored: likewise, of regions that are not
    scored.
    """

    instances: Sequence[Uint8Array]
    ignored: Sequence[Uint8Array] = ()

    def whole(self, height: int, width: int) -> BoolArray:
        """The union of all instances, ``(height, width)`` bool."""
        resized = [
            cv2.resize((grey > GREY).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            for grey in self.instances
        ]
        return np.logical_or.reduce([mask > 0 for mask in resized])


def _resize_nearest(mask: npt.ArrayLike, side: int) -> BoolArray:
    binary = (np.asarray(mask) != 0).astype(np.uint8)
    return cv2.resize(binary, (side, side), interpolation=cv2.INTER_NEAREST).astype(bool)


@dataclass(frozen=True)
class PixelHistogram:
    """Pixels by score bin over a whole data set: ``positive`` and ``negative`` (bins,) int64, ascending.

    Bins are [0, i), [i, 2i), ... up to 1, then [1, 2) and [2, 3), i the interval; their edges are float64 ``arange``
    values, which matters for scores on an edge.
    """

    interval: float
    positive: IntArray
    negative: IntArray

    def __add__(self, other: "PixelHistogram") -> "PixelHistogram":
        """Merge two disjoint sets of images; raises ValueError when the intervals differ."""
        if self.interval != other.interval:
            raise ValueError("histograms with different intervals cannot be merged")
        return PixelHistogram(self.interval, self.positive + other.positive, self.negative + other.negative)

    def precision_recall(self) -> tuple[FloatArray, FloatArray]:
        """Precision (NaN where nothing is predicted) and recall, (bins,) float64, from the highest bin down.

        Raises ValueError when no pixel is foreground.
        """
        true_positive, false_positive = np.cumsum(self.positive[::-1]), np.cumsum(self.negative[::-1])
        if true_positive[-1] == 0:
            raise ValueError("PxAP is undefined: no ground-truth mask has a foreground pixel")
        predicted = true_positive + false_positive
        precision = np.where(predicted > 0, true_positive / np.maximum(predicted, 1), np.nan)
        return precision, true_positive / true_positive[-1]

    def pxap(self) -> float:
        """Pixel average precision in percent; raises ValueError when no pixel is foreground."""
        precision, recall = self.precision_recall()
        steps = np.diff(recall, prepend=0.0)
        predicted = ~np.isnan(precision)
        return 100.0 * float(np.sum(precision[predicted] * steps[predicted]))


def bin_edges(interval: float) -> FloatArray:
    """Edges (B,) of the score bins: 0, i, 2i, ... below 1, then 1, 2 and 3."""
    return np.append(np.arange(0.0, 1.0, interval), [1.0, 2.0, 3.0])


def pixel_histogram(
    score_map: npt.ArrayLike, foreground: BoolArray, ignore: BoolArray | None = None, interval: float = INTERVAL
) -> PixelHistogram:
    """Histogram of one score map (H, W) in [0, 1]; ignored pixels are in neither column.

    ``foreground`` and ``ignore`` (H, W) bool. Raises ValueError for a NaN, a value outside [0, 1] or unequal shapes.
    """
    scores = np.asarray(score_map, dtype=np.float64)
    if scores.shape != foreground.shape:
        raise ValueError(f"score map {scores.shape} and mask {foreground.shape} differ in shape")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("score map has a NaN or a value outside [0, 1]")
    edges = bin_edges(interval)
    bins = np.searchsorted(edges, scores, side="right") - 1
    background = ~foreground if ignore is None else ~(foreground | ignore)
    positive = np.bincount(bins[foreground], minlength=len(edges) - 1)
    return PixelHistogram(interval, positive, np.bincount(bins[background], minlength=len(edges) - 1))


def mask_iou(predicted: BoolArray, truth: BoolArray, ignore: BoolArray | None = None) -> float:
    """IoU of two masks (H, W) bool outside the ignored pixels; 0 when both are empty."""
    if ignore is not None:
        predicted, truth = predicted & ~ignore, truth & ~ignore
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 0.0
