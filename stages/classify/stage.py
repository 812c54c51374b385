"""Stage `classify`: images -> a classifier, trained from scratch or from given weights."""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fsspec.implementations.local import LocalFileSystem
from torch import nn

from pipeline.epochs import Batch, Training, train
from pipeline.errors import UsageError
from pipeline.files import open_filesystem, retrying
from pipeline.params import option, reads
from pipeline.stage import Done, Inputs, Shard, ShardResult, Task, TrainContext, TrainStage, shard_key, whole
from pipeline.store import Store
from schemas import TABLES
from stages.classify.augment import Augmentation, augment
from stages.vision.backbones import (
    Loaded,
    LocalizerNetwork,
    WeightsError,
    backbone,
    build,
    is_file,
    load_state,
    load_weights,
)
from stages.vision.inference import PRECISIONS
from stages.vision.models import CARD, WEIGHTS, read_card, to_blobs
from stages.vision.optimisers import SCHEDULES, groups
from stages.vision.rows import IMAGE_COLUMNS, by_id
from stages.vision.stream import Row
from stages.vision.tensor_bytes import load
from stages.vision.training import set_up, training_images

_LABEL = "label"
_SCRATCH = "scratch"
_HEAD = "classifier.weight"
_TAGS = ("ETag", "etag", "md5Hash", "checksum", "contentMd5", "content_md5", "Content-MD5", "Digest", "crc32c")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created")
"""What file systems call a digest of the content and, where they have none, the time of the last write."""
_LOG = logging.getLogger("weakbox.classify")  # bare machines have no structlog


@dataclass(frozen=True)
class ClassifyParams:
    """Parameters of `classify`."""

    images: str = reads("images", "ingest", "the images")
    backbone: str = option("smallnet", "name of the network, see docs/backbones.md, or timm:<vision transformer>")
    start: str | None = reads("model", None, "classifier whose network the training starts from, in place of weights")
    weights: str = option(
        _SCRATCH, "scratch, a torchvision weights name, timm:<name>, or a .safetensors / .pth file or URI"
    )
    keep_head: bool = option(
        False, "take the classifier layer from the weights too (same classes, same order); `start` does so where it can"
    )
    input_size: int | None = option(None, "side of the network input, pixels; null: the backbone's own", at_least=1)
    epochs: int = option(10, "passes over the training images; 0 takes the weights as they are", at_least=0)
    batch_size: int = option(64, "images in one step and worker", at_least=1)
    learning_rate: float = option(0.1, "peak learning rate")
    head_rate: float = option(1.0, "factor on the learning rate of the classifier layer and the head's convolutions")
    weight_decay: float = option(5e-4, "weight decay")
    schedule: str = option("one_cycle", "one_cycle, cosine or constant", choices=SCHEDULES)
    label_smoothing: float = option(0.0, "label smoothing of the cross-entropy")
    min_crop: float = option(1.0, "smallest area of the random resized crop, fraction of the image; 1: no crop")
    flip: bool = option(False, "mirror half of the images")
    jitter: float = option(0.0, "largest change of brightness and contrast, fraction")
    clip_norm: float | None = option(None, "largest norm of the gradients together; null: any", at_least=0)
    precision: str = option("float32", "float32 or bfloat16 (autocast)", choices=PRECISIONS)
    seed: int = option(0, "seed of initial weights, order and augmentation")
    refit: str = option(
        "on_growth",
        "on_growth: train again when images are added; never: keep the first model",
        choices=("on_growth", "never"),
    )
    processes: int = option(0, "loading processes of a worker", resource=True)


class Classify(TrainStage):
    """Cross-entropy training of any network of the table."""

    kind = "classify"
    version = 2
    Params = ClassifyParams
    outputs = ("training",)

    def check(self) -> None:
        """Refuse an unknown network, and two origins of the weights."""
        super().check()
        try:
            backbone(self.params.backbone)
        except (ValueError, ModuleNotFoundError) as error:
            raise UsageError(f"stage {self.name}: {error}") from error
        if self.params.start is not None and self.params.weights != _SCRATCH:
            raise UsageError(f"stage {self.name}: start and weights exclude each other: leave one of them out")

    def ingredients(self) -> Mapping[str, Any]:
        """The content of a weights file, and which network the backbone's name stands for."""
        file = _content_of(self.params.weights) if is_file(self.params.weights) else None
        version = backbone(self.params.backbone).version
        return {
            **({"weights_file": file} if file is not None else {}),
            **({"network": version} if version > 1 else {}),
        }

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
        network = self._network(classes, task.inputs.get("start", ()), context)
        size = params.input_size or backbone(params.backbone).input_size
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

    def _network(self, classes: list[str], start: tuple[Done, ...], context: TrainContext) -> LocalizerNetwork:
        """The network to begin with; what it did not find and what it left unused is logged."""
        params: ClassifyParams = self.params
        try:
            network = build(params.backbone, len(classes), params.seed)
            if start:
                loaded = self._started(network, classes, start[0], context)
            else:
                loaded = load_weights(network, params.weights, keep_head=params.keep_head)
        except (WeightsError, ModuleNotFoundError) as error:
            raise UsageError(f"stage {self.name}: {error}") from error
        source = params.start or params.weights
        if loaded.fresh:
            _LOG.warning("%s: not in %s, starts fresh: %s", self.name, source, ", ".join(loaded.fresh))
        if loaded.unused:
            _LOG.warning("%s: in %s, not used: %s", self.name, source, ", ".join(loaded.unused))
        return network

    def _started(self, network: LocalizerNetwork, classes: list[str], done: Done, context: TrainContext) -> Loaded:
        """Fill the network from another classifier, its head too where it has the same classes and size."""
        card, state = read_card(context.blob(done, CARD)), load(context.blob(done, WEIGHTS))
        if "classes" not in card:
            raise UsageError(f"stage {self.name}: start: {self.params.start!r} is no classifier")
        same = card["classes"] == classes
        if self.params.keep_head and not same:
            raise UsageError(f"stage {self.name}: keep_head: the classes of {self.params.start!r} are others")
        weight = state.get(_HEAD)
        fits = weight is not None and weight.shape == network.classifier.weight.shape
        return load_state(network, state, f"of {self.params.start!r}", self.params.keep_head or (same and fits))

    def _training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        params: ClassifyParams = self.params
        change = Augmentation(size, params.min_crop, params.flip, params.jitter)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return augment(image, change, generator), row[_LABEL]

        rate, decay = params.learning_rate, params.weight_decay
        body, head = network.trained_parameters()
        chosen = [*groups(body, rate, decay), *groups(head, rate * params.head_rate, decay)]
        criterion = nn.CrossEntropyLoss(label_smoothing=params.label_smoothing)

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            value: torch.Tensor = criterion(network(images).float(), labels)
            return value

        batches = training_images(rows, prepared, params.batch_size, params, context)
        return Training(network, loss, **vars(set_up(batches, chosen, params)))


def class_names(rows: list[Row]) -> list[str]:
    """Class names by label. Labels without any image get an empty name."""
    names = {row[_LABEL]: row["label_name"] for row in rows}
    return [names.get(label, "") for label in range(max(names, default=-1) + 1)]


def _content_of(source: str) -> str | dict[str, Any] | None:
    """SHA-256 of a local file; size and tag of a remote one, which is not fetched; None for one that is missing."""
    filesystem, path = open_filesystem(source)
    if isinstance(filesystem, LocalFileSystem):
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    try:
        info = retrying(lambda: filesystem.info(path))
    except FileNotFoundError:
        return None
    tag = next((str(info[name]) for name in (*_TAGS, *_TIMES) if info.get(name) is not None), None)
    if tag is None:
        raise UsageError(f"weights {source}: the storage tells neither a digest nor a time of writing; copy them first")
    return {"bytes": info["size"], "tag": tag}
