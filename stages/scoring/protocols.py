"""Evaluation protocols: each converts boxes into half-open boxes of its own frame.

The same predictions differ by up to 16 points between protocols, so a number without its protocol means nothing.
Ground truth and predictions enter as half-open boxes in pixels of the original image. Files with inclusive corners
are converted by the reader (x1 + 1, y1 + 1), and the adapters that need inclusive corners undo exactly that.
Inside a frame every IoU is the plain half-open one (:mod:`stages.scoring.iou`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stages.scoring.iou import best_iou
from stages.scoring.ragged import BoolArray, FloatArray, RaggedBoxes

WSOL_SIDE = 224
PSOL_RESIZE = 256
PSOL_CROP = 224
INCLUSIVE = np.array([0.0, 0.0, 1.0, 1.0])

ProtocolName = Literal["original", "original_strict", "wsolevaluation", "psol", "first_box"]

BoxAdapter = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a protocol converts ground truth and predictions into its frame, and how it compares IoUs.

    ``truth`` and ``predicted`` map half-open original pixels (M, 4) and the image size of each box (M, 2) as
    width, height to half-open frame boxes (M, 4); ``frame`` maps image sizes (N, 2) to the box of the whole frame.
    ``strict``: the protocol's own code counts IoU > delta; all others count IoU >= delta.
    """

    name: ProtocolName
    truth: BoxAdapter
    predicted: BoxAdapter
    frame: Callable[[FloatArray], FloatArray]
    first_box_only: bool = False
    strict: bool = False

    def ground_truth(self, truth: RaggedBoxes, sizes: npt.ArrayLike) -> RaggedBoxes:
        """Convert ground truth into the frame; ``sizes`` (N, 2): width and height of the original images."""
        if self.first_box_only:
            truth = first_boxes(truth)
        per_box = np.asarray(sizes, dtype=np.float64)[truth.owner]
        return RaggedBoxes(self.truth(truth.boxes, per_box), truth.offsets)

    def predictions(self, boxes: npt.ArrayLike, sizes: npt.ArrayLike) -> FloatArray:
        """Convert one predicted box an image (N, 4), half-open original pixels, into the frame: (N, 4) float64."""
        array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        return self.predicted(array, np.asarray(sizes, dtype=np.float64))

    def best_iou(self, boxes: npt.ArrayLike, truth: RaggedBoxes, sizes: npt.ArrayLike) -> FloatArray:
        """Best IoU (N,) of one predicted box an image with its ground truth, both in original pixels."""
        return best_iou(self.predictions(boxes, sizes), self.ground_truth(truth, sizes))

    def correct(self, iou: FloatArray, delta: float) -> BoolArray:
        """Whether a best IoU (N,) counts as localised under this protocol's own comparison: (N,) bool."""
        return correct(iou, delta, self.strict)


def first_boxes(truth: RaggedBoxes) -> RaggedBoxes:
    """Keep only the first listed box of each image."""
    has_box = truth.counts > 0
    offsets = np.concatenate([[0], np.cumsum(has_box)]).astype(np.int64)
    return RaggedBoxes(truth.boxes[truth.offsets[:-1][has_box]], offsets)


def correct(iou: FloatArray, delta: float, strict: bool = False) -> BoolArray:
    """Whether a best IoU (N,) counts as localised, (N,) bool: IoU >= delta, or IoU > delta when strict."""
    return iou > delta if strict else iou >= delta


def _unchanged(boxes: FloatArray, sizes: FloatArray) -> FloatArray:
    return boxes


def _scale(sizes: FloatArray) -> FloatArray:
    return np.concatenate([sizes, sizes], axis=1)


def _to_wsol(boxes: FloatArray, sizes: FloatArray) -> FloatArray:
    """Inclusive corners, scaled by 224 / size, truncated toward zero (wsolevaluation). An empty box stays empty."""
    scaled = np.trunc((boxes - INCLUSIVE) * WSOL_SIDE / _scale(sizes)) + INCLUSIVE
    empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    return np.where(empty[:, None], boxes[:, [0, 1, 0, 1]], scaled)


def _to_psol(boxes: FloatArray, sizes: FloatArray) -> FloatArray:
    """Squash to 256 x 256, centre crop of 224, boxes clipped to the crop, IoU without + 1 (PSOL)."""
    margin = (PSOL_RESIZE - PSOL_CROP) / 2
    return np.clip(boxes * PSOL_RESIZE / _scale(sizes) - margin, 0, PSOL_CROP)


def _psol_truth(boxes: FloatArray, sizes: FloatArray) -> FloatArray:
    return _to_psol(boxes - INCLUSIVE, sizes)


def _original_frame(sizes: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros_like(sizes), sizes], axis=1)


def _square_frame(sizes: FloatArray) -> FloatArray:
    return np.tile(np.array([0.0, 0.0, WSOL_SIDE, WSOL_SIDE]), (len(sizes), 1))


PROTOCOLS: dict[str, EvaluationProtocol] = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol("original", _unchanged, _unchanged, _original_frame),
        EvaluationProtocol("original_strict", _unchanged, _unchanged, _original_frame, strict=True),
        EvaluationProtocol("wsolevaluation", _to_wsol, _to_wsol, _square_frame),
        EvaluationProtocol("psol", _psol_truth, _to_psol, _square_frame, strict=True),
        EvaluationProtocol("first_box", _unchanged, _unchanged, _original_frame, first_box_only=True),
    )
}
