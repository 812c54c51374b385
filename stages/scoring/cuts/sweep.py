"""Best IoU of a score map's boxes at every cut: the fast form of wsolevaluation's rules, exact.

1,000 thresholds are only 255 distinct cuts of a uint8 map. A cut T keeps the pixels strictly above T.
Rule ``largest`` (MaxBoxAcc): the contour of the greatest polygon area. Rule ``all`` (MaxBoxAccV2): every contour, holes
too. The tests' oracle, `tests/stages/scoring/cuts/contours.py`, states both rules plainly.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from stages.scoring.cuts.contour_tree import best_iou_of_contours, forest
from stages.scoring.cuts.fill import fill_holes
from stages.scoring.cuts.largest import largest_boxes
from stages.scoring.cuts.pixel_order import MEAN_SIDE, pixel_order
from stages.scoring.cuts.quantized import CUTS, NO_CONTOUR, Rule
from stages.scoring.cuts.ring import DOUBLED_AREA
from stages.scoring.iou import best_of
from stages.scoring.ragged import FloatArray, RaggedBoxes, Uint8Array


def sweep(maps: Uint8Array, truth: RaggedBoxes, rules: Sequence[Rule] = ("largest", "all")) -> dict[Rule, FloatArray]:
    """Best IoU (N, 255) of any candidate box with any ground-truth box at each cut, for each rule.

    ``maps`` (N, H, W) uint8 (:func:`stages.scoring.cuts.quantized.quantize`), 224 x 224 under the wsolevaluation
    protocol; ``truth`` N images of half-open boxes in the frame of the maps; 0 for an image without a box. Column T is
    the cut T; a threshold tau is the column int(tau * map maximum). Raises ValueError for other shapes or dtypes.
    """
    if maps.ndim != 3 or maps.dtype != np.uint8 or len(maps) != truth.images:
        raise ValueError(f"need (N, H, W) uint8 maps of {truth.images} images, got {maps.shape} {maps.dtype}")
    order, trees = pixel_order(*maps.shape[1:]), forest(*maps.shape[1:])
    result = {rule: np.zeros((len(maps), CUTS)) for rule in rules}
    for index, score_map in enumerate(np.ascontiguousarray(maps)):
        boxes = truth.of(index)
        if len(boxes) == 0:
            continue
        if "all" in result:
            result["all"][index] = best_iou_of_contours(score_map, _local_sums(score_map), boxes, order, trees)
        if "largest" in result:
            result["largest"][index] = best_of(largest_contour_boxes(score_map), boxes)
    return result


def _local_sums(score_map: Uint8Array) -> npt.NDArray[np.uint16]:
    side = (MEAN_SIDE, MEAN_SIDE)
    sums = cv2.boxFilter(score_map, cv2.CV_16U, side, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(sums, dtype=np.uint16)


def largest_contour_boxes(score_map: Uint8Array) -> FloatArray:
    """Box (255, 4), half-open, of the contour of the greatest polygon area of a uint8 map (H, W) at each cut.

    The outermost contours of a map are those of the map with its holes filled, where polygon area is a sum over pixels;
    of equal areas OpenCV lists the contour whose first pixel comes last first.
    """
    boxes = largest_boxes(fill_holes(score_map), DOUBLED_AREA, True)[:, :4].astype(np.float64)
    empty = boxes[:, 2] == 0
    boxes[:, 2:] = np.minimum(boxes[:, 2:], np.array(score_map.shape[::-1]) - 1) + 1
    boxes[empty] = NO_CONTOUR
    return boxes
