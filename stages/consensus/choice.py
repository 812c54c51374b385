"""Choice of the source of an image's boxes, and the weighted mean of several boxes."""

from collections.abc import Sequence

import numpy as np

from stages.scoring.ragged import BoolArray, FloatArray, IntArray

__all__ = ["best_source", "fused"]


def best_source(quality: FloatArray, has: BoolArray, flagged: BoolArray) -> IntArray:
    """Index ``(N,)`` int64 of the source with the highest quality among those of S sources that have the image.

    quality: ``(S, N)``; NaN (unknown) ranks below every known quality. has: ``(S, N)`` bool, at least one source for
    each image. flagged: ``(S, N)`` bool; fallbacks and rows without information rank below all others. Ties go to the
    first source.
    """
    known = np.where(np.isnan(quality), -1.0, quality)
    ranked = np.where(has, known - 3.0 * flagged, -9.0)
    return np.asarray(ranked.argmax(axis=0), dtype=np.int64)


def fused(boxes: Sequence[FloatArray], weights: Sequence[float], size: tuple[int, int], iou: float) -> FloatArray:
    """The weighted mean box ``(4,)``, pixels, of the strongest cluster of boxes ``(4,)``.

    Weighted boxes fusion (Solovyev et al., 2021), one box a source. weights: of the boxes, at least 0. size: width and
    height of the image. iou: boxes of a larger IoU form a cluster.
    """
    from ensemble_boxes import weighted_boxes_fusion

    scale = np.array([*size, *size], dtype=np.float64)
    own = [[np.clip(box / scale, 0, 1).tolist()] for box in boxes]
    scores = [[max(float(weight), 1e-6)] for weight in weights]
    found, _, _ = weighted_boxes_fusion(own, scores, [[0]] * len(own), iou_thr=iou, skip_box_thr=0.0)
    return np.asarray(found[0], dtype=np.float64) * scale
