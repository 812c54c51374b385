"""The rule by which a score map becomes boxes: `sweep` scores it at every threshold, `boxes` applies it at one."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["BoxRule", "Components", "Frame", "Interpolation", "ThresholdKind"]

Interpolation = Literal["bilinear", "bicubic"]
Components = Literal["largest", "all", "union"]
ThresholdKind = Literal["relative", "absolute"]
Frame = Literal["image", "grid"]


@dataclass(frozen=True)
class BoxRule:
    """How a score map becomes boxes, at any threshold.

    components: ``largest`` makes one box of the largest 8-connected component of the foreground, ``all`` a box of each,
    ``union`` one box around them all. min_area: components below this fraction of the frame are ignored; where none is
    left, the box is the whole image. enlargement: how a map is resampled to the image.
    kind: ``relative`` compares the map after min-max (a fraction of its range), ``absolute`` the map as it is (DDT: 0).
    frame: ``image`` enlarges the map to the image, then thresholds (CAM and most others); ``grid`` thresholds on the
    map's own grid and scales the box by image / grid (DDT in PSOL).
    """

    components: Components = "largest"
    min_area: float = 0.0
    enlargement: Interpolation = "bilinear"
    kind: ThresholdKind = "relative"
    frame: Frame = "image"

    def min_pixels(self, pixels: int) -> int:
        """The least size of a component, in a frame of `pixels` pixels."""
        return max(1, math.ceil(self.min_area * pixels))
