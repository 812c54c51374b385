"""Boxes that another program found, by image, best first, with their masks where every one has one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stages.scoring.foreign.tables import BoxRows

__all__ = ["FoundBoxes", "ImageBoxes"]


class ImageBoxes(NamedTuple):
    """The boxes of one image, best first: ``(N, 4)`` float64 half-open pixels, with scores ``(N,)`` float64.

    outlines: COCO segmentations, one per box, or None. size: width and height of the image in the file, or None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    outlines: Sequence[Any] | None = None
    size: tuple[int, int] | None = None


class FoundBoxes(NamedTuple):
    """The boxes of all images: image id -> its boxes."""

    images: Mapping[str, ImageBoxes]

    @classmethod
    def of_rows(cls, rows: BoxRows) -> "FoundBoxes":
        """The boxes in the rows of a table. Raises: ValueError where they are not in pixels."""
        if len(rows.corners) and rows.corners.max() <= 1:
            raise ValueError("no corner is beyond 1: corners are pixels of the image, not fractions of it")
        places: dict[str, list[int]] = {}
        for place, image_id in enumerate(rows.ids):
            places.setdefault(image_id, []).append(place)
        return cls({image_id: _best_first(rows, np.array(own)) for image_id, own in places.items()})


def _best_first(rows: BoxRows, places: np.ndarray) -> ImageBoxes:
    order = places[np.argsort(-rows.scores[places], kind="stable")]
    return ImageBoxes(rows.corners[order], rows.scores[order])
