"""Training a classifier."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from pipeline.base.errors import UsageError
from pipeline.contract.context import TrainContext
from pipeline.store.records import Done, ShardResult, Task
from pipeline.store.uploads import fetched
from pipeline.training.gathered_pass import gathered_pass
from pipeline.training.loop import Epoch, Training, train
from pipeline.training.step import Batch
from schemas import TABLES
from stages.bases.declared_classes import DECLARED, classes_of
from stages.classify.augment import Augmentation, augment
from stages.classify.features import FeatureBatches
from stages.classify.options import ClassifyParams
from stages.classify.parameters import check_classes, check_feature_memory
from stages.classify.shown import shown
from stages.vision.backbones.build import build
from stages.vision.backbones.last_block import freeze_below, quieten_frozen
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.registry import input_size
from stages.vision.backbones.weight_names import SCRATCH
from stages.vision.backbones.weights import Loaded, load_state, load_weights
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow, by_id
from stages.vision.memory_format import channels_last
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, Said, read_card
from stages.vision.models import read_weights, to_blobs
from stages.vision.tensor_normalisation import at_least_float32
from stages.vision.training.optimisers import groups
from stages.vision.training.setup import set_up, shuffled_batches

__all__ = ["ClassifyTrainer", "class_names"]

T = TypeVar("T")

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
        log, about = self._trained(network, trained, size, context)
        said = network.preprocessing
        card = ModelCard("classify", params.network, tuple(classes), size, params.seed, about=about, preprocessing=said)
        table = TABLES["training"].from_rows([asdict(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(network, card))

    def _trained(
        self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext
    ) -> tuple[list[Epoch], Mapping[str, Said]]:
        """Train the chosen part of the network in place; returns the log, and what the card says of the training."""
        train = self.params.train
        if train != "all" and self.params.weights == SCRATCH and self.params.start is None:
            _LOG.warning("%s: train: %s keeps layers that nothing has trained: give it weights", self.stage, train)
        if train == "head":
            return self._fit_head(network, rows, size, context)
        if train == "last_block":
            freeze_below(network)
        log = self._train(network, rows, size, context) if self.params.epochs else []
        return log, {} if train == "all" else {"train": train}

    def _fit_head(
        self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext
    ) -> tuple[list[Epoch], Mapping[str, Said]]:
        """Fit the classifier layer on rank 0, to the features of all images, which the ranks compute together."""
        from stages.classify.head_fit import fit_head  # bare machines have no scikit-learn

        params, layer = self.params, network.classifier
        self._checked(partial(check_classes, sorted({row["label_name"] for row in rows})))
        self._checked(partial(check_feature_memory, len(rows), layer.in_features))
        bfloat16 = params.precision == "bfloat16"
        batches = FeatureBatches(network, rows, size, context, params.processes, bfloat16=bfloat16)
        found = gathered_pass(batches, len(batches), context)
        if found is None:
            return [], {}
        features = found.flatten(0, 1)[: len(rows)].numpy()
        labels = np.array([row["label"] for row in rows])
        fitted = self._checked(partial(fit_head, features, labels, layer.out_features, params.seed))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(fitted.weight))
            layer.bias.copy_(torch.from_numpy(fitted.bias))
        about: dict[str, Said] = {"train": "head", "strength": fitted.strength, "folds": fitted.folds}
        return [Epoch(1, fitted.loss, len(rows), 0.0)], {**about, "log_loss": fitted.loss}

    def _checked(self, make: Callable[[], T]) -> T:
        """What `make` gives; a ValueError becomes a UsageError that names the stage."""
        try:
            return make()
        except ValueError as error:
            raise UsageError(f"stage {self.stage}: {error}") from error

    def _train(self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext) -> list[Epoch]:
        """Train the network in place; returns the log."""
        return train(self._checked(partial(self.training, network, rows, size, context)), context)

    def _network(self, classes: list[str], start: tuple[Done, ...], context: TrainContext) -> LocalizerNetwork:
        """The network with its starting weights; logs layers that the weights lack, and weights left unused."""
        params = self.params
        try:
            network = build(params.network, len(classes), params.seed)
            if start:
                loaded = self._started(network, classes, start[0], context)
            else:
                loaded = load_weights(network, fetched(params.weights), keep_head=params.keep_head, classes=classes)
                network.preprocessing = shown(params).preprocessing
        except (ValueError, ModuleNotFoundError, FileNotFoundError) as error:
            raise UsageError(f"stage {self.stage}: {error}") from error
        source = params.start or params.weights
        is_trained = params.train == "head" or params.epochs > 0
        expected = not start and is_trained and set(loaded.fresh) == {"classifier"}  # a published head knows others
        if loaded.fresh:
            _LOG.log(_level(expected), "%s: not in %s, starts fresh: %s", self.stage, source, ", ".join(loaded.fresh))
        if loaded.unused:
            _LOG.log(
                _level(expected and len(loaded.unused) == 1),
                "%s: in %s, not used: %s",
                self.stage,
                source,
                ", ".join(loaded.unused),
            )
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
        """The training of the network in place; size: side of its input, pixels. Raises ValueError as `divide`."""
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
        begin = (lambda epoch: quieten_frozen(network)) if params.train == "last_block" else None
        return Training(network, loss, begin=begin, **vars(set_up(batches, rates, params.chosen, params.drops)))


def class_names(rows: Sequence[ImageRow]) -> list[str]:
    """Class names by label. Labels without any image get an empty name."""
    names = {row["label"]: row["label_name"] for row in rows}
    return [names.get(label, "") for label in range(max(names, default=-1) + 1)]


def _level(expected: bool) -> int:
    return logging.INFO if expected else logging.WARNING
