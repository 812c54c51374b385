"""Accuracy by class and by object size, and the paired test of two methods: what one mean over all images hides."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from stages.evaluate.bootstrap import mean_interval, paired_difference
from stages.evaluate.gather import Truth
from stages.evaluate.iou import area
from stages.evaluate.metrics import MetricKey, PerImage
from stages.evaluate.ragged import BoolArray, IntArray
from stages.evaluate.rows import Subject

SIZE_EDGES = (0.1, 0.3, 0.6)
SIZE_NAMES = ("below 10 %", "10 to 30 %", "30 to 60 %", "60 % and more")

Groups = Mapping[str, BoolArray]


def by_class(labels: IntArray, names: Mapping[int, str]) -> Groups:
    """Images (N,) of each class, by its name, in the order of labels."""
    return {names[int(label)]: labels == label for label in np.unique(labels)}


def by_size(truth: Truth) -> Groups:
    """Images (N,) by the share of the image that their largest ground-truth box covers; empty ranges are left out."""
    shares = np.zeros(truth.boxes.images)
    np.maximum.at(shares, truth.boxes.owner, area(truth.boxes.boxes))
    places = np.digitize(shares / truth.sizes.prod(axis=1), SIZE_EDGES)
    groups = {name: places == place for place, name in enumerate(SIZE_NAMES)}
    return {name: members for name, members in groups.items() if members.any()}


def group_rows(
    subject: Subject, per_image: PerImage, protocol: str, by: str, groups: Groups
) -> Iterator[dict[str, Any]]:
    """A row for each metric and group, with its 95 % bootstrap interval."""
    for key, vector in per_image.items():
        for name, members in groups.items():
            interval = mean_interval(vector[members], seed=0)
            yield {
                "method": subject.method,
                "source": subject.source,
                "metric": key.metric,
                "iou": key.iou,
                "protocol": protocol,
                "by": by,
                "group": name,
                "value": interval.value,
                "n": int(members.sum()),
                "ci_low": interval.low,
                "ci_high": interval.high,
            }


def comparison_rows(methods: Sequence[tuple[str, PerImage]], protocol: str) -> Iterator[dict[str, Any]]:
    """The paired test of every two methods (source, vectors over the same images), metric by metric."""
    for (first, one), (second, other) in combinations(methods, 2):
        for key in sorted(one.keys() & other.keys()):
            yield {"protocol": protocol, "first": first, "second": second, **_paired(key, one, other)}


def _paired(key: MetricKey, one: PerImage, other: PerImage) -> dict[str, Any]:
    interval = paired_difference(one[key], other[key], seed=0)
    return {
        "metric": key.metric,
        "iou": key.iou,
        "difference": interval.value,
        "n": len(one[key]),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_value": interval.p_value,
    }
