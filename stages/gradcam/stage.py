"""Stage `gradcam`: images + any network of the table -> score maps from gradients, in one forward and backward pass."""

from typing import TYPE_CHECKING

from pipeline.base.extras import require
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from stages.bases.model_stage import ModelMapStage
from stages.bases.planned_network import PlannedNetwork
from stages.gradcam.options import GradcamParams

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork


class Gradcam(ModelMapStage[GradcamParams]):
    """Grad-CAM and related methods at the resolution of any layer; needs the extra `weakbox[gradcam]`."""

    kind = "gradcam"
    version = 1
    Params = GradcamParams

    def check_network(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """Refuse a network without the layer, or whose classes do not depend on it."""
        tap = self.params.tap or network.tap_names.gradient_default
        network.tap_path(tap)
        if tap in network.tap_names.off:
            raise ValueError(f"the classes of {planned.backbone} do not depend on tap {tap!r}")

    def worker(self, context: Context) -> Worker:
        """A worker that loads the network at its first shard. Raises UsageError on a node without the package."""
        self.check_packages()
        from stages.gradcam.worker import GradcamWorker

        return GradcamWorker(self.name, self.params, context, self.loaders)

    def check_packages(self) -> None:
        """Refuse to compute without the extra that workers need. Raises UsageError."""
        require("pytorch_grad_cam", "grad-cam", "gradcam", f"stage {self.name}")
