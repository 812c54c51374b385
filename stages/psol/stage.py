"""Stage `psol`: pseudo labels -> PSOL's box regressor, trained on one box an image, alone or beside a classifier."""

from typing import TYPE_CHECKING

from pipeline.base.errors import UsageError
from pipeline.contract.context import TrainContext
from pipeline.contract.stage import TrainStage
from pipeline.store.records import Inputs, ShardResult, Task
from stages.bases.drops import check_drops
from stages.bases.planned_network import planned_network, try_network
from stages.bases.splits import check_trained
from stages.psol.options import PsolParams

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork


class Psol(TrainStage[PsolParams]):
    """Box regression on pseudo labels. Ground truth is never read; flagged fallback boxes are left out."""

    kind = "psol"
    version = 4
    Params = PsolParams
    outputs = ("training",)

    def check(self) -> None:
        """Refuse drops that fall outside the training or are never taken."""
        super().check()
        params, schedule = self.params, self.params.filled().chosen.schedule
        check_drops(self.name, params.drops or ())
        if params.drops is not None and schedule != "steps":
            raise UsageError(f"stage {self.name}: drops belong to schedule steps, not {schedule}")

    def rehearse(self, inputs: Inputs) -> None:
        """Refuse a pooling or an input size that the network does not support."""
        planned = planned_network(inputs["model"][0])
        if planned is not None:
            planned = planned._replace(input_size=self.params.input_size or planned.input_size)
            try_network(self, planned, self._check_network)

    def check_data(self, inputs: Inputs) -> None:
        """Refuse images or pseudo labels of which none is of split train."""
        (images,), (labels,) = inputs["images"], inputs["labels"]
        check_trained(self.name, images)
        check_trained(self.name, labels)

    def _check_network(self, network: "LocalizerNetwork") -> None:
        from stages.psol.regressor import BoxRegressor

        BoxRegressor(network, self.params.pooling, self.params.variant == "joint")

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch. Raises UsageError for labels or a model that do not fit."""
        from stages.psol.trainer import PsolTrainer

        return PsolTrainer(self.name, self.params).fit(task, context)
