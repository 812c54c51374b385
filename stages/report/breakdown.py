"""Where methods differ: GT-known by object size, the classes that are hardest, and the paired tests."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.types import TRIVIAL
from stages.report.names import Names

__all__ = ["Breakdown", "Line", "Pair", "Part", "breakdown"]

Row = Mapping[str, Any]

METRIC = "gt_known"
FITTING = "gt_delta"
CLASSES = 8


@dataclass(frozen=True)
class Part:
    """The accuracy of one group of images, in percent with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float
    n: int


@dataclass(frozen=True)
class Line:
    """One method over all groups of a table. parts: None for a group without a number."""

    name: str
    trivial: bool
    parts: tuple[Part | None, ...]


@dataclass(frozen=True)
class Pair:
    """The paired tests of the boxes of two stages: GT-known at IoU 0.5, then `gt_delta` at 0.7; None without a test.

    first, second: names of the stages. tests: rows of the table `comparisons`, differences in points.
    """

    first: str
    second: str
    tests: tuple[Row | None, ...]


@dataclass(frozen=True)
class Breakdown:
    """sizes, classes: names of the groups and their numbers of images. by_size, by_class: one line a method."""

    sizes: tuple[tuple[str, int], ...]
    by_size: tuple[Line, ...]
    classes: tuple[tuple[str, int], ...]
    by_class: tuple[Line, ...]
    pairs: tuple[Pair, ...]


def breakdown(groups: Sequence[Row], comparisons: Iterable[Row], names: Names) -> Breakdown:
    """The breakdown of one split's rows; of the classes the `CLASSES` hardest, by the mean over methods, are kept."""
    known = [row for row in groups if row["metric"] == METRIC]
    sizes, by_size = _lines([row for row in known if row["by"] == "size"], names)
    of_class = [row for row in known if row["by"] == "class"]
    hardest = _hardest(of_class)
    classes, by_class = _lines([row for row in of_class if row["group"] in hardest], names)
    return Breakdown(sizes, by_size, classes, by_class, tuple(_pairs(comparisons)))


def _pairs(comparisons: Iterable[Row]) -> Iterator[Pair]:
    """Pairs in the order of the rows; None for a test that the run does not have."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in comparisons:
        if row["metric"] in (METRIC, FITTING):
            found.setdefault((row["first"], row["second"]), {})[row["metric"]] = row
    for (first, second), tests in found.items():
        yield Pair(first, second, (tests.get(METRIC), tests.get(FITTING)))


def _hardest(rows: Sequence[Row]) -> set[str]:
    values: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] not in TRIVIAL:
            values.setdefault(row["group"], []).append(row["value"])
    means = {group: sum(own) / len(own) for group, own in values.items()}
    return set(sorted(means, key=lambda group: (means[group], group))[:CLASSES])


def _lines(rows: Sequence[Row], names: Names) -> tuple[tuple[tuple[str, int], ...], tuple[Line, ...]]:
    """The groups in the order of the rows, and a line a method, trivial predictors last."""
    groups = {row["group"]: row["n"] for row in rows}
    found: dict[tuple[str, str | None], dict[str, Part]] = {}
    for row in rows:
        part = Part(row["value"], row["ci_low"], row["ci_high"], row["n"])
        found.setdefault((row["method"], row["source"]), {})[row["group"]] = part
    lines = [
        Line(names(method, source or method), method in TRIVIAL, tuple(own.get(group) for group in groups))
        for (method, source), own in found.items()
    ]
    return tuple(groups.items()), tuple(sorted(lines, key=lambda line: line.trivial))
