"""Stage `gradcam`: images + any network of the table -> score maps from gradients. A pass forth and back a batch."""

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
    """Grad-CAM and its kin at the resolution of any layer; needs the extra `weakbox[gradcam]`."""

    kind = "gradcam"
    version = 1
    Params = GradcamParams

    def check_network(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """The network must have the layer, and its classes depend on it."""
        tap = self.params.tap or network.tap_names.gradient_default
        network.tap_path(tap)
        if tap in network.tap_names.off:
            raise ValueError(f"the classes of {planned.backbone} do not depend on tap {tap!r}")

    def worker(self, context: Context) -> Worker:
        """Loads the network at its first shard. Raises UsageError on a node without the package."""
        self.check_packages()
        from stages.gradcam.worker import GradcamWorker

        return GradcamWorker(self.name, self.params, context, self.loaders)

    def check_packages(self) -> None:
        """Its workers need an extra. Raises UsageError."""
        require("pytorch_grad_cam", "grad-cam", "gradcam", f"stage {self.name}")
