"""What a config may say of stage `evaluate`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from schemas.types import Split
from stages.scoring.protocols import ProtocolName

__all__ = ["EvaluateParams"]


@dataclass(frozen=True)
class EvaluateParams:
    """Parameters of `evaluate`."""

    images: str = reads("images", "ingest", "the images")
    truth: str = reads("truth", "truth", "their ground truth")
    classes: str | None = reads("predictions", None, "stage whose classes give cls_top1, top1_loc and the like")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "pseudo labels whose boxes are scored")
    predictions: tuple[str, ...] = reads("predictions", (), "predicted boxes that are scored")
    counts: tuple[str, ...] = reads("counts", (), "sweeps of score maps: MaxBoxAcc, PxAP, Peak-IoU")
    splits: tuple[Split, ...] = option(("val", "test"), "splits that are reported")
    oracle: bool | None = option(
        None, "true: also report splits on which a threshold was chosen; their rows say oracle, no result"
    )
    protocols: tuple[ProtocolName, ...] = option(("original",), "protocols under which boxes are scored")
