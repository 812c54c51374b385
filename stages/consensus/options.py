"""Parameters of stage `consensus`."""

from dataclasses import dataclass
from typing import Literal

from pipeline.base.params import option, reads

__all__ = ["ConsensusParams"]


@dataclass(frozen=True)
class ConsensusParams:
    """Parameters of `consensus`."""

    images: str = reads("images", "ingest", "the images")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "the sources: stages of pseudo boxes, the preferred one first")
    quality: str = reads("qualities", "quality", "stage that computed their qualities")
    rule: Literal["best", "weighted"] = option(
        "best",
        "best: boxes and masks of the source with the highest quality for the image; where no quality is known, of"
        " the first source that has any. weighted: weighted boxes fusion of each source's best box, without masks",
    )
    fusion_iou: float = option(0.55, "weighted: boxes of a larger IoU are fused into one", at_least=0, at_most=1)
    min_quality: float | None = option(
        None,
        "boxes of lower or unknown quality get flag low_quality: they are neither trained on nor exported",
        at_least=0,
        at_most=1,
    )
