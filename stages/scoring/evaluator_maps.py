"""From a class activation map to the evaluator's 224 x 224 score map: enlarge first, then min-max."""

import cv2
import numpy as np
import numpy.typing as npt

from stages.scoring.protocols import WSOL_SIDE
from stages.scoring.ragged import FloatArray

FRAME = (WSOL_SIDE, WSOL_SIDE)
"""Height and width of a score map in wsolevaluation."""


def evaluator_score_map(activation: npt.ArrayLike, side: int = WSOL_SIDE) -> FloatArray:
    """Score map (side, side) float64 in [0, 1] of a class activation map (h, w), as wsolevaluation makes it.

    Bicubic enlargement by OpenCV in float64, then min-max; a constant map, or one with a NaN or an infinity, becomes
    zeros. Quantise it with :func:`stages.scoring.cuts.quantized.quantize`.
    """
    values = np.asarray(activation, dtype=np.float64)
    if values.shape != (side, side):
        values = np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.float64)
    if not np.isfinite(values).all() or values.min() == values.max():
        return np.zeros((side, side))
    shifted = values - values.min()
    return shifted / shifted.max()


def in_evaluator_frame(score_map: npt.NDArray[np.generic], as_is: bool = True) -> npt.NDArray[np.generic]:
    """The evaluator's score map (224, 224) of a map (h, w); with `as_is` a map of that size is returned unchanged."""
    return score_map if as_is and score_map.shape == FRAME else evaluator_score_map(score_map)
