"""What a config may say of stage `arm`."""

from dataclasses import dataclass

from pipeline.base.params import option
from stages.arm.parameters import ArmParameters, Border
from stages.bases.aligned import AlignedParams

__all__ = ["ArmStageParams"]


@dataclass(frozen=True)
class ArmStageParams(AlignedParams):
    """Parameters of `arm`."""

    iterations: int = option(50, "number of spreading iterations")
    eta: float = option(0.1, "share of its own value that a pixel keeps in an iteration")
    color_width: float = option(1.0, "unit of color differences, in standard deviations of the neighbors (AFA: 0.3)")
    position_weight: float = option(0.01, "weight of the distance in pixels beside the difference in color")
    dilations: tuple[int, ...] = option((1,), "distances of the 8 neighbours, pixels (AFA: 1, 2, 4, 8, 12, 24)")
    border: Border = option("replicate", "padding of the image: replicate or reflect")

    def settings(self) -> ArmParameters:
        """Settings of the refinement. Raises: ValueError, see `ArmParameters`."""
        return ArmParameters(
            self.iterations, self.eta, self.position_weight, self.dilations, self.border, self.color_width
        )
