"""Trains a localizer: from the classifier that it starts from to the final network and its card."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import ClassVar, Generic, TypeVar

from pipeline.base.errors import UsageError
from pipeline.contract.context import TrainContext
from pipeline.store.records import ShardResult, Task
from pipeline.training.loop import Training, train
from schemas import TABLES
from stages.bases.localizer import FineTuningParams, LocalizerParams
from stages.bases.planned_network import PlannedNetwork
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow
from stages.vision.model_card import Said
from stages.vision.models import to_blobs
from stages.vision.training.setup import check_cam, starting_classifier, training_rows

__all__ = ["LocalizerTrainer", "PlainLocalizerTrainer"]

L = TypeVar("L", bound=LocalizerParams)
F = TypeVar("F", bound=FineTuningParams)
N = TypeVar("N", bound=LocalizerNetwork)


class LocalizerTrainer(ABC, Generic[L, N]):
    """Trains one method. stage: the stage's name in the run. kind: the stage's kind.

    needs_cam: whether CAM must be defined for the start classifier.
    """

    needs_cam: ClassVar[bool] = True

    def __init__(self, stage: str, kind: str, params: L) -> None:
        self.stage, self.kind, self.params = stage, kind, params

    @property
    def method(self) -> str:
        """The method's name on cards and in tables."""
        return self.kind

    @abstractmethod
    def network(self, start: LocalizerNetwork) -> N:
        """The network to train, built from the start classifier's."""

    @abstractmethod
    def training(self, network: N, rows: list[ImageRow], size: int, context: TrainContext) -> Training:
        """The training of the network in place; size: side of its input, pixels. Raises ValueError for unfit data."""

    def parts(self, network: N) -> Mapping[str, Said]:
        """What the card must hold to build the network again; empty for a classifier's own network."""
        return {}

    def check(self, network: LocalizerNetwork, planned: PlannedNetwork) -> None:
        """Refuse a start network without CAM where it is needed, or of a form that the method does not support."""
        if self.needs_cam and planned.is_plain:
            check_cam(network)
        self.network(network)

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train; the result is the network of the last epoch. Raises UsageError for data or a model that do not fit."""
        params = self.params
        (model,) = task.inputs["model"]
        try:
            rows = training_rows(context.table(done, "images", IMAGE_COLUMNS) for done in task.inputs["images"])
            blob = partial(context.blob, model)
            start = starting_classifier(params.model, blob, rows, context.device, needs_cam=self.needs_cam)
            size = params.input_size or start.card.input_size
            network = self.network(start.network)
            network.preprocessing = start.card.preprocessing
            training = self.training(network, rows, size, context)
        except ValueError as error:
            raise UsageError(f"stage {self.stage}: {error}") from error
        log = train(training, context)
        card = replace(
            start.card,
            method=self.method,
            input_size=size,
            seed=params.seed,
            parts=self.parts(network),
            about={"start": params.model},
        )
        table = TABLES["training"].from_rows([asdict(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(network, card))


class PlainLocalizerTrainer(LocalizerTrainer[F, LocalizerNetwork]):
    """Trains the classifier's own network, with a learning rate for each kind of parameter."""

    def check(self, network: LocalizerNetwork, planned: PlannedNetwork) -> None:
        """Also refuse `head_taps` that the network does not have."""
        super().check(network, planned)
        network.trained_parameters(self.params.head_taps)

    def network(self, start: LocalizerNetwork) -> LocalizerNetwork:
        """The classifier's network itself."""
        return start
