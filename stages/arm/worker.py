"""Affinity refinement of a batch of maps."""

from stages.arm.arm import refine
from stages.arm.options import ArmStageParams
from stages.bases.aligned_worker import AlignedWorker, Batch, Refined
from stages.vision.transfer import to_device

__all__ = ["ArmWorker"]


class ArmWorker(AlignedWorker[ArmStageParams]):
    """Refines all images of a batch at once."""

    kind = "arm"

    def refined(self, batch: Batch) -> Refined:
        """Refined maps, inverted (1 - map) where their low side holds more seeds."""
        pixels = to_device(batch.pixels, self.context.device).permute(0, 3, 1, 2).float()
        maps = refine(pixels, batch.maps, self.params.settings())
        return Refined(batch.turned(maps), [None] * len(maps))
