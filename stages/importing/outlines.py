"""COCO segmentations as masks: polygons, and run-length codes of either form."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from stages.vision.masks import Rle, decode

__all__ = ["Outline", "outline_mask"]

Outline = Sequence[Sequence[float]] | dict[str, Any]
"""Polygons, each x, y, x, y, ...; or a run-length code: size and counts, as a list or compressed."""

_NUMBERS, _FAR = 6, 2
"""Numbers in a polygon of three corners; and its largest coordinate, in image sides: pycocotools walks all of it."""


def outline_mask(outline: Outline, height: int, width: int) -> Rle:
    """The compressed mask of a segmentation in an image of ``height`` x ``width`` pixels.

    Raises: ValueError for an invalid segmentation, and for a run-length code of another size.
    """
    try:
        encoded = _encoded(outline, height, width)
        rle = Rle(size=[height, width], counts=encoded["counts"].decode("ascii"))
        decode(rle)
    except Exception as error:  # a bad file makes pycocotools raise anything
        raise ValueError(f"no COCO segmentation: {' '.join(str(error).split())}") from error
    return rle


def _encoded(outline: Outline, height: int, width: int) -> dict[str, Any]:
    if not isinstance(outline, dict):
        corners = [np.array(part, np.float64) for part in outline if len(part) >= _NUMBERS]
        if not corners or not all((np.abs(part) <= _FAR * max(height, width)).all() for part in corners):
            raise ValueError("a polygon has three corners or more, near its image")
        return dict(coco.merge(coco.frPyObjects([part.tolist() for part in corners], height, width)))
    if list(outline["size"]) != [height, width]:
        raise ValueError(f"its size is {outline['size']}, not [{height}, {width}]")
    if isinstance(outline["counts"], list):
        return dict(coco.frPyObjects(outline, height, width))
    return {"size": [height, width], "counts": outline["counts"].encode("ascii")}
