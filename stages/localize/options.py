"""What a config may say of stage `localize`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from schemas.types import Split
from stages.vision.precision import InferencePrecision
from stages.vision.preprocessing import Views

__all__ = ["LocalizeParams"]


@dataclass(frozen=True)
class LocalizeParams:
    """Parameters of `localize`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the trained model")
    splits: tuple[Split, ...] = option(("dev", "val", "test"), "splits that are predicted")
    views: Views = option(
        "squash",
        "squash: the whole image; centre: its central crop; ten_crop: classes by the mean over corners, centre and "
        "their mirror images, boxes of the centre",
    )
    crop: float | None = option(
        None,
        "centre, ten_crop: side of a crop, fraction of the resized side; null: as the weights' source says",
        at_least=0.1,
        at_most=1,
    )
    keep_aspect: bool = option(
        True, "centre, ten_crop: the shorter side is resized (published classifiers); false: both are (PSOL)"
    )
    precision: InferencePrecision = option("float32", "float32, bfloat16 or float16 (autocast), see docs/backbones.md")
    batch_size: int = option(64, "images in one forward pass; on a CPU at most 8", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)
