"""Which pseudo labels a regressor is trained on, and how much each of them counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stages.psol.parameters import Quality
from stages.vision.boxes import area, clip

__all__ = ["EMPTY", "FLAGGED", "LOW", "PseudoLabels", "chosen", "label_columns", "quality_weights"]

FLAGGED, EMPTY, LOW = "flagged", "empty", "of low quality"
_COLUMNS = ("image_id", "boxes", "flag", "contrast", "image_width", "image_height")


@dataclass
class PseudoLabels:
    """The pseudo labels that are trained on, and those that are left out.

    boxes: image id -> best box ``(4,)`` float64 in pixels, cut to the image. quality: image id -> its quality, NaN
    where it has none. whole: how many of these boxes are the whole image.
    left_out: image id -> `FLAGGED` (a fallback), `EMPTY` (no box, or none of its area lies in the image) or `LOW`.
    """

    boxes: dict[str, np.ndarray] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    whole: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def label_columns(quality: Quality, min_quality: float | None) -> tuple[str, ...]:
    """The columns to read of pseudo labels; quality only if needed, as tables of older versions lack it."""
    return (*_COLUMNS, "quality") if quality == "quality" or min_quality is not None else _COLUMNS


def chosen(
    rows: Iterable[Mapping[str, Any]], quality: Quality = "none", min_quality: float | None = None
) -> PseudoLabels:
    """Sort rows of `label_columns`, one for each image. min_quality: None: any quality, also an unknown one."""
    labels = PseudoLabels()
    for row in rows:
        name, size = row["image_id"], (row["image_width"], row["image_height"])
        best = row["boxes"][0] if row["boxes"] else dict.fromkeys(("x0", "y0", "x1", "y1", "score"), 0.0)
        box = clip([best["x0"], best["y0"], best["x1"], best["y1"]], *size)
        if row["flag"] is not None or area(box) == 0:
            labels.left_out[name] = EMPTY if row["flag"] is None else FLAGGED
            continue
        if min_quality is not None and (row["quality"] is None or row["quality"] < np.float32(min_quality)):
            labels.left_out[name] = LOW
            continue
        value = {"none": None, "score": best["score"]}.get(quality, row.get(quality))
        labels.boxes[name], labels.quality[name] = box, np.nan if value is None else float(value)
        labels.whole += bool(area(box) == size[0] * size[1])
    return labels


def quality_weights(quality: ArrayLike) -> np.ndarray:
    """Weights ``(N,)`` float64 with mean 1, in proportion to the quality of N pseudo labels.

    A missing quality (NaN) counts as the mean of the others, a negative one as 0.
    Raises: ValueError where none is known, or none is above 0.
    """
    known = np.maximum(np.asarray(quality, dtype=np.float64), 0.0)
    missing = np.isnan(known)
    if missing.all():
        raise ValueError("none is known")
    mean = known[~missing].mean()
    if mean == 0:
        raise ValueError("none is above 0")
    return np.where(missing, 1.0, known / mean)
