"""What a config may say of stage `boxes`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from stages.bases.box_rule_options import BoxRuleParams
from stages.vision.box_rule import Frame, ThresholdKind

__all__ = ["BoxesParams"]


@dataclass(frozen=True)
class BoxesParams(BoxRuleParams):
    """Parameters of `boxes`."""

    maps: str = reads("score_maps", "cam", "the score maps")
    thresholds: str | None = reads("thresholds", None, "stage that chose a threshold for these maps")
    threshold: float | None = option(None, "a fixed threshold; exactly one of thresholds and threshold is given")
    kind: ThresholdKind = option(
        "relative", "relative: threshold of the min-maxed map; absolute: of the map as it is (DDT: 0)"
    )
    frame: Frame = option("image", "image: enlarge, then threshold; grid: threshold on the map's own grid (PSOL's DDT)")
