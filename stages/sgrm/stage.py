"""Stage `sgrm`: score maps + images -> masks, by a network trained on each image alone (LCAR's last step)."""

from pipeline.base.extras import require
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from stages.bases.aligned import AlignedStage
from stages.sgrm.options import SgrmStageParams


class Sgrm(AlignedStage[SgrmStageParams]):
    """Self-guided re-prediction from any method's maps; their method becomes `<method>_sgrm`. Needs `weakbox[lcar]`."""

    kind = "sgrm"
    version = 2
    Params = SgrmStageParams

    def check(self) -> None:
        """Refuse settings that contradict each other."""
        super().check()
        self.checked(self.params.settings)
        self.checked(self.params.superpixel_settings)

    def worker(self, context: Context) -> Worker:
        """A worker without set-up. Raises UsageError on a node without scikit-image."""
        self.check_packages()
        from stages.sgrm.worker import SgrmWorker

        return SgrmWorker(self.name, self.params, context)

    def check_packages(self) -> None:
        """Refuse to compute without the extra that workers need. Raises UsageError."""
        require("skimage", "scikit-image", "lcar", f"stage {self.name}")
