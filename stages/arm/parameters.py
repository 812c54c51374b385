"""Settings of affinity refinement."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["ArmParameters", "Border"]

Border = Literal["replicate", "reflect"]


@dataclass(frozen=True)
class ArmParameters:
    """How far and how fast a map spreads; the defaults are the paper's.

    iterations: k. eta: share of its own value that a pixel keeps in each (equation 9). position_weight: w_p, of
    the distance in pixels beside color (equation 8). dilations: distances, in pixels, at which the 8 neighbours of a
    pixel stand; the paper takes 1, its ancestor (AFA, Ru et al. 2022) 1, 2, 4, 8, 12, 24. border: what stands for
    neighbours outside the image, which the paper leaves open: the nearest pixel, or the mirror image. color_width:
    unit of color differences, in standard deviations of the neighbors (AFA: 0.3; the paper has none).

    Raises: ValueError for values outside their range.
    """

    iterations: int = 50
    eta: float = 0.1
    position_weight: float = 0.01
    dilations: tuple[int, ...] = (1,)
    border: Border = "replicate"
    color_width: float = 1.0

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"iterations must not be negative, got {self.iterations}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be in [0, 1], got {self.eta}")
        if not 0 <= self.position_weight < math.inf:
            raise ValueError(f"position_weight must be 0 or more, and finite, got {self.position_weight}")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"dilations must be one or more distances from 1 pixel on, got {list(self.dilations)}")
        if not 0 < self.color_width < math.inf:
            raise ValueError(f"color_width must be above 0, and finite, got {self.color_width}")
        if self.border not in get_args(Border):
            raise ValueError(f"border must be one of {get_args(Border)}, got {self.border!r}")
