"""Stage `sgrm`: score maps + images -> masks, by a network trained on each image alone (LCAR's last step)."""

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from stages.bases.aligned import AlignedStage
from stages.sgrm.options import SgrmStageParams


class Sgrm(AlignedStage[SgrmStageParams]):
    """Self-guided re-prediction from any method's maps; their method becomes `<method>_sgrm`."""

    kind = "sgrm"
    version = 2
    Params = SgrmStageParams

    def check(self) -> None:
        """Refuse settings that contradict each other."""
        super().check()
        try:
            self.params.settings()
            self.params.superpixel_settings()
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.sgrm.worker import SgrmWorker

        return SgrmWorker(self.name, self.params, context)
