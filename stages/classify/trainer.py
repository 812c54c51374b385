"""Training a classifier."""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from pipeline.base.errors import UsageError
from pipeline.contract.context import TrainContext
from pipeline.store.records import Done, ShardResult, Task
from pipeline.store.uploads import fetched
from pipeline.training.loop import Epoch, Training, train
from pipeline.training.step import Batch
from schemas import TABLES
from stages.bases.declared_classes import DECLARED, classes_of
from stages.classify.augment import Augmentation, augment
from stages.classify.options import ClassifyParams
from stages.classify.shown import shown
from stages.vision.backbones.build import build
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import input_size
from stages.vision.backbones.weights import Loaded, load_state, load_weights
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow, by_id
from stages.vision.memory_format import channels_last
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.models import read_weights, to_blobs
from stages.vision.tensor_normalisation import at_least_float32
from stages.vision.training.optimisers import groups
from stages.vision.training.setup import set_up, shuffled_batches

__all__ = ["ClassifyTrainer", "class_names"]

_HEAD = "classifier.weight"
_LOG = logging.getLogger("weakbox.classify")  # bare machines have no structlog


class ClassifyTrainer:
    """Trains the classifier of one stage on one rank. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: ClassifyParams) -> None:
        self.stage, self.params = stage, params

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch."""
        params = self.params
        parts = [context.table(done, "images", IMAGE_COLUMNS).to_pylist() for done in task.inputs["images"]]
        rows: list[ImageRow] = by_id([row for part in parts for row in part])
        classes = list(classes_of(task.shard.said.get(DECLARED)) or class_names(rows))
        trained = [row for row in rows if row["split"] == "train"]
        if not trained and params.epochs:
            raise UsageError(f"stage {self.stage}: no image is of split train")
        network = channels_last(self._network(classes, task.inputs.get("start", ()), context), context.device)
        size = params.input_size or shown(params).input_size or input_size(params.network)
        log = self._train(network, trained, size, context) if params.epochs else []
        said = network.preprocessing
        card = ModelCard("classify", params.network, tuple(classes), size, params.seed, preprocessing=said)
        table = TABLES["training"].from_rows([asdict(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(network, card))

    def _train(self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext) -> list[Epoch]:
        """Train the network in place; returns the log."""
        try:
            training = self.training(network, rows, size, context)
        except ValueError as error:
            raise UsageError(f"stage {self.stage}: {error}") from error
        return train(training, context)

    def _network(self, classes: list[str], start: tuple[Done, ...], context: TrainContext) -> LocalizerNetwork:
        """The network to begin with; what it did not find and what it left unused is logged."""
        params = self.params
        try:
            network = build(params.network, len(classes), params.seed)
            if start:
                loaded = self._started(network, classes, start[0], context)
            else:
                loaded = load_weights(network, fetched(params.weights), keep_head=params.keep_head)
                network.preprocessing = shown(params).preprocessing
        except (ValueError, ModuleNotFoundError, FileNotFoundError) as error:
            raise UsageError(f"stage {self.stage}: {error}") from error
        source = params.start or params.weights
        if loaded.fresh:
            _LOG.warning("%s: not in %s, starts fresh: %s", self.stage, source, ", ".join(loaded.fresh))
        if loaded.unused:
            _LOG.warning("%s: in %s, not used: %s", self.stage, source, ", ".join(loaded.unused))
        return network

    def _started(self, network: LocalizerNetwork, classes: list[str], done: Done, context: TrainContext) -> Loaded:
        """Fill the network from another classifier, its head too where it has the same classes and size."""
        try:
            card, state = read_card(context.blob(done, CARD)), read_weights(context.blob(done, WEIGHTS))
        except ValueError as error:
            raise UsageError(f"stage {self.stage}: start: {error}") from error
        if not card.classes:
            raise UsageError(f"stage {self.stage}: start: {self.params.start!r} is no classifier")
        same = list(card.classes) == classes
        if self.params.keep_head and not same:
            raise UsageError(f"stage {self.stage}: keep_head: the classes of {self.params.start!r} are others")
        network.preprocessing = card.preprocessing
        weight = state.get(_HEAD)
        fits = weight is not None and weight.shape == network.classifier.weight.shape
        return load_state(network, state, f"of {self.params.start!r}", self.params.keep_head or (same and fits))

    def training(self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext) -> Training:
        """What trains the network in place; size: side of its input, pixels. Raises ValueError as `divide`."""
        params = self.params
        said = network.preprocessing
        change = Augmentation(size, params.min_crop, params.flip, params.jitter, said.interpolation)

        def prepared(image: np.ndarray, row: ImageRow, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return augment(image, change, generator), row["label"]

        rate, decay = params.learning_rate, params.weight_decay
        body, head = network.trained_parameters()
        rates = [*groups(body, rate, decay), *groups(head, rate * params.head_rate, decay)]
        criterion = nn.CrossEntropyLoss(label_smoothing=params.label_smoothing)

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            value: torch.Tensor = criterion(at_least_float32(network(images)), labels)
            return value

        batches = shuffled_batches(rows, prepared, said, params.batch_size, params.chosen, context)
        return Training(network, loss, **vars(set_up(batches, rates, params.chosen)))


def class_names(rows: Sequence[ImageRow]) -> list[str]:
    """Class names by label. Labels without any image get an empty name."""
    names = {row["label"]: row["label_name"] for row in rows}
    return [names.get(label, "") for label in range(max(names, default=-1) + 1)]
