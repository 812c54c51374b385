"""Foreign score maps at every threshold, image by image, under the box rule of a protocol."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stages.scoring.cuts.cut_counts import CUT_THRESHOLDS, MAX_BOX_ACC_V2_IOUS, WSOL_THRESHOLDS, CutCounts, count_cuts
from stages.scoring.cuts.fixed_rule import boxes_per_threshold
from stages.scoring.cuts.quantized import CUTS, cuts_of_thresholds, quantize
from stages.scoring.cuts.sweep import largest_contour_boxes, sweep
from stages.scoring.evaluator_maps import in_evaluator_frame
from stages.scoring.iou import best_of
from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import FloatArray, RaggedBoxes
from stages.vision.score_maps import enlarge, min_max


class SweptImage(NamedTuple):
    """One image: the box (255, 4) int16 of each cut, the map's maximum, and its counts over the S thresholds.

    A threshold tau is the cut int(tau * maximum). ``every`` (all contours) is counted under wsolevaluation alone.
    """

    boxes: npt.NDArray[np.int16]
    maximum: int
    largest: CutCounts
    every: CutCounts | None


def thresholds(protocol: str) -> FloatArray:
    """The thresholds (S,) that are tried: wsolevaluation's thousand, else k / 255."""
    return WSOL_THRESHOLDS if protocol == "wsolevaluation" else CUT_THRESHOLDS


def applied(threshold: float, protocol: str) -> float:
    """The threshold that is applied: wsolevaluation takes any, the other protocols round down to k / 255."""
    return threshold if protocol == "wsolevaluation" else int(threshold * CUTS) / CUTS


def sweep_image(score_map: FloatArray, truth: RaggedBoxes, size: FloatArray, protocol: str) -> SweptImage:
    """Sweep one map (h, w). truth: its image's boxes in the frame of the protocol; size: width, height.

    wsolevaluation: contours in the frame of 224 x 224; a map of that size is taken as it is, others are enlarged and
    min-maxed. The others: the largest component at the size of the image, of the map enlarged and min-maxed.
    """
    if protocol == "wsolevaluation":
        return _by_contours(score_map, truth)
    width, height = (int(side) for side in size)
    resized = score_map if score_map.shape == (height, width) else enlarge(score_map, height, width)
    boxes = boxes_per_threshold(min_max(resized))
    best = _best(in_frame(boxes, np.tile(size, (len(boxes), 1)), protocol), truth)
    return SweptImage(boxes.astype(np.int16), 255, _counts(best, PROTOCOLS[protocol].strict), None)


def in_frame(boxes: npt.NDArray[np.generic], sizes: FloatArray, protocol: str) -> FloatArray:
    """Boxes (N, 4) of swept images of these sizes (N, 2) in the frame of the protocol."""
    if protocol == "wsolevaluation":
        return boxes.astype(np.float64)
    return PROTOCOLS[protocol].predictions(boxes, sizes)


def _by_contours(score_map: FloatArray, truth: RaggedBoxes) -> SweptImage:
    pixels = quantize(in_evaluator_frame(score_map))
    boxes, maximum = largest_contour_boxes(pixels), int(pixels.max())
    cuts = cuts_of_thresholds(WSOL_THRESHOLDS, maximum)
    every = sweep(pixels[None], truth, ("all",))["all"][0]
    return SweptImage(
        boxes.astype(np.int16), maximum, _counts(_best(boxes, truth)[cuts], False), _counts(every[cuts], False)
    )


def _best(boxes: FloatArray, truth: RaggedBoxes) -> FloatArray:
    own = truth.of(0)
    return best_of(boxes, own)


def _counts(best: FloatArray, strict: bool) -> CutCounts:
    return count_cuts(best[None], MAX_BOX_ACC_V2_IOUS, strict)
