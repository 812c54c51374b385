"""Shared base of the trained localizers: each starts from a classifier and is a classifier of the same classes."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from pipeline.base.params import option, reads
from pipeline.contract.context import TrainContext
from pipeline.contract.stage import TrainStage
from pipeline.store.records import Inputs, ShardResult, Task
from stages.bases.planned_network import PlannedNetwork, planned_network, try_network
from stages.bases.splits import check_trained
from stages.vision.precision import Precision
from stages.vision.training.parameters import SCHEDULES, Chosen, Rates, Schedule

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["FineTuningParams", "LocalizerParams", "LocalizerStage", "Trainer"]


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
    clip_norm: float | None = option(None, "largest norm of all gradients together; null: no clipping", at_least=0)
    precision: Precision = option("float32", "float32 or bfloat16 (autocast)")
    seed: int = option(0, "seed of image order, views, fresh weights and the method's random draws")
    processes: int = option(0, "loading processes of a worker", resource=True)


@dataclass(frozen=True)
class FineTuningParams(LocalizerParams):
    """Parameters of localizers that train the whole network, with a learning rate for each kind of parameter."""

    learning_rate: float = option(1e-3, "peak learning rate of the features' weights")
    head_rate: float = option(10.0, "factor on the learning rate of head, classifier and side branches")
    head_taps: tuple[str, ...] = option(
        (), "layers below the head that get its rate too (wsolevaluation's ResNet50: layer4)"
    )
    bias_rate: float = option(2.0, "factor on the learning rate of biases")
    weight_decay: float = option(5e-4, "weight decay")
    decay_biases: bool = option(True, "weight decay of biases and normalisations too")
    schedule: Schedule = option("steps", f"one of {', '.join(SCHEDULES)}")

    @property
    def rates(self) -> Rates:
        """Learning rates and weight decay of the four kinds of parameters."""
        return Rates(self.learning_rate, self.head_rate, self.bias_rate, self.weight_decay, self.decay_biases)

    def chosen(self, epochs: int) -> Chosen:
        """Settings of a training of `epochs` epochs."""
        return Chosen(epochs, self.schedule, self.seed, self.precision, self.clip_norm, self.processes)


class Trainer(Protocol):
    """Trains a localizer."""

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train; the result is the network of the last epoch."""

    def check(self, network: "LocalizerNetwork", planned: PlannedNetwork) -> None:
        """Refuse a start network, given on torch's meta device, that does not fit. Raises ValueError."""


L = TypeVar("L", bound=LocalizerParams, covariant=True)


class LocalizerStage(TrainStage[L]):
    """A training whose artifact is a classifier, so that `cam` and `localize` can read it."""

    outputs = ("training",)

    def rehearse(self, inputs: Inputs) -> None:
        """Refuse a network that the method cannot train, and an input size that it does not take."""
        planned = planned_network(inputs["model"][0])
        if planned is None:
            return
        planned = planned._replace(input_size=self.params.input_size or planned.input_size)
        try_network(self, planned, lambda network: self.trainer().check(network, planned))

    def check_data(self, inputs: Inputs) -> None:
        """Refuse images of which none is of split train."""
        check_trained(self.name, inputs["images"][0])

    @abstractmethod
    def trainer(self) -> Trainer:
        """The trainer of the method; importing it imports torch."""

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train. Raises UsageError for data or a model that do not fit."""
        return self.trainer().fit(task, context)
