"""Stage `psol`: pseudo labels -> PSOL's box regressor, trained on one box an image, alone or beside a classifier."""

from pipeline.base.errors import UsageError
from pipeline.contract.context import TrainContext
from pipeline.contract.stage import TrainStage
from pipeline.store.records import ShardResult, Task
from stages.psol.options import PsolParams


class Psol(TrainStage[PsolParams]):
    """Box regression on pseudo labels. Ground truth is never read; flagged fallback boxes are left out."""

    kind = "psol"
    version = 3
    Params = PsolParams
    outputs = ("training",)

    def check(self) -> None:
        """Refuse drops that fall outside the training or are never taken, and a crop larger than the image."""
        super().check()
        params, schedule = self.params, self.params.filled().chosen.schedule
        if not all(0 < drop < 1 for drop in params.drops or ()):
            raise UsageError(f"stage {self.name}: drops must lie between 0 and 1, not {list(params.drops or ())}")
        if params.drops is not None and schedule != "steps":
            raise UsageError(f"stage {self.name}: drops belong to schedule steps, not {schedule}")
        if not 0 < params.test_crop <= 1:
            raise UsageError(f"stage {self.name}: test_crop must be above 0 and at most 1, not {params.test_crop:g}")

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch. Raises UsageError for labels or a model that do not fit."""
        from stages.psol.trainer import PsolTrainer

        return PsolTrainer(self.name, self.params).fit(task, context)
