"""IoU of the pipeline's own boxes at every threshold k / 255, to choose the threshold on labelled images.

The pipeline: a score map min-maxed to [0, 1] at image size, foreground strictly above t, its 8-connected components of
at least some size; a box of the largest (by pixel count, the first in raster order of equals), of each, or around them
all, half-open in pixels of the original image; the whole image where no component is left. It is what stage `boxes`
makes of a map at one threshold.
"""

import numpy as np
import numpy.typing as npt

from stages.scoring.cuts.cut_counts import CUT_THRESHOLDS
from stages.scoring.cuts.kept_components import best_ious, union_boxes
from stages.scoring.cuts.largest import largest_boxes
from stages.scoring.cuts.ring import ONE_PIXEL
from stages.scoring.iou import best_of
from stages.scoring.ragged import FloatArray, Uint8Array
from stages.vision.box_rule import BoxRule

__all__ = ["boxes_per_threshold", "iou_per_threshold"]


def boxes_per_threshold(score_map: npt.ArrayLike) -> FloatArray:
    """Half-open boxes (255, 4) of the largest component at thresholds k / 255.

    ``score_map`` (H, W) floating, in [0, 1]; thresholds are compared in its own dtype. Raises ValueError for NaN.
    """
    return _one_box(_levels(score_map), BoxRule())


def iou_per_threshold(score_map: npt.ArrayLike, truth: FloatArray, rule: BoxRule | None = None) -> FloatArray:
    """Best IoU (255,) of any box with any ground-truth box (G, 4), half-open original pixels, at thresholds k / 255.

    ``score_map`` (H, W) at the size of the original image. rule: its components and min_area; by default the largest.
    0 without truth. Stack the rows of many images and pass them to :func:`stages.scoring.cuts.cut_counts.count_cuts`.
    """
    rule = rule or BoxRule()
    levels = _levels(score_map)
    if rule.components != "all":
        return best_of(_one_box(levels, rule), truth)
    found = best_ious(levels, rule.min_pixels(levels.size), truth)
    return np.where(found < 0, best_of(_whole(levels)[None], truth), found)


def _one_box(levels: Uint8Array, rule: BoxRule) -> FloatArray:
    """The box (255, 4) of the largest component at each cut, or around all of them."""
    least = rule.min_pixels(levels.size)
    if rule.components == "union":
        boxes = union_boxes(levels, least).astype(np.float64)
    else:
        found = largest_boxes(levels, ONE_PIXEL, False)
        boxes = np.where(found[:, 4:] >= least, found[:, :4], 0).astype(np.float64)
    boxes[boxes[:, 2] == 0] = _whole(levels)
    return boxes


def _whole(levels: Uint8Array) -> FloatArray:
    height, width = levels.shape
    return np.array([0.0, 0.0, width, height])


def _levels(score_map: npt.ArrayLike) -> Uint8Array:
    """The number of thresholds below each pixel (H, W): pixels above T are the foreground at threshold T / 255."""
    values = np.asarray(score_map)
    if np.isnan(values).any():
        raise ValueError("score map has a NaN")
    thresholds = CUT_THRESHOLDS.astype(values.dtype)
    levels = np.searchsorted(thresholds, values.ravel(), side="left").reshape(values.shape)
    return levels.astype(np.uint8)
