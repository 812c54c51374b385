"""What a config may say of stage `consensus`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.base.params import option, reads

__all__ = ["ConsensusParams"]


@dataclass(frozen=True)
class ConsensusParams:
    """Parameters of `consensus`."""

    images: str = reads("images", "ingest", "the images")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "the sources: stages of pseudo boxes, the preferred one first")
    quality: str = reads("qualities", "quality", "stage that judged them")
    rule: Literal["best", "weighted"] = option(
        "best",
        "best: of each image the boxes and masks of the source with the highest quality; where no quality is known, of"
        " the first source that has some. weighted: weighted boxes fusion of the best box of each, without masks",
    )
    fusion_iou: float = option(0.55, "weighted: boxes of a larger IoU become one", at_least=0, at_most=1)
    min_quality: float | None = option(
        None,
        "boxes of a lower quality, or of none, get flag low_quality: neither trained on nor exported",
        at_least=0,
        at_most=1,
    )
