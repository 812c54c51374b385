"""Which images a page shows: a sample by hash, the lowest and the highest of a source, and some of each class."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.report.sources import Images, Judged
from stages.scoring.ragged import FloatArray

__all__ = ["EXTREMES", "ClassRow", "by_hash", "class_rows", "extremes"]

EXTREMES = 12
"""Number of images with the lowest values of a source, and with the highest."""

CLASS_ROWS, OF_A_CLASS = 40, 4
"""Number of classes with a row of their own, and of images in a row."""


@dataclass(frozen=True)
class ClassRow:
    """A class on the split. right, quality, flagged: percent, over its boxes; None where unknown."""

    label: int
    images: int
    right: float | None
    quality: float | None
    flagged: float | None
    shown: tuple[str, ...]


def by_hash(image_ids: Iterable[str], count: int) -> list[str]:
    """The `count` ids with the lowest sha256: a random sample that hardly changes when images are added."""
    return sorted(image_ids, key=lambda image_id: hashlib.sha256(image_id.encode()).digest())[:count]


def extremes(images: Images, values: FloatArray, count: int) -> tuple[list[str], list[str]]:
    """The `count` ids with the lowest values, lowest first, and with the highest, highest first; ties by id.

    values: ``(N,)``, NaN where unknown.
    """
    known = [place for place in np.argsort(values, kind="stable") if np.isfinite(values[place])]
    lowest = sorted(known, key=lambda place: (values[place], images.ids[place]))[:count]
    highest = sorted(known, key=lambda place: (-values[place], images.ids[place]))[:count]
    return [images.ids[place] for place in lowest], [images.ids[place] for place in highest]


def class_rows(images: Images, source: Judged | None) -> tuple[ClassRow, ...]:
    """One row a class, by rising share of right boxes, then by rising quality; at most `CLASS_ROWS`."""
    rows = []
    for label in np.unique(images.labels):
        own = np.flatnonzero(images.labels == label).tolist()
        right, quality, flagged = (None, None, None) if source is None else _shares(source, own)
        shown = by_hash((images.ids[place] for place in own), OF_A_CLASS)
        rows.append(ClassRow(int(label), len(own), right, quality, flagged, tuple(shown)))

    def order(row: ClassRow) -> tuple[float, float, int]:
        right, quality = (math.inf if value is None else value for value in (row.right, row.quality))
        return right, quality, row.label

    return tuple(sorted(rows, key=order)[:CLASS_ROWS])


def _shares(source: Judged, places: Sequence[int]) -> tuple[float | None, float | None, float | None]:
    """Percent of right boxes, mean quality in percent, and percent of flagged boxes, over some images."""
    given = [place for place in places if source.given[place]]
    if not given:
        return None, None, None
    kinds, quality = source.kind[given], source.quality[given]
    known = kinds[kinds >= 0]
    return (
        100 * float((known == 0).mean()) if len(known) else None,
        100 * float(np.nanmean(quality)) if np.isfinite(quality).any() else None,
        100 * sum(source.flags[place] is not None for place in given) / len(given),
    )
