"""Settings of self-guided re-prediction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["PRESETS", "Preset", "SgrmParameters", "SuperpixelParameters"]

Preset = Literal["cub", "ilsvrc"]


@dataclass(frozen=True)
class SgrmParameters:
    """Thresholds, weights and stop rule of SGRM; the defaults are LCAR's for CUB.

    low1, high1: pixels below and above are reliable background and object (equation 12). low2, high2: the same for
    means over superpixels. positive_weight, negative_weight: w1 and w2 of equation 15. superpixel_weight: w3 of
    equation 16.
    learning_rate, momentum: of SGD. iterations: the most. min_iterations: the fewest; 1 is the paper's.
    error: it ends below this share of wrong reliable pixels. balanced: that share is the mean of those of object and
    background; false: of all reliable pixels together, as in the paper, where a small object that is missed altogether
    can be below it. channels: of the network's two hidden layers, which the paper leaves open.

    Raises: ValueError for thresholds that are not in order or not in [0, 1], and counts or weights outside their range.
    """

    low1: float = 0.1
    high1: float = 0.6
    low2: float = 0.1
    high2: float = 0.4
    positive_weight: float = 2.0
    negative_weight: float = 0.1
    superpixel_weight: float = 0.1
    learning_rate: float = 0.05
    momentum: float = 0.9
    iterations: int = 200
    min_iterations: int = 20
    error: float = 0.1
    balanced: bool = True
    channels: int = 100

    def __post_init__(self) -> None:
        for low, high in (("low1", "high1"), ("low2", "high2")):
            below, above = getattr(self, low), getattr(self, high)
            if not below <= above:
                raise ValueError(f"{low} must not exceed {high}, got {below} and {above}")
            if below < 0 or above > 1:
                raise ValueError(f"{low} and {high} must be in [0, 1], got {below} and {above}")
        for name in ("positive_weight", "negative_weight", "superpixel_weight", "error"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, and finite, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, and finite, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if not 1 <= self.min_iterations <= self.iterations:
            raise ValueError(
                f"min_iterations must be in 1 .. iterations, got {self.min_iterations} and {self.iterations}"
            )
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")


@dataclass(frozen=True)
class SuperpixelParameters:
    """Felzenszwalb and Huttenlocher's segmentation, which LCAR uses without saying how.

    scale: larger gives larger superpixels (k of the paper, for intensities from 0 to 255). sigma: of the smoothing
    before, pixels. min_size: smaller ones are joined to a neighbour, pixels.

    Raises: ValueError for a negative sigma, a scale that is not above 0, or a min_size below 1.
    """

    scale: float = 32.0
    sigma: float = 0.5
    min_size: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be above 0, and finite, got {self.scale}")
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"sigma must be 0 or more, and finite, got {self.sigma}")
        if self.min_size < 1:
            raise ValueError(f"min_size must be at least 1, got {self.min_size}")


PRESETS: Mapping[Preset, SgrmParameters] = {"cub": SgrmParameters(), "ilsvrc": SgrmParameters(high2=0.6)}
"""The values of LCAR's paper, by data set."""
