"""What the trained localizers share: they start from a classifier of the same classes, and end as one."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pipeline.epochs import Training, train
from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Inputs, Shard, ShardResult, Task, TrainContext, TrainStage, whole
from pipeline.store import Store
from schemas import TABLES
from stages.vision.backbones import LocalizerNetwork, MapsItself
from stages.vision.inference import PRECISIONS
from stages.vision.models import to_blobs
from stages.vision.optimisers import STEPPED_SCHEDULES, Rates
from stages.vision.rows import IMAGE_COLUMNS
from stages.vision.stream import Row
from stages.vision.training import starting_classifier, training_rows


@dataclass(frozen=True)
class LocalizerParams:
    """Parameters that every localizer has."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the classifier to start from, trained on the same classes")
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the classifier was trained", at_least=1
    )
    crop: float = option(0.875, "side of the random crop, fraction of the image's; 1: no crop")
    mirror: bool = option(True, "mirror half of the images")
    clip_norm: float | None = option(None, "largest norm of the gradients together; null: any", at_least=0)
    precision: str = option("float32", "float32 or bfloat16 (autocast)", choices=PRECISIONS)
    seed: int = option(0, "seed of order, views, fresh weights and whatever the method draws")
    processes: int = option(0, "loading processes of a worker", resource=True)


@dataclass(frozen=True)
class FineTuningParams(LocalizerParams):
    """Parameters of the localizers that train the whole network, its four kinds of parameters at their own rates."""

    learning_rate: float = option(1e-3, "peak learning rate of the features' weights")
    head_rate: float = option(10.0, "factor on the learning rate of head, classifier and side branches")
    bias_rate: float = option(2.0, "factor on the learning rate of biases")
    weight_decay: float = option(5e-4, "weight decay")
    decay_biases: bool = option(True, "weight decay of biases and normalisations too")
    schedule: str = option("steps", f"one of {', '.join(STEPPED_SCHEDULES)}", choices=STEPPED_SCHEDULES)

    @property
    def rates(self) -> Rates:
        """Rates and decay of the four kinds."""
        return Rates(self.learning_rate, self.head_rate, self.bias_rate, self.weight_decay, self.decay_biases)


class LocalizerStage(TrainStage):
    """A training whose artifact is a classifier's, of method `kind`, so that cam and localize take it as one.

    Its parameters are `LocalizerParams`.
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
