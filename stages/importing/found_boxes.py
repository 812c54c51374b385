"""Boxes that another program found, by image, best first, with their masks where every one has one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stages.scoring.foreign.tables import BoxRows

__all__ = ["FoundBoxes", "ImageBoxes"]


class ImageBoxes(NamedTuple):
    """What was found in one image, best first. boxes (N, 4): half-open pixels. scores (N,).

    outlines: COCO segmentations, one a box; None without. size: width and height of the image as the file has them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    outlines: Sequence[Any] | None = None
    size: tuple[int, int] | None = None


class FoundBoxes(NamedTuple):
    """What was found in each image: image id -> its boxes."""

    images: Mapping[str, ImageBoxes]

    @classmethod
    def of_rows(cls, rows: BoxRows) -> "FoundBoxes":
        """Of the rows of a table. Raises: ValueError where the boxes are no pixels."""
        if len(rows.corners) and rows.corners.max() <= 1:
            raise ValueError("no corner is beyond 1: corners are pixels of the image, not fractions of it")
        places: dict[str, list[int]] = {}
        for place, image_id in enumerate(rows.ids):
            places.setdefault(image_id, []).append(place)
        return cls({image_id: _best_first(rows, np.array(own)) for image_id, own in places.items()})


def _best_first(rows: BoxRows, places: np.ndarray) -> ImageBoxes:
    order = places[np.argsort(-rows.scores[places], kind="stable")]
    return ImageBoxes(rows.corners[order], rows.scores[order])
