"""Which source an image's boxes are taken from, and the weighted mean of several."""

from collections.abc import Sequence

import numpy as np

from stages.scoring.ragged import BoolArray, FloatArray, IntArray

__all__ = ["best_source", "fused"]


def best_source(quality: FloatArray, has: BoolArray, flagged: BoolArray) -> IntArray:
    """The place of the source ``(N,)`` of the highest quality among the S that have an image.

    quality: ``(S, N)``, NaN where it is not known, which is below all that are. has: ``(S, N)`` bool, each image held
    by one source at least. flagged: ``(S, N)``, fallbacks and what carries no information, below all others. Of equal
    ones, or where none is known, the first.
    """
    known = np.where(np.isnan(quality), -1.0, quality)
    ranked = np.where(has, known - 3.0 * flagged, -9.0)
    return np.asarray(ranked.argmax(axis=0), dtype=np.int64)


def fused(boxes: Sequence[FloatArray], weights: Sequence[float], size: tuple[int, int], iou: float) -> FloatArray:
    """The mean box ``(4,)``, pixels, of the strongest group of boxes ``(4,)`` that overlap by more than an IoU.

    Weighted boxes fusion (Solovyev et al., 2021), one box a source. weights: of each, at least 0. size: width and
    height of the image.
    """
    from ensemble_boxes import weighted_boxes_fusion

    scale = np.array([*size, *size], dtype=np.float64)
    own = [[np.clip(box / scale, 0, 1).tolist()] for box in boxes]
    scores = [[max(float(weight), 1e-6)] for weight in weights]
    found, _, _ = weighted_boxes_fusion(own, scores, [[0]] * len(own), iou_thr=iou, skip_box_thr=0.0)
    return np.asarray(found[0], dtype=np.float64) * scale
