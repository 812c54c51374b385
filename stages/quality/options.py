"""Parameters of stage `quality`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from schemas.types import HeldOut

__all__ = ["LEAST_OF_EACH", "QualityParams"]

LEAST_OF_EACH = 5
"""With fewer right boxes, or fewer wrong ones, no model is fitted."""


@dataclass(frozen=True)
class QualityParams:
    """Parameters of `quality`."""

    images: str = reads("images", "ingest", "the images")
    truth: str = reads("truth", "truth", "their ground truth: qualities are fitted to one held-out split")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "stages whose pseudo boxes get a quality")
    classes: str | None = reads("predictions", None, "stage whose classifier's confidence is a signal; null: no signal")
    split: HeldOut | None = option(
        None,
        "split whose ground-truth boxes the model is fitted to: dev, val or test; null: dev, or val where val"
        " alone has boxes",
    )
    min_boxed: int = option(30, "no model is fitted to fewer images with a ground-truth box", at_least=2)
    masks: bool = option(True, "also compare the masks of different sources")
