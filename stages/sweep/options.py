"""What a config may say of stage `sweep`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from schemas.types import HELD_OUT, HeldOut
from stages.bases.box_rule_options import BoxRuleParams

__all__ = ["SweepParams"]


@dataclass(frozen=True)
class SweepParams(BoxRuleParams):
    """Parameters of `sweep`; the box rule is that of `boxes`."""

    images: str = reads("images", "ingest", "the images")
    truth: str = reads("truth", "truth", "their ground truth")
    maps: str = reads("score_maps", "cam", "the score maps that are counted")
    splits: tuple[HeldOut, ...] = option(HELD_OUT, "splits whose maps are counted; train is never")
