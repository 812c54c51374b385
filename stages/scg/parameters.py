"""Settings of self-correlation map generating."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["PRESETS", "Normalisation", "Preset", "ScgParameters", "preset"]

Preset = Literal["cub", "ilsvrc"]

Normalisation = Literal["vgg", "paper"]


@dataclass(frozen=True)
class ScgParameters:
    """The thresholds, the order and the normalisation of SCG; the defaults are those of SPA's script for CUB.

    theta1: similarities below it are zero. theta2: entries of the high-order correlation below it are zero; with
    ``vgg``, whose columns sum to 1, below theta2 / (h w). omega: weight of the high order beside the first one.
    delta_h: positions whose CAM is at least delta_h are object. delta_l: those with at most delta_l are background.
    order: h of SC^h; 1 is the first order alone. normalisation: ``vgg`` divides columns by their sums (SPA's released
    code for VGG16), ``paper`` stretches them from 0 to 1 (equations 8 to 10, which have omega = 1 and both thetas 0).

    Raises: ValueError when delta_l > delta_h, order < 1, a theta or omega is negative, or for an unknown normalisation.
    """

    theta1: float = 0.1
    theta2: float = 0.5
    omega: float = 2.0
    delta_h: float = 0.1
    delta_l: float = 0.05
    order: int = 2
    normalisation: Normalisation = "vgg"

    def __post_init__(self) -> None:
        if not self.delta_l <= self.delta_h:
            raise ValueError(f"delta_l must not exceed delta_h, got {self.delta_l} and {self.delta_h}")
        if self.order < 1:
            raise ValueError(f"order must be at least 1, got {self.order}")
        if not all(value >= 0 for value in (self.theta1, self.theta2, self.omega)):
            raise ValueError(f"theta1, theta2, omega must not be negative: {self.theta1}, {self.theta2}, {self.omega}")
        if self.normalisation not in get_args(Normalisation):
            raise ValueError(f"normalisation must be one of {get_args(Normalisation)}, got {self.normalisation!r}")


PRESETS: Mapping[Preset, ScgParameters] = {
    "cub": ScgParameters(),
    "ilsvrc": ScgParameters(theta1=0.2, theta2=0.2, omega=1.0),
}
"""The values of SPA's scripts for VGG16, by data set."""
_INCEPTION = ScgParameters(theta1=0.0, theta2=0.0, omega=1.0, normalisation="paper")


def preset(name: Preset, backbone: str) -> ScgParameters:
    """SPA's settings of SCG for a data set and a backbone.

    Inception networks have the equations of the paper (8 to 10), on either data set: their scripts were not released,
    and no other values for them are known.
    """
    return _INCEPTION if "inception" in backbone else PRESETS[name]
