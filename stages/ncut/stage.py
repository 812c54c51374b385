"""Stage `ncut`: images + a network -> score maps of the foreground. Forward passes are batched, cuts are not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.contract.stage import Worker
from stages.bases.model_stage import ModelMapStage
from stages.bases.planned_network import PlannedNetwork
from stages.ncut.options import NcutParams
from stages.vision.precision import precision_ingredients

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork


class Ncut(ModelMapStage[NcutParams]):
    """TokenCut's maps, positive on the foreground; component seed, cut at absolute 0 on the grid, gives its boxes."""

    kind = "ncut"
    version = 2
    Params = NcutParams

    def check(self) -> None:
        """Refuse settings of the graph outside their range."""
        super().check()
        self.checked(self.params.cut_parameters)

    def ingredients(self) -> Mapping[str, Json]:
        """Whether batch norms are folded: it changes the rounding of 16-bit networks."""
        return precision_ingredients(self.params.precision)

    def check_network(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """Refuse a network without the layer."""
        network.tap_path(self.params.tap_of(network.tap_names))

    def worker(self, context: Context) -> Worker:
        """A worker that loads the network at its first shard."""
        from stages.ncut.worker import NcutWorker

        return NcutWorker(self.name, self.params, context, self.loaders)
