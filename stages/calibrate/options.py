"""What a config may say of stage `calibrate`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from schemas.types import HeldOut

__all__ = ["CalibrateParams"]


@dataclass(frozen=True)
class CalibrateParams:
    """Parameters of `calibrate`."""

    images: str = reads("images", "ingest", "the images")
    truth: str = reads("truth", "truth", "their ground truth")
    counts: str = reads("counts", "sweep", "stage that counted the score maps which get a threshold")
    split: HeldOut | None = option(
        None, "split whose ground-truth boxes choose: dev, val or test; null: dev, or val where val alone has boxes"
    )
    cross_fit: bool | None = option(
        None,
        "true: images of that split get the threshold chosen on the other half of it (halves by the hash of the image"
        " id), so the split may be reported; images of other splits get the one chosen on both halves",
    )
    iou: float = option(0.5, "IoU at which a box counts as correct: 0.3, 0.5 or 0.7")
