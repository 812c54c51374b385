"""Stage `scg`: score maps + images + a network -> the maps sharpened by self-correlation (SPA's second stage)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from stages.bases.model_stage import ModelStage
from stages.bases.planned_network import PlannedNetwork
from stages.bases.refinement import RefinementStage
from stages.scg.options import ScgStageParams
from stages.vision.backbones.registry import input_size
from stages.vision.precision import precision_ingredients

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork


class Scg(RefinementStage[ScgStageParams], ModelStage[ScgStageParams]):
    """Self-correlation map generating on any method's maps; their method becomes `<method>_scg`."""

    kind = "scg"
    version = 3
    Params = ScgStageParams

    def check(self) -> None:
        """Refuse settings that contradict each other."""
        super().check()
        self.checked(lambda: self.params.settings(""))

    def ingredients(self) -> Mapping[str, Json]:
        """Whether batch norms are folded: it changes the rounding of 16-bit networks."""
        return precision_ingredients(self.params.precision)

    def check_network(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """Refuse a network without the layers, or whose layers differ in their grids."""
        from stages.scg.taps import check_grids

        check_grids(network, self.params.taps, planned.input_size or input_size(planned.backbone))

    def worker(self, context: Context) -> Worker:
        """A worker that loads the network at its first shard."""
        from stages.scg.worker import ScgWorker

        return ScgWorker(self.name, self.params, context, self.loaders)
