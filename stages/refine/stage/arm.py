"""Stage `arm`: score maps + images -> the maps at pixel resolution, fitted to the images' edges (LCAR)."""

from dataclasses import dataclass
from typing import get_args

from pipeline.errors import UsageError
from pipeline.params import option
from pipeline.stage import Context
from stages.refine.arm import ArmParameters, Border, refine
from stages.refine.stage.aligned import AlignedParams, AlignedStage, AlignedWorker, Batch, Refined
from stages.vision.transfer import to_device


@dataclass(frozen=True)
class ArmStageParams(AlignedParams):
    """Parameters of `arm`."""

    iterations: int = option(50, "times that the map spreads")
    eta: float = option(0.1, "share of its own value that a pixel keeps each time")
    color_width: float = option(1.0, "neighbourhood deviations that color differences are measured in (AFA: 0.3)")
    position_weight: float = option(0.01, "weight of nearness beside likeness in color")
    dilations: tuple[int, ...] = option((1,), "distances of the 8 neighbours, pixels (AFA: 1, 2, 4, 8, 12, 24)")
    border: str = option("replicate", "what stands for pixels outside the image", choices=get_args(Border))


class Arm(AlignedStage):
    """Affinity refinement of any method's maps, min-maxed; their method becomes `<method>_arm`."""

    kind = "arm"
    version = 2
    Params = ArmStageParams

    def check(self) -> None:
        """Refuse settings outside their range, and neighbours beyond the image."""
        super().check()
        try:
            found = settings(self.params)
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error
        if max(found.dilations) >= self.params.size:
            raise UsageError(f"stage {self.name}: dilations must be below the size, {self.params.size} pixels")

    def worker(self, context: Context) -> "_ArmWorker":
        """Needs no set-up."""
        return _ArmWorker(self.name, self.kind, self.params, context)


def settings(params: ArmStageParams) -> ArmParameters:
    """As the mathematics wants them. Raises: ValueError, see `ArmParameters`."""
    border: Border = "reflect" if params.border == "reflect" else "replicate"
    return ArmParameters(
        params.iterations, params.eta, params.position_weight, params.dilations, border, params.color_width
    )


class _ArmWorker(AlignedWorker):
    def refined(self, batch: Batch) -> Refined:
        pixels = to_device(batch.pixels, self.context.device).permute(0, 3, 1, 2).float()
        maps = refine(pixels, batch.maps, settings(self.params))
        return Refined(batch.turned(maps), [None] * len(maps))
