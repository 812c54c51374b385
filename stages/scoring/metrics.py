"""Localisation accuracy as per-image correctness, which the bootstrap needs (:mod:`stages.scoring.bootstrap`)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.scoring.protocols import correct
from stages.scoring.ragged import BoolArray, FloatArray, IntArray

GT_KNOWN_IOU = 0.5
FITTING_IOU = 0.7
GT_DELTA_IOUS = (0.3, 0.5, 0.7, 0.8, 0.9)


class MetricKey(NamedTuple):
    """A metric and its IoU level; None for a metric without boxes."""

    metric: str
    iou: float | None


PerImage = Mapping[MetricKey, BoolArray]


def top_k(labels: IntArray, ranked: IntArray, k: int) -> BoolArray:
    """Whether the true label (N,) is among the first k of the predicted classes (N, K), best first: (N,) bool."""
    return (ranked[:, :k] == labels[:, None]).any(axis=1)


def localisation(
    best_iou: FloatArray,
    labels: IntArray | None = None,
    ranked: IntArray | None = None,
    levels: Sequence[float] = (GT_KNOWN_IOU,),
    strict: bool = False,
) -> PerImage:
    """Per-image correctness of one box an image, at every IoU level.

    gt_known: best IoU passes; top1_loc and top5_loc: also the true label is ranked first, or among the first five (one
    box an image suffices: only the box of the true label can be correct); cls_top1, cls_top5: classification alone.
    The last four need ``labels`` (N,) and ``ranked`` (N, >= 5) class indices, best first. ``best_iou`` (N,).
    ``strict``: IoU > level.
    """
    result: dict[MetricKey, BoolArray] = {}
    for level in levels:
        result[MetricKey("gt_known", level)] = correct(best_iou, level, strict)
    if labels is None or ranked is None:
        return result
    for k in (1, 5):
        classified = top_k(labels, ranked, k)
        result[MetricKey(f"cls_top{k}", None)] = classified
        for level in levels:
            result[MetricKey(f"top{k}_loc", level)] = classified & result[MetricKey("gt_known", level)]
    return result


def gt_delta(best_iou: FloatArray, levels: Sequence[float] = GT_DELTA_IOUS, strict: bool = False) -> PerImage:
    """GT(delta) of LCAR: correctness (N,) of one box an image at each IoU level, from the best IoUs (N,)."""
    return {MetricKey("gt_delta", level): correct(best_iou, level, strict) for level in levels}
