"""Accuracy by class and by object size, and the paired test of two methods."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TypedDict

import numpy as np

from stages.scoring.arrow_tables import Truth
from stages.scoring.bootstrap import mean_interval, paired_difference
from stages.scoring.iou import area
from stages.scoring.metric_rows import Subject
from stages.scoring.metrics import MetricKey, PerImage
from stages.scoring.ragged import BoolArray, IntArray

SIZE_EDGES = (0.1, 0.3, 0.6)
SIZE_NAMES = ("below 10 %", "10 to 30 %", "30 to 60 %", "60 % and more")

Groups = Mapping[str, BoolArray]


class GroupRow(TypedDict):
    """A row of table groups without its split; described column by column in schemas."""

    method: str
    source: str | None
    metric: str
    iou: float | None
    protocol: str
    by: str
    group: str
    value: float
    n: int
    ci_low: float
    ci_high: float


class ComparisonRow(TypedDict):
    """A row of table comparisons without its split; described column by column in schemas."""

    metric: str
    iou: float | None
    protocol: str
    first: str
    second: str
    difference: float
    n: int
    ci_low: float
    ci_high: float
    p_value: float | None


def by_class(labels: IntArray, names: Mapping[int, str]) -> Groups:
    """Members (N,) bool of each class, by class name, in the order of labels."""
    return {names[int(label)]: labels == label for label in np.unique(labels)}


def by_size(truth: Truth) -> Groups:
    """Members (N,) bool of each size range (share of the image in the largest true box); empty ranges are left out."""
    shares = np.zeros(truth.boxes.images)
    np.maximum.at(shares, truth.boxes.owner, area(truth.boxes.boxes))
    places = np.digitize(shares / truth.sizes.prod(axis=1), SIZE_EDGES)
    groups = {name: places == place for place, name in enumerate(SIZE_NAMES)}
    return {name: members for name, members in groups.items() if members.any()}


def group_rows(subject: Subject, per_image: PerImage, protocol: str, by: str, groups: Groups) -> Iterator[GroupRow]:
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


def comparison_rows(methods: Sequence[tuple[str, PerImage]], protocol: str) -> Iterator[ComparisonRow]:
    """The paired test of every two methods (source, vectors over the same images), metric by metric."""
    for (first, one), (second, other) in combinations(methods, 2):
        for key in sorted(one.keys() & other.keys()):
            yield _comparison(key, protocol, (first, one[key]), (second, other[key]))


def yardstick_rows(
    methods: Sequence[tuple[str, PerImage]], trivial: Sequence[tuple[str, PerImage]], protocol: str
) -> Iterator[ComparisonRow]:
    """The paired test of every method against the trivial predictor (name, vectors) that is best, metric by metric."""
    for source, vectors in methods:
        for key in sorted(vectors):
            rivals = [(name, reached[key]) for name, reached in trivial if key in reached]
            if rivals:
                best = max(rivals, key=lambda rival: float(np.mean(rival[1])))
                yield _comparison(key, protocol, (source, vectors[key]), best)


def _comparison(
    key: MetricKey, protocol: str, first: tuple[str, BoolArray], second: tuple[str, BoolArray]
) -> ComparisonRow:
    interval = paired_difference(first[1], second[1], seed=0)
    return {
        "metric": key.metric,
        "iou": key.iou,
        "protocol": protocol,
        "first": first[0],
        "second": second[0],
        "difference": interval.value,
        "n": len(first[1]),
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p_value": interval.p_value,
    }
