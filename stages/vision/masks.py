"""Masks and their COCO run-length encoding (RLE)."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from pycocotools import mask as coco

__all__ = ["Rle", "area", "decode", "encode", "iou_of_unions"]

_OFFSET, _DIGIT, _MORE, _SIGN, _BITS, _DIGITS = 48, 0x1F, 0x20, 0x10, 5, 6
"""Encoding of COCO's run lengths as text: each letter holds five bits of a number, low bits first, and a bit that says
whether more letters follow; the top bit of the last letter is the sign. From the fourth run on, the number is the
difference to the run before the last."""


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
    """Decode to a ``(height, width)`` bool mask.

    Raises: ValueError for invalid runs, or runs that do not fill the mask: pycocotools would return uninitialized
    memory.
    """
    height, width = rle["size"]
    if min(height, width) < 0 or _pixels(rle["counts"]) != height * width:
        raise ValueError(f"no mask of {width} x {height} pixels: its run lengths do not add up to that")
    return coco.decode(_for_coco(rle)).astype(bool)


def area(rle: Rle) -> int:
    """Count the mask's pixels without decoding it."""
    return int(coco.area(_for_coco(rle)))


def iou_of_unions(some: Sequence[Rle], others: Sequence[Rle]) -> float:
    """IoU of the union of some masks with that of others, without decoding them; 0 where both are empty.

    Raises: ValueError without masks on a side, and for masks of different sizes.
    """
    if not some or not others or len({tuple(rle["size"]) for rle in (*some, *others)}) > 1:
        raise ValueError("masks of one size are needed on both sides")
    one, other = (coco.merge([_for_coco(rle) for rle in rles]) for rles in (some, others))
    return float(coco.iou([one], [other], [False])[0, 0])


def _pixels(counts: str) -> int:
    """The sum of all runs; -1 where the text is no list of runs, or one is negative."""
    letters = np.frombuffer(counts.encode("latin-1", "replace"), np.uint8).astype(np.int64) - _OFFSET
    lasts = np.flatnonzero(letters & _MORE == 0)
    if not len(letters) or letters.min() < 0 or letters.max() > _DIGIT + _MORE or letters[-1] & _MORE:
        return -1
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    place = np.arange(len(letters)) - np.repeat(firsts, lasts - firsts + 1)
    if place.max() >= _DIGITS:
        return -1
    runs = np.add.reduceat((letters & _DIGIT) << (_BITS * place), firsts)
    runs -= np.where(letters[lasts] & _SIGN, 1 << (_BITS * (place[lasts] + 1)), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return int(runs.sum()) if runs.min() >= 0 else -1


def _for_coco(rle: Rle) -> dict[str, object]:
    return {"size": list(rle["size"]), "counts": rle["counts"].encode("ascii")}
