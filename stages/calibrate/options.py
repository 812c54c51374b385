"""What a config may say of stage `calibrate`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads

__all__ = ["CHOSEN_ON", "NO_BOXES", "CalibrateParams"]

CHOSEN_ON = "dev"
NO_BOXES = f"no image of split {CHOSEN_ON} has a ground-truth box; give a fixed threshold"


@dataclass(frozen=True)
class CalibrateParams:
    """Parameters of `calibrate`."""

    images: str = reads("images", "ingest", "the images")
    truth: str = reads("truth", "truth", "their ground truth")
    counts: str = reads("counts", "sweep", "stage that counted the score maps which get a threshold")
    iou: float = option(0.5, "IoU at which a box counts as correct: 0.3, 0.5 or 0.7")
