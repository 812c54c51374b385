"""Stage `cam`: images + a classifier -> score maps of each image's own class."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from stages.bases.model_stage import ModelMapStage
from stages.bases.planned_network import PlannedNetwork
from stages.cam.options import CamParams
from stages.vision.precision import precision_ingredients

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork


class Cam(ModelMapStage[CamParams]):
    """Class activation maps at feature resolution."""

    kind = "cam"
    version = 2
    Params = CamParams

    def ingredients(self) -> Mapping[str, Json]:
        """Whether batch norms are folded: it changes the rounding of 16-bit networks."""
        return precision_ingredients(self.params.precision)

    def check_network(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """Refuse a classifier without CAM; a model of a localizer was checked by the localizer."""
        from stages.cam.worker import check_network

        if planned.is_plain:
            check_network(self.params, network, "classify")

    def worker(self, context: Context) -> Worker:
        """A worker that loads the classifier at its first shard."""
        from stages.cam.worker import CamWorker

        return CamWorker(self.name, self.params, context, self.loaders)
