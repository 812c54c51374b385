"""Boxes of a score map at a cut by OpenCV's contours, as wsolevaluation makes them: the oracle of the fast sweep."""

import cv2
import numpy as np

from stages.scoring.cuts.quantized import NO_CONTOUR, Rule


def contour_boxes(score_map: np.ndarray, cut: int, rule: Rule) -> np.ndarray:
    """Candidate boxes (B, 4), half-open, of a uint8 map (H, W) at one cut, in OpenCV's contour order."""
    foreground = (score_map > cut).astype(np.uint8)
    contours, _ = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return NO_CONTOUR.copy()
    if rule == "largest":
        contours = [max(contours, key=cv2.contourArea)]
    rectangles = np.array([cv2.boundingRect(contour) for contour in contours], dtype=np.float64)
    far = np.array(score_map.shape[::-1]) - 1.0
    return np.concatenate([rectangles[:, :2], np.minimum(rectangles[:, :2] + rectangles[:, 2:], far) + 1], axis=1)
