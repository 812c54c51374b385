"""Stage `model`: a trained model of another run, unchanged."""

from collections.abc import Mapping
from functools import cached_property

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.contract.context import TrainContext
from pipeline.contract.stage import TrainStage
from pipeline.store.paths import UnsafePathError, check_name
from pipeline.store.records import CompleteSet, Done, Inputs, ShardResult, Task
from pipeline.store.store import Store
from stages.model.options import ModelParams


class Model(TrainStage[ModelParams]):
    """The newest model that a stage of another run trained, used here like a model that this run trained.

    It is copied into this run.
    """

    kind = "model"
    version = 1
    Params = ModelParams
    outputs = ("training",)

    def check(self) -> None:
        """Refuse a missing run or a missing stage name."""
        super().check()
        if not self.params.run or not self.params.of:
            raise UsageError(f"stage {self.name}: run (a run root) and of (the stage that trained there) are missing")
        try:
            check_name(self.params.of)
        except UnsafePathError as error:
            raise UsageError(f"stage {self.name}: of: {error}") from error

    def files(self) -> Mapping[str, str]:
        """The root of the other run, which a cluster may be able to read when this machine is not."""
        return {"run": self.params.run}

    def ingredients(self) -> Mapping[str, Json]:
        """Recipe and name of the training; empty where the other run cannot be read."""
        found = self._newest
        return {} if found is None else {"model": [found.recipe, found.name]}

    def rehearse(self, inputs: Inputs) -> None:
        """Refuse a run that trained no such stage."""
        self._model()

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """The two files of the model, and the log of its training. Raises UsageError for an invalid model."""
        from stages.vision.model_card import CARD, WEIGHTS, read_card

        store, done = Store(self.params.run), self._model()
        blobs = {name: store.blob(done, name) for name in (CARD, WEIGHTS)}
        try:
            read_card(blobs[CARD])
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {self.params.of} of {self.params.run}: {error}") from error
        return ShardResult({"training": store.table(done, "training")}, blobs)

    def _model(self) -> Done:
        """The shard of the other run that holds the model. Raises UsageError where there is none."""
        where = f"stage {self.name}: {self.params.run}"
        if self._newest is None:
            raise UsageError(f"{where} has no stage {self.params.of!r} that was completed")
        dones = list(self._newest.dones.values())
        if len(dones) != 1 or "training" not in dones[0].tables:
            raise UsageError(f"{where}: its stage {self.params.of!r} trained no model")
        return dones[0]

    @cached_property
    def _newest(self) -> CompleteSet | None:
        return self.checked(lambda: Store(self.params.run)).newest_set(self.params.of)
