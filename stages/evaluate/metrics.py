"""Localisation accuracy from per-image correctness, as integer counts that merge.

Counts of shards are added with ``+``: any split of the images and any order of merging gives the same integers.
The per-image vectors themselves serve the bootstrap (:mod:`stages.evaluate.bootstrap`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stages.evaluate.protocols import correct
from stages.evaluate.ragged import BoolArray, FloatArray, IntArray

GT_KNOWN_IOU = 0.5
GT_DELTA_IOUS = (0.3, 0.5, 0.7, 0.8, 0.9)


class MetricKey(NamedTuple):
    """What a number measures: the metric and its IoU level; None for a metric without boxes."""

    metric: str
    iou: float | None


PerImage = Mapping[MetricKey, BoolArray]


@dataclass(frozen=True)
class Counts:
    """Correct images by metric: ``images`` seen, and ``hits`` of them correct."""

    images: int
    hits: Mapping[MetricKey, int]

    def __add__(self, other: "Counts") -> "Counts":
        """Merge two disjoint sets of images; raises ValueError when their metrics differ."""
        if self.hits.keys() != other.hits.keys():
            raise ValueError("counts of different metrics cannot be merged")
        return Counts(self.images + other.images, {key: hit + other.hits[key] for key, hit in self.hits.items()})

    def percent(self, key: MetricKey) -> float:
        """Value in percent, unrounded; NaN without images."""
        return 100.0 * self.hits[key] / self.images if self.images else float("nan")


def top_k(labels: IntArray, ranked: IntArray, k: int) -> BoolArray:
    """Whether the true label (N,) is among the first k of the predicted classes (N, K), best first."""
    return (ranked[:, :k] == labels[:, None]).any(axis=1)


def localisation(
    best_iou: FloatArray,
    labels: IntArray | None = None,
    ranked: IntArray | None = None,
    levels: Sequence[float] = (GT_KNOWN_IOU,),
    strict: bool = False,
) -> PerImage:
    """Per-image correctness of one box an image, at every IoU level.

    gt_known: best IoU passes; top1_loc and top5_loc: and the true label is ranked first, or among the first five (one
    box an image suffices: only the box made for the true label can count); cls_top1, cls_top5: classification alone.
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
    """GT(delta) of LCAR: per-image correctness of the fixed pipeline's one box at each IoU level."""
    return {MetricKey("gt_delta", level): correct(best_iou, level, strict) for level in levels}


def count(per_image: PerImage) -> Counts:
    """Sum per-image correctness to counts; raises ValueError when the vectors differ in length."""
    lengths = {len(vector) for vector in per_image.values()}
    if len(lengths) != 1:
        raise ValueError(f"per-image vectors must have one length, got {sorted(lengths)}")
    return Counts(lengths.pop(), {key: int(vector.sum()) for key, vector in per_image.items()})
