"""Stage `classify`: images -> a classifier, trained from scratch or from given weights."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.epochs import Batch, Training, train
from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Inputs, Shard, ShardResult, Task, TrainContext, TrainStage, shard_key, whole
from pipeline.store import Store
from schemas import TABLES
from stages.classify.augment import Augmentation, augment
from stages.vision.backbones import BACKBONES, LocalizerNetwork, WeightsError, build, load_weights
from stages.vision.inference import PRECISIONS
from stages.vision.models import to_blobs
from stages.vision.optimisers import SCHEDULES, groups, schedule, sgd
from stages.vision.rows import IMAGE_COLUMNS, by_id
from stages.vision.stream import Row
from stages.vision.training_images import TrainingImages

_LABEL = "label"


@dataclass(frozen=True)
class ClassifyParams:
    """Parameters of `classify`."""

    images: str = reads("images", "ingest", "the images")
    backbone: str = option("smallnet", "name of the network, see stages/vision/backbones", choices=tuple(BACKBONES))
    weights: str = option("scratch", "scratch, a torchvision weights name, or a .safetensors / .pth file")
    keep_head: bool = option(False, "take the classifier layer from the weights too (same classes, same order)")
    input_size: int | None = option(None, "side of the network input, pixels; null: the backbone's own")
    epochs: int = option(10, "passes over the training images; 0 takes the weights as they are", at_least=0)
    batch_size: int = option(64, "images in one step and worker", at_least=1)
    learning_rate: float = option(0.1, "peak learning rate")
    head_rate: float = option(1.0, "factor on the learning rate of the classifier layer")
    weight_decay: float = option(5e-4, "weight decay")
    schedule: str = option("one_cycle", "one_cycle, cosine or constant", choices=SCHEDULES)
    label_smoothing: float = option(0.0, "label smoothing of the cross-entropy")
    min_crop: float = option(1.0, "smallest area of the random resized crop, fraction of the image; 1: no crop")
    flip: bool = option(False, "mirror half of the images")
    jitter: float = option(0.0, "largest change of brightness and contrast, fraction")
    precision: str = option("float32", "float32 or bfloat16 (autocast)", choices=PRECISIONS)
    seed: int = option(0, "seed of initial weights, order and augmentation")
    refit: str = option(
        "on_growth",
        "on_growth: train again when images are added; never: keep the first model",
        choices=("on_growth", "never"),
    )
    processes: int = option(0, "loading processes of a worker", resource=True)


class Classify(TrainStage):
    """Cross-entropy training of a network with GAP and one linear layer."""

    kind = "classify"
    version = 1
    Params = ClassifyParams
    outputs = ("training",)

    def ingredients(self) -> Mapping[str, Any]:
        """The content of a local weights file."""
        path = self.params.weights
        if not os.path.isfile(path):
            return {}
        with open(path, "rb") as file:
            return {"weights_file": hashlib.file_digest(file, "sha256").hexdigest()}

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One training; under `refit: never` its key does not depend on the images."""
        (shard,) = whole(recipe, inputs)
        if self.params.refit == "never":
            return [Shard(key=shard_key(recipe, {}, {"refit": "never"}), inputs=shard.inputs)]
        return [shard]

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch."""
        params: ClassifyParams = self.params
        parts = [context.table(done, "images", IMAGE_COLUMNS).to_pylist() for done in task.inputs["images"]]
        rows = by_id([row for part in parts for row in part])
        classes = class_names(rows)
        trained = [row for row in rows if row["split"] == "train"]
        if not trained and params.epochs:
            raise UsageError(f"stage {self.name}: no image is of split train")
        network = build(params.backbone, len(classes), params.seed)
        try:
            load_weights(network, params.weights, keep_head=params.keep_head)
        except WeightsError as error:
            raise UsageError(f"stage {self.name}: {error}") from error
        size = params.input_size or BACKBONES[params.backbone].input_size
        network = network.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        log = train(self._training(network, trained, size, context), context) if params.epochs else []
        card = {
            "method": "classify",
            "backbone": params.backbone,
            "num_classes": len(classes),
            "classes": classes,
            "input_size": size,
            "seed": params.seed,
        }
        table = TABLES["training"].from_rows([vars(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(network, card))

    def _training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        params: ClassifyParams = self.params
        change = Augmentation(size, params.min_crop, params.flip, params.jitter)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return augment(image, change, generator), row[_LABEL]

        batches = TrainingImages(
            rows,
            context.read,
            prepared,
            params.batch_size,
            params.seed,
            rank=context.rank,
            world_size=context.world_size,
            processes=params.processes,
        )
        rate = params.learning_rate
        optimizer = sgd(
            [
                *groups(network.features.named_parameters(), rate, params.weight_decay),
                *groups(network.classifier.named_parameters(), rate * params.head_rate, params.weight_decay),
            ]
        )
        criterion = nn.CrossEntropyLoss(label_smoothing=params.label_smoothing)

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            value: torch.Tensor = criterion(network(images).float(), labels)
            return value

        steps = batches.batches_an_epoch * params.epochs
        return Training(
            network,
            loss,
            batches,
            optimizer,
            schedule(params.schedule, optimizer, steps),
            params.epochs,
            params.seed,
            params.precision,
        )


def class_names(rows: list[Row]) -> list[str]:
    """Class names by label. Labels without any image get an empty name."""
    names = {row[_LABEL]: row["label_name"] for row in rows}
    return [names.get(label, "") for label in range(max(names, default=-1) + 1)]
