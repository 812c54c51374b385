"""Masks and their COCO run-length encoding (RLE)."""

from typing import TypedDict

import numpy as np
from pycocotools import mask as coco

__all__ = ["Rle", "area", "decode", "encode"]


class Rle(TypedDict):
    """A compressed COCO mask: ``size`` is ``[height, width]``, ``counts`` is ASCII text fit for JSON."""

    size: list[int]
    counts: str


def encode(mask: np.ndarray) -> Rle:
    """Encode a ``(height, width)`` bool mask; raises ValueError for any other number of axes."""
    if mask.ndim != 2:
        raise ValueError(f"mask must be (height, width), got shape {mask.shape}")
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return Rle(size=[int(side) for side in encoded["size"]], counts=encoded["counts"].decode("ascii"))


def decode(rle: Rle) -> np.ndarray:
    """Decode to a ``(height, width)`` bool mask."""
    return coco.decode(_for_coco(rle)).astype(bool)


def area(rle: Rle) -> int:
    """Count the mask's pixels without decoding it."""
    return int(coco.area(_for_coco(rle)))


def _for_coco(rle: Rle) -> dict[str, object]:
    return {"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")}
