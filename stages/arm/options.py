"""What a config may say of stage `arm`."""

from dataclasses import dataclass

from pipeline.base.params import option
from stages.arm.parameters import ArmParameters, Border
from stages.bases.aligned import AlignedParams

__all__ = ["ArmStageParams"]


@dataclass(frozen=True)
class ArmStageParams(AlignedParams):
    """Parameters of `arm`."""

    iterations: int = option(50, "times that the map spreads")
    eta: float = option(0.1, "share of its own value that a pixel keeps each time")
    color_width: float = option(1.0, "neighbourhood deviations that color differences are measured in (AFA: 0.3)")
    position_weight: float = option(0.01, "weight of nearness beside likeness in color")
    dilations: tuple[int, ...] = option((1,), "distances of the 8 neighbours, pixels (AFA: 1, 2, 4, 8, 12, 24)")
    border: Border = option("replicate", "what stands for pixels outside the image")

    def settings(self) -> ArmParameters:
        """The same as settings of the mathematics. Raises: ValueError, see `ArmParameters`."""
        return ArmParameters(
            self.iterations, self.eta, self.position_weight, self.dilations, self.border, self.color_width
        )
