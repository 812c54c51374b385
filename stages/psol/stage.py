"""Stage `psol`: pseudo labels -> PSOL's class-agnostic box regressor (-Sep), trained on one box an image."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch
from torch import nn

from pipeline.epochs import Batch, Training, train
from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Inputs, Shard, ShardResult, Task, TrainContext, TrainStage, whole
from pipeline.store import Store
from schemas import TABLES
from stages.psol.augment import augment
from stages.psol.regressor import BoxRegressor, box_loss
from stages.vision.inference import PRECISIONS, ClassifierCache
from stages.vision.models import to_blobs
from stages.vision.optimisers import SCHEDULES, groups
from stages.vision.rows import IMAGE_COLUMNS, by_id
from stages.vision.stream import Row
from stages.vision.training import set_up, training_images

_BOX = "pseudo_box"


@dataclass(frozen=True)
class PsolParams:
    """Parameters of `psol`."""

    images: str = reads("images", "ingest", "the images")
    labels: str = reads("pseudo_labels", "boxes", "the pseudo boxes to train on")
    model: str = reads("model", "classify", "the network to start from: its features, not its classifier layer")
    pooling: int = option(1, "side of the grid the features are averaged to before the head; the paper: 1", at_least=1)
    input_size: int | None = option(None, "side of the network input, pixels; null: as the network was trained")
    epochs: int = option(6, "passes over the training images", at_least=1)
    batch_size: int = option(64, "images in one step and worker", at_least=1)
    learning_rate: float = option(1e-3, "peak learning rate of the features")
    head_rate: float = option(2.0, "factor on the learning rate of the head")
    weight_decay: float = option(5e-4, "weight decay")
    schedule: str = option(
        "constant", "one_cycle, cosine or constant (the paper's, for noisy labels)", choices=SCHEDULES
    )
    precision: str = option("float32", "float32 or bfloat16 (autocast)", choices=PRECISIONS)
    seed: int = option(0, "seed of the head's initial weights, order and augmentation")
    processes: int = option(0, "loading processes of a worker", resource=True)


class Psol(TrainStage):
    """Box regression on pseudo labels. Ground truth is never read; flagged fallback boxes are left out."""

    kind = "psol"
    version = 1
    Params = PsolParams
    outputs = ("training",)

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One training."""
        return whole(recipe, inputs)

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch."""
        (model,) = task.inputs["model"]
        start = ClassifierCache("cpu").get(model.key, lambda name: context.blob(model, name))
        rows = self._rows(task, context)
        size = self.params.input_size or start.card["input_size"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.params.seed)
            regressor = BoxRegressor(start.network.features, start.network.feature_dim, self.params.pooling)
        regressor = regressor.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        log = train(self._training(regressor, rows, size, context), context)
        card = {
            "method": "psol",
            "backbone": start.card["backbone"],
            "pooling": self.params.pooling,
            "input_size": size,
            "seed": self.params.seed,
            "labels": self.params.labels,
            "images": len(rows),
        }
        table = TABLES["training"].from_rows([vars(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(regressor, card))

    def _rows(self, task: Task, context: TrainContext) -> list[Row]:
        """Training images with their pseudo box."""
        usable = (pc.field("split") == "train") & pc.field("flag").is_null()
        boxes: dict[str, np.ndarray] = {}
        for done in task.inputs["labels"]:
            part = context.table(done, "pseudo_labels", ("image_id", "boxes"), usable)
            for row in part.to_pylist():
                best = row["boxes"][0]
                boxes[row["image_id"]] = np.array([best["x0"], best["y0"], best["x1"], best["y1"]])
        rows = [
            {**row, _BOX: boxes[row["image_id"]]}
            for done in task.inputs["images"]
            for row in context.table(done, "images", IMAGE_COLUMNS).to_pylist()
            if row["image_id"] in boxes
        ]
        if not rows:
            raise UsageError(f"stage {self.name}: {self.params.labels} has no pseudo box of a training image")
        return by_id(rows)

    def _training(self, regressor: BoxRegressor, rows: list[Row], size: int, context: TrainContext) -> Training:
        params: PsolParams = self.params

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            return augment(image, row[_BOX], size, generator)

        rate, decay = params.learning_rate, params.weight_decay
        chosen = [
            *groups(regressor.features.named_parameters(), rate, decay),
            *groups(regressor.head.named_parameters(), rate * params.head_rate, decay),
        ]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, targets = batch
            return box_loss(network(images), targets)

        batches = training_images(rows, prepared, params.batch_size, params, context)
        return Training(regressor, loss, **vars(set_up(batches, chosen, params)))
