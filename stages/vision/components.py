"""Connected components of masks: 8-connected, largest first, ties in raster order."""

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Components", "components", "mask_extent"]


@dataclass(frozen=True)
class Components:
    """The components of one mask, largest first; equal sizes in the raster order of their first pixels.

    labels: ``(H, W)`` int32 as the labelling left them; component ``i`` is where ``labels == ids[i]``.
    ids: ``(N,)`` int64. areas: ``(N,)`` int64, pixels.
    """

    labels: np.ndarray
    ids: np.ndarray
    areas: np.ndarray

    def __len__(self) -> int:
        """The number of components."""
        return len(self.ids)

    def mask(self, index: int) -> np.ndarray:
        """The ``(H, W)`` bool mask of one component."""
        return self.labels == self.ids[index]

    def box(self, index: int) -> np.ndarray:
        """The extent of one component, ``(4,)`` float32, half-open ``x0, y0, x1, y1``."""
        return mask_extent(self.mask(index))


def components(mask: np.ndarray, min_area: int = 1) -> Components:
    """Find the 8-connected components of a ``(H, W)`` bool mask that have at least ``min_area`` pixels.

    Only labels come from OpenCV: its statistics include unused centroids and take several times as long as the labels.
    Its labels follow blocks of 2x2 pixels, so their order is not the raster order.
    """
    count, labels = cv2.connectedComponents(np.ascontiguousarray(mask, dtype=np.uint8), connectivity=8)
    flat = labels.ravel().astype(np.int32, copy=False)
    areas = np.bincount(flat, minlength=count)
    ids = 1 + np.flatnonzero(areas[1:] >= min_area)
    if len(ids) > 1:
        pixels = np.flatnonzero(mask)
        starts = np.full(count, labels.size)
        np.minimum.at(starts, flat[pixels], pixels)
        ids = ids[np.lexsort((starts[ids], -areas[ids]))]
    return Components(labels=labels, ids=ids, areas=areas[ids])


def mask_extent(mask: np.ndarray) -> np.ndarray:
    """The tight ``(4,)`` box of a ``(height, width)`` bool mask, float32; zeros when the mask is empty."""
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return np.array([left, top, left + width, top + height], dtype=np.float32)
