"""Ground-truth boxes of many images, any number for each image, in one array."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Uint8Array = npt.NDArray[np.uint8]


class RaggedBoxes(NamedTuple):
    """Boxes of N images, concatenated in image order.

    ``boxes`` (M, 4) float64 x0, y0, x1, y1 half-open; ``offsets`` (N + 1,) int64: the boxes of image i are
    ``boxes[offsets[i]:offsets[i + 1]]``; an image may have none.
    """

    boxes: FloatArray
    offsets: IntArray

    @property
    def counts(self) -> IntArray:
        """Number of boxes of each image, (N,) int64."""
        return np.diff(self.offsets)

    @property
    def images(self) -> int:
        """Number of images, those without a box included."""
        return len(self.offsets) - 1

    @property
    def owner(self) -> IntArray:
        """Image index of each box, (M,) int64."""
        return np.repeat(np.arange(self.images), self.counts)

    def of_images(self, start: int, stop: int) -> "RaggedBoxes":
        """The images from ``start`` up to, not including, ``stop``."""
        first, last = self.offsets[start], self.offsets[stop]
        return RaggedBoxes(self.boxes[first:last], self.offsets[start : stop + 1] - first)

    def of(self, image: int) -> FloatArray:
        """Boxes of one image, (G, 4) float64."""
        return self.boxes[self.offsets[image] : self.offsets[image + 1]]


def from_counts(boxes: npt.ArrayLike, counts: npt.ArrayLike) -> RaggedBoxes:
    """Join concatenated boxes (M, 4) with the number of boxes of each image (N,).

    Raises ValueError when the counts do not add up to M, or a box is not finite or has x1 < x0 or y1 < y0.
    """
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    number = np.asarray(counts, dtype=np.int64)
    if number.sum() != len(array):
        raise ValueError(f"counts add up to {number.sum()}, but there are {len(array)} boxes")
    bad = ~np.isfinite(array).all(axis=1) | (array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"box {row} {array[row].tolist()} is not finite or has x1 < x0 or y1 < y0")
    return RaggedBoxes(array, np.concatenate([[0], np.cumsum(number)]).astype(np.int64))


def from_lists(boxes: Sequence[npt.ArrayLike]) -> RaggedBoxes:
    """Join one (G_i, 4) array or list for each image; an empty list means no box."""
    arrays = [np.asarray(item, dtype=np.float64).reshape(-1, 4) for item in boxes]
    joined = np.concatenate(arrays) if arrays else np.zeros((0, 4))
    return from_counts(joined, [len(item) for item in arrays])
