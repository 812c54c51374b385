"""IoU of the fixed pipeline's box at every threshold k / 255, to choose the threshold on labelled images.

The fixed pipeline: a score map min-maxed to [0, 1] at image size, foreground strictly above t, the largest 8-connected
component by pixel count (the first in raster order of equals), its half-open box in pixels of the original image; the
whole image where nothing is above.
"""

import numpy as np
import numpy.typing as npt

from stages.evaluate.cuts.cut_counts import CUT_THRESHOLDS
from stages.evaluate.cuts.largest import largest_boxes
from stages.evaluate.cuts.ring import ONE_PIXEL
from stages.evaluate.iou import best_of
from stages.evaluate.ragged import FloatArray


def boxes_per_threshold(score_map: npt.ArrayLike) -> FloatArray:
    """Half-open boxes (255, 4) of the fixed pipeline at thresholds k / 255.

    ``score_map`` (H, W) floating, in [0, 1]; thresholds are compared in its own dtype. Raises ValueError for NaN.
    """
    values = np.asarray(score_map)
    if np.isnan(values).any():
        raise ValueError("score map has a NaN")
    thresholds = CUT_THRESHOLDS.astype(values.dtype)
    levels = np.searchsorted(thresholds, values.ravel(), side="left").reshape(values.shape)
    boxes = largest_boxes(levels.astype(np.uint8), ONE_PIXEL, False).astype(np.float64)
    height, width = values.shape
    boxes[boxes[:, 2] == 0] = (0, 0, width, height)
    return boxes


def iou_per_threshold(score_map: npt.ArrayLike, truth: FloatArray) -> FloatArray:
    """Best IoU (255,) with any ground-truth box (G, 4), half-open original pixels, at thresholds k / 255.

    ``score_map`` (H, W) at the size of the original image. 0 without truth. Stack the rows of many images and
    pass them to :func:`stages.evaluate.cuts.cut_counts.count_cuts`.
    """
    return best_of(boxes_per_threshold(score_map), truth)
