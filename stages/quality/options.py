"""What a config may say of stage `quality`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from schemas.types import HeldOut

__all__ = ["LEAST_OF_EACH", "QualityParams"]

LEAST_OF_EACH = 5
"""With fewer right boxes, or fewer wrong ones, they cannot be told apart."""


@dataclass(frozen=True)
class QualityParams:
    """Parameters of `quality`."""

    images: str = reads("images", "ingest", "the images")
    truth: str = reads("truth", "truth", "their ground truth: that of one held-out split is fitted to")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "the pseudo boxes that are judged, of one or several stages")
    classes: str | None = reads("predictions", None, "stage whose classifier's confidence is a signal; null: none is")
    split: HeldOut | None = option(
        None,
        "split whose ground-truth boxes the model is fitted to: dev, val or test; null: dev, or val where val"
        " alone has boxes",
    )
    min_boxed: int = option(30, "with fewer images that have a ground-truth box no model is fitted", at_least=2)
    masks: bool = option(True, "whether masks of different sources are compared, too")
