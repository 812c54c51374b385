"""Stage `gradcam`: images + any network of the table -> score maps from gradients. A pass forth and back a batch."""

from collections.abc import Sequence

from pipeline.base.extras import require
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from pipeline.store.records import Shard
from pipeline.store.store import Store
from stages.bases.model_stage import ModelMapStage
from stages.gradcam.options import GradcamParams


class Gradcam(ModelMapStage[GradcamParams]):
    """Grad-CAM and its kin at the resolution of any layer; needs the extra `weakbox[gradcam]`."""

    kind = "gradcam"
    version = 1
    Params = GradcamParams

    def prepare(self, recipe: str, shards: Sequence[Shard], store: Store) -> None:
        """Refuse to start without the package. Raises UsageError."""
        self._require_package()

    def worker(self, context: Context) -> Worker:
        """Loads the network at its first shard. Raises UsageError on a node without the package."""
        self._require_package()
        from stages.gradcam.worker import GradcamWorker

        return GradcamWorker(self.name, self.params, context, self.loaders)

    def _require_package(self) -> None:
        require("pytorch_grad_cam", "grad-cam", "gradcam", f"stage {self.name}")
