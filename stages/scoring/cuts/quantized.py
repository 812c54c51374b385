"""Score maps as uint8, and the cuts that thresholds are for them.

A cut T keeps the pixels strictly above T. wsolevaluation's candidate boxes at a cut: the bounding rectangle of a
contour, ``x + w`` and ``y + h`` clipped to the last index and read as inclusive corners, hence one pixel larger than
the contour except at the border; as half-open boxes they end at ``min(x + w, W - 1) + 1``. No contour gives the single
box of the corner pixel.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from stages.scoring.ragged import IntArray, Uint8Array

Rule = Literal["largest", "all"]
"""The contour of the greatest polygon area, the first one of equals; or every contour, holes too."""

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
