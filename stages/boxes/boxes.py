"""Score maps to pseudo boxes and masks: threshold, connected components, boxes. No forward pass."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.vision.box_rule import BoxRule
from stages.vision.boxes import scale, whole_image
from stages.vision.components import Components, components, mask_extent
from stages.vision.score_maps import enlarge, min_max

__all__ = ["EMPTY_MASK", "PseudoBoxes", "pseudo_boxes"]

EMPTY_MASK = "empty_mask"


@dataclass(frozen=True)
class PseudoBoxes:
    """Boxes and masks of one image.

    boxes: ``(N, 5)`` float32, ``x0, y0, x1, y1`` in pixels of the image and a score, largest component first; the score
    is the mean of the min-maxed map inside the box's mask. grid_masks: ``(N, h, w)`` bool, the same in the frame in
    which components were found. height, width: of the image. area_fraction: foreground of the kept masks / image.
    contrast: mean of the min-maxed map on that foreground minus outside, NaN where one of them is empty.
    n_components: kept components.
    flag: ``empty_mask`` when nothing was above the threshold and the box and mask are the whole image, else None.
    """

    boxes: np.ndarray
    grid_masks: np.ndarray
    height: int
    width: int
    area_fraction: float
    contrast: float
    n_components: int
    flag: str | None

    @cached_property
    def masks(self) -> np.ndarray:
        """``(N, height, width)`` bool, one for each box."""
        return _nearest(self.grid_masks, self.height, self.width)


def pseudo_boxes(score_map: np.ndarray, height: int, width: int, rule: BoxRule, threshold: float) -> PseudoBoxes:
    """Turn one score map into boxes and masks of an image of ``height`` x ``width`` pixels.

    score_map: ``(h, w)`` of any float type, covering the whole image. A constant map, or one with a NaN, is empty under
    a relative threshold. threshold: foreground is where the map is strictly greater.
    """
    values = np.asarray(score_map, dtype=np.float32)
    if rule.frame == "image":
        values = enlarge(values, height, width, rule.enlargement)
    normalised = min_max(values)
    foreground = (normalised if rule.kind == "relative" else values) > threshold
    found = components(foreground, min_area=rule.min_pixels(values.size))
    if not len(found):
        return _whole(normalised, height, width)
    masks = _select(found, rule)
    counts = np.count_nonzero(masks, axis=(1, 2))
    sums = np.array([normalised[mask].sum(dtype=np.float64) for mask in masks])
    grid_height, grid_width = values.shape
    extents = np.stack([mask_extent(mask) for mask in masks])
    pixels = scale(extents, (grid_width, grid_height), (width, height))
    return PseudoBoxes(
        boxes=np.column_stack([pixels, sums / counts]).astype(np.float32),
        grid_masks=masks,
        height=height,
        width=width,
        area_fraction=float(counts.sum() / values.size),
        contrast=_contrast(normalised, int(counts.sum()), float(sums.sum())),
        n_components=len(found),
        flag=None,
    )


def _select(found: Components, rule: BoxRule) -> np.ndarray:
    """Masks ``(N, H, W)`` in the frame of the components, which do not overlap."""
    if rule.components == "largest":
        return found.mask(0)[None]
    if rule.components == "all":
        return found.labels[None] == found.ids[:, None, None]
    return np.isin(found.labels, found.ids)[None]


def _nearest(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resample masks to the image: each pixel takes the cell in which its center lies."""
    grid_height, grid_width = masks.shape[1:]
    if (grid_height, grid_width) == (height, width):
        return masks
    rows = (2 * np.arange(height) + 1) * grid_height // (2 * height)
    columns = (2 * np.arange(width) + 1) * grid_width // (2 * width)
    return masks.take(columns, axis=2).take(rows, axis=1)


def _contrast(normalised: np.ndarray, count: int, total: float) -> float:
    """Mean over the foreground, given its pixel count and sum, minus the mean over the rest."""
    outside = normalised.size - count
    if outside == 0:
        return float("nan")
    return total / count - (float(normalised.sum(dtype=np.float64)) - total) / outside


def _whole(normalised: np.ndarray, height: int, width: int) -> PseudoBoxes:
    """The fallback for an empty mask: the whole image, flagged."""
    box = np.append(whole_image(width, height), normalised.mean(dtype=np.float64))
    masks = np.ones((1, *normalised.shape), dtype=bool)
    return PseudoBoxes(box[None].astype(np.float32), masks, height, width, 1.0, float("nan"), 0, EMPTY_MASK)
