"""Boxes of a score map at a cut, by OpenCV's contours: the plain form of wsolevaluation's rules.

This is the oracle of :mod:`stages.scoring.cuts.sweep` and the way to draw the boxes of one map. A cut T keeps the
pixels strictly above T. Candidate boxes: the bounding rectangle of a contour, ``x + w`` and ``y + h`` clipped to
the last index and read as inclusive corners, hence one pixel larger than the contour except at the border; as half-open
boxes they end at ``min(x + w, W - 1) + 1``. No contour gives the single box of the corner pixel.
"""

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from stages.scoring.iou import best_of
from stages.scoring.ragged import FloatArray, IntArray, Uint8Array

Rule = Literal["largest", "all"]

CUTS = 255
NO_CONTOUR = np.array([[0.0, 0.0, 1.0, 1.0]])


def quantize(score_map: npt.ArrayLike) -> Uint8Array:
    """floor(255 * score_map) as uint8, a map (H, W); raises ValueError for a NaN or a value outside of [0, 1]."""
    values = np.asarray(score_map)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("score map has a NaN or a value outside [0, 1]")
    return (values * 255).astype(np.uint8)


def cuts_of_thresholds(thresholds: npt.ArrayLike, maximum: int = 255) -> IntArray:
    """Integer cuts T = int(tau * maximum) of thresholds tau (S,), for a uint8 map with that maximum."""
    return (np.asarray(thresholds, dtype=np.float64) * maximum).astype(np.int64)


def contour_boxes(score_map: Uint8Array, cut: int, rule: Rule) -> FloatArray:
    """Candidate boxes (B, 4), half-open, of a uint8 map (H, W) at one cut, in OpenCV's contour order.

    ``largest``: the contour of the greatest polygon area, the first one of equals. ``all``: every contour, holes too.
    """
    foreground = (score_map > cut).astype(np.uint8)
    contours, _ = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return NO_CONTOUR.copy()
    if rule == "largest":
        contours = [max(contours, key=cv2.contourArea)]
    rectangles = np.array([cv2.boundingRect(contour) for contour in contours], dtype=np.float64)
    far = np.array(score_map.shape[::-1]) - 1.0
    return np.concatenate([rectangles[:, :2], np.minimum(rectangles[:, :2] + rectangles[:, 2:], far) + 1], axis=1)


def best_iou_per_cut(score_map: Uint8Array, truth: FloatArray, rule: Rule) -> FloatArray:
    """Best IoU (255,) of any candidate box with any ground-truth box (G, 4) at each cut 0..254; 0 without truth."""
    best = np.zeros(CUTS)
    changes = np.append(np.unique(score_map), CUTS)
    low = 0
    for high in changes:
        if high > low:
            boxes = contour_boxes(score_map, low, rule)
            best[low:high] = best_of(boxes, truth).max()
            low = high
    return best
