"""COCO segmentations as masks: polygons, and run-length codes of either form."""

from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco

from stages.vision.masks import Rle, decode

__all__ = ["Outline", "outline_mask"]

Outline = Sequence[Sequence[float]] | dict[str, Any]
"""Polygons, each x, y, x, y, ...; or a size and counts, as a list or compressed."""


def outline_mask(outline: Outline, height: int, width: int) -> Rle:
    """The compressed mask of a segmentation, of an image of this size.

    Raises: ValueError for one that is none, and for a run-length code of another size.
    """
    try:
        encoded = _encoded(outline, height, width)
        rle = Rle(size=[height, width], counts=encoded["counts"].decode("ascii"))
        decode(rle)
    except Exception as error:  # whatever pycocotools makes of someone else's file
        raise ValueError(f"no COCO segmentation: {' '.join(str(error).split())}") from error
    return rle


def _encoded(outline: Outline, height: int, width: int) -> dict[str, Any]:
    if not isinstance(outline, dict):
        parts: Any = coco.frPyObjects([[float(n) for n in part] for part in outline], height, width)
        return dict(coco.merge(parts))
    if list(outline["size"]) != [height, width]:
        raise ValueError(f"its size is {outline['size']}, not [{height}, {width}]")
    if isinstance(outline["counts"], list):
        return dict(coco.frPyObjects(outline, height, width))
    return {"size": [height, width], "counts": outline["counts"].encode("ascii")}
