"""Stage `arm`: score maps + images -> the maps at pixel resolution, fitted to the images' edges (LCAR)."""

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from stages.arm.options import ArmStageParams
from stages.bases.aligned import AlignedStage


class Arm(AlignedStage[ArmStageParams]):
    """Affinity refinement of any method's maps, min-maxed; their method becomes `<method>_arm`."""

    kind = "arm"
    version = 2
    Params = ArmStageParams

    def check(self) -> None:
        """Refuse settings outside their range, and dilations as large as the image."""
        super().check()
        found = self.checked(self.params.settings)
        if max(found.dilations) >= self.params.size:
            raise UsageError(f"stage {self.name}: dilations must be below the size, {self.params.size} pixels")

    def worker(self, context: Context) -> Worker:
        """A worker without set-up."""
        from stages.arm.worker import ArmWorker

        return ArmWorker(self.name, self.params, context)
