"""What the trained localizers share: they start from a classifier of the same classes, and end as one."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from pipeline.epochs import Training, train
from pipeline.errors import UsageError
from pipeline.stage import Inputs, Shard, ShardResult, Task, TrainContext, TrainStage, whole
from pipeline.store import Store
from schemas import TABLES
from stages.vision.backbones import LocalizerNetwork, MapsItself
from stages.vision.models import to_blobs
from stages.vision.rows import IMAGE_COLUMNS
from stages.vision.stream import Row
from stages.vision.training import starting_classifier, training_rows


class LocalizerStage(TrainStage):
    """A training whose artifact is a classifier's, of method `kind`, so that cam and localize take it as one.

    Its parameters have `images`, `model`, `input_size` and `seed`.
    """

    outputs = ("training",)
    needs_cam: ClassVar[bool] = True
    """Whether CAM must be defined for the classifier that it starts from."""

    @abstractmethod
    def training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        """What trains the network in place; size: side of its input, pixels. Raises ValueError for unfit data."""

    def network(self, start: LocalizerNetwork) -> LocalizerNetwork:
        """The network that is trained and kept, made of the classifier's: itself, where a method needs no other."""
        return start

    def card(self, network: LocalizerNetwork) -> dict[str, Any]:
        """What the card says of this method: its name, and what it takes to build the network again."""
        return {"method": self.kind}

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One training."""
        return whole(recipe, inputs)

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch. Raises UsageError for data or a model that do not fit."""
        params = self.params
        (model,) = task.inputs["model"]
        try:
            rows = training_rows(context.table(done, "images", IMAGE_COLUMNS) for done in task.inputs["images"])
            blob = partial(context.blob, model)
            start = starting_classifier(params.model, blob, rows, context.device, needs_cam=self.needs_cam)
            if isinstance(start.network, MapsItself):
                raise ValueError(f"{params.model!r} has more parts than a classifier: start from another model")
            size = params.input_size or start.card["input_size"]
            network = self.network(start.network)
            training = self.training(network, rows, size, context)
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error
        log = train(training, context)
        card = {**start.card, **self.card(network), "input_size": size, "seed": params.seed, "start": params.model}
        table = TABLES["training"].from_rows([vars(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(network, card))

    def check_drops(self, drops: Sequence[float]) -> None:
        """Refuse drops of the learning rate outside the training."""
        if not all(0 < drop < 1 for drop in drops):
            raise UsageError(f"stage {self.name}: drops must lie between 0 and 1, not {list(drops)}")
