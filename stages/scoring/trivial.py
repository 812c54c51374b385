"""Trivial predictors: boxes that look at no image. A method that does not beat them has not learned to localize.

They work in the frame of a protocol: ``frames`` (N, 4) is the box of the whole frame of each image
(:mod:`stages.scoring.protocols`), and each returns one half-open box an image (N, 4). They may choose their one free
parameter on the evaluated boxes: they are yardsticks, not methods.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stages.scoring.iou import best_iou
from stages.scoring.protocols import WSOL_SIDE, EvaluationProtocol, correct
from stages.scoring.ragged import BoolArray, FloatArray, RaggedBoxes

SQUARE_SHARES = tuple(k / 100 for k in range(1, 101))
GAUSSIAN_SIGMA = 60.0

Predictor = Callable[[FloatArray], FloatArray]


class BestTrivial(NamedTuple):
    """Best accuracy in percent at one IoU level, its free parameter (share, cut), and which images are correct (N,)."""

    value: float
    parameter: float
    correct: BoolArray


def whole_frame(frames: FloatArray) -> FloatArray:
    """The frames (N, 4) themselves: whole_image, or whole_crop under the psol protocol."""
    return frames


def centred_square(frames: FloatArray, share: float) -> FloatArray:
    """Square in the middle of each frame (N, 4); its side is ``share`` of the frame's shorter side."""
    half = share * np.minimum(frames[:, 2] - frames[:, 0], frames[:, 3] - frames[:, 1]) / 2
    x, y = (frames[:, 0] + frames[:, 2]) / 2, (frames[:, 1] + frames[:, 3]) / 2
    return np.stack([x - half, y - half, x + half, y + half], axis=1)


def centred_gaussian(frames: FloatArray, cut: int, contour_box: bool = False) -> FloatArray:
    """Box (N, 4) of a centred isotropic Gaussian score map of 224 x 224 at one cut, spread over each frame.

    ``contour_box``: the far corner as wsolevaluation draws it, one pixel further except at the border;
    meant for frames of 224 x 224.
    """
    low, high = _gaussian_extents()[cut]
    if contour_box:
        high = min(high, WSOL_SIDE - 1) + 1
    origin, extent = frames[:, :2], frames[:, 2:] - frames[:, :2]
    return np.concatenate([origin + extent * low / WSOL_SIDE, origin + extent * high / WSOL_SIDE], axis=1)


def median_box(boxes: FloatArray, sizes: FloatArray, frames: FloatArray) -> FloatArray:
    """Coordinate-wise median of training boxes (M, 4), relative to their image sizes (M, 2), spread over each frame."""
    low_x, low_y, high_x, high_y = np.median(boxes / np.concatenate([sizes, sizes], axis=1), axis=0)
    width, height = frames[:, 2] - frames[:, 0], frames[:, 3] - frames[:, 1]
    offsets = np.stack([low_x * width, low_y * height, high_x * width, high_y * height], axis=1)
    return frames[:, [0, 1, 0, 1]] + offsets


def best_over(
    candidates: Iterable[tuple[float, FloatArray]], truth: RaggedBoxes, levels: Iterable[float], strict: bool = False
) -> dict[float, BestTrivial]:
    """Best accuracy at each IoU level over candidates (free parameter, boxes (N, 4)); the first of equals wins.

    ``truth`` is the ground truth in the same frame.
    """
    best = {level: BestTrivial(-1.0, float("nan"), np.zeros(truth.images, bool)) for level in levels}
    for parameter, boxes in candidates:
        ious = best_iou(boxes, truth)
        for level, reached in best.items():
            hits = correct(ious, level, strict)
            value = 100.0 * float(hits.mean())
            if value > reached.value:
                best[level] = BestTrivial(value, parameter, hits)
    return best


def predictors(protocol: EvaluationProtocol, frames: FloatArray) -> dict[str, Iterable[tuple[float, FloatArray]]]:
    """Candidates (N, 4) of each trivial predictor that needs no training boxes, by its name under this protocol."""
    whole = "whole_crop" if protocol.name == "psol" else "whole_image"
    contour_box = protocol.name == "wsolevaluation"
    return {
        whole: [(float("nan"), whole_frame(frames))],
        "centred_square": ((share, centred_square(frames, share)) for share in SQUARE_SHARES),
        "centred_gaussian": ((cut / 255, centred_gaussian(frames, cut, contour_box)) for cut in distinct_cuts()),
    }


@cache
def distinct_cuts() -> tuple[int, ...]:
    """The cuts 0..254 with distinct boxes of the Gaussian map: the lowest cut of each box."""
    extents = _gaussian_extents()
    return tuple(cut for cut in range(255) if cut == 0 or extents[cut] != extents[cut - 1])


@cache
def _gaussian_extents() -> tuple[tuple[int, int], ...]:
    """First pixel and one past the last of the Gaussian map's foreground, alike in x and y, at each cut 0..254."""
    line = _gaussian_map().max(axis=0)
    inside = [np.flatnonzero(line > cut) for cut in range(255)]
    return tuple((int(pixels[0]), int(pixels[-1]) + 1) for pixels in inside)


def _gaussian_map() -> npt.NDArray[np.uint8]:
    """The min-maxed Gaussian of a 224 x 224 frame, truncated to uint8."""
    offset = np.arange(WSOL_SIDE) - (WSOL_SIDE - 1) / 2
    gaussian = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * GAUSSIAN_SIGMA**2))
    normalised = (gaussian - gaussian.min()) / (gaussian.max() - gaussian.min())
    return (normalised * 255).astype(np.uint8)
