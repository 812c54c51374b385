"""Training the box regressor on pseudo boxes."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

import numpy as np
import pyarrow.compute as pc
import torch
from torch import nn

from pipeline.base.errors import UsageError
from pipeline.contract.context import TrainContext
from pipeline.store.records import ShardResult, Task
from pipeline.training.loop import Training, train
from pipeline.training.step import Batch
from schemas import TABLES
from stages.psol.augment import augment
from stages.psol.labels import EMPTY, FLAGGED, LOW, chosen, label_columns, quality_weights
from stages.psol.options import PsolParams
from stages.psol.parameters import POOLING, VARIANT
from stages.psol.regressor import BoxRegressor, box_loss
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow, by_id
from stages.vision.inference import Classifier
from stages.vision.memory_format import channels_last
from stages.vision.model_card import WEIGHTS, ModelCard, Said
from stages.vision.models import plain_network, to_blobs
from stages.vision.tensor_normalisation import at_least_float32
from stages.vision.training.optimisers import groups
from stages.vision.training.setup import read_classifier_card, set_up, shuffled_batches

__all__ = ["BoxedImage", "PsolTrainer"]

_UNLABELLED = "unlabelled"
_LOG = logging.getLogger("weakbox.psol")  # bare machines have no structlog


class BoxedImage(ImageRow):
    """A training image with its pseudo box (4,) in pixels, and how much it counts."""

    pseudo_box: np.ndarray
    weight: float


class PsolTrainer:
    """Trains the regressor of one stage on one rank. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: PsolParams) -> None:
        self.stage, self.params = stage, params

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch. Raises UsageError for labels or a model that do not fit."""
        params = self.params
        try:
            rows, said = self._rows(task, context)
            start = self._start(task, rows, context)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(params.seed)
                regressor = BoxRegressor(start.network, params.pooling, params.variant == "joint")
        except ValueError as error:
            raise UsageError(f"stage {self.stage}: {error}") from error
        regressor = channels_last(regressor, context.device)
        size = params.input_size or start.card.input_size
        try:
            training = self.training(regressor, rows, size, context)
        except ValueError as error:
            raise UsageError(f"stage {self.stage}: {error}") from error
        log = train(training, context)
        card = ModelCard(
            method="psol",
            backbone=start.card.backbone,
            classes=start.card.classes if params.variant == "joint" else (),
            input_size=size,
            seed=params.seed,
            parts={VARIANT: params.variant, POOLING: params.pooling},
            preprocessing=start.card.preprocessing,
            about={"labels": params.labels, "quality": params.quality, **said},
        )
        table = TABLES["training"].from_rows([asdict(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(regressor, card))

    def _rows(self, task: Task, context: TrainContext) -> tuple[list[BoxedImage], Mapping[str, Said]]:
        """Training images with their pseudo box and its weight, and what the card says of the labels left out."""
        params = self.params
        of_train = pc.field("split") == "train"
        columns = label_columns(params.quality, params.min_quality)
        parts = (context.table(done, "pseudo_labels", columns, of_train) for done in task.inputs["labels"])
        labels = chosen((row for part in parts for row in part.to_pylist()), params.quality, params.min_quality)
        rows: list[BoxedImage] = []
        unlabelled = 0
        for done in task.inputs["images"]:
            images: list[ImageRow] = context.table(done, "images", IMAGE_COLUMNS, of_train).to_pylist()
            for row in images:
                name = row["image_id"]
                if name in labels.boxes:
                    rows.append({**row, "pseudo_box": labels.boxes[name], "weight": labels.quality[name]})
                unlabelled += name not in labels.boxes and name not in labels.left_out
        if not rows:
            raise ValueError(f"{params.labels} has no pseudo box of a training image")
        reasons = Counter(labels.left_out.values())
        left_out = {FLAGGED: reasons[FLAGGED], EMPTY: reasons[EMPTY], _UNLABELLED: unlabelled}
        if params.min_quality is not None:
            left_out[LOW] = reasons[LOW]
        if any(left_out.values()) and context.rank == 0:
            counts = ", ".join(f"{number} {reason}" for reason, number in left_out.items() if number)
            _LOG.warning("%s: training images without a usable box in %s: %s", self.stage, params.labels, counts)
        return self._weighted(by_id(rows)), {"images": len(rows), "whole_image": labels.whole, "left_out": left_out}

    def _weighted(self, rows: list[BoxedImage]) -> list[BoxedImage]:
        """The rows with weights in place of qualities."""
        if self.params.quality == "none":
            return [{**row, "weight": 1.0} for row in rows]
        try:
            weights = quality_weights([row["weight"] for row in rows])
        except ValueError as error:
            lacking = self.params.quality == "quality" and not any(row["weight"] >= 0 for row in rows)
            hint = "; a consensus has some, once its stage quality is fitted to true boxes" if lacking else ""
            said = f"{self.params.quality} of the boxes of {self.params.labels} as weight: {error}{hint}"
            raise ValueError(said) from error
        return [{**row, "weight": weight} for row, weight in zip(rows, weights.tolist(), strict=True)]

    def _start(self, task: Task, rows: list[BoxedImage], context: TrainContext) -> Classifier:
        """The classifier to start from; that of -Joint must know the images' classes."""
        (model,) = task.inputs["model"]
        blob = partial(context.blob, model)
        card = read_classifier_card(self.params.model, blob)
        start = Classifier(plain_network(card, blob(WEIGHTS)), card)
        if self.params.variant == "joint":
            card.check_labels(rows)
        return start

    def training(self, regressor: BoxRegressor, rows: list[BoxedImage], size: int, context: TrainContext) -> Training:
        """The training of the regressor in place. An image has six targets: x, y, width, height, weight, class.

        Raises: ValueError as `divide`.
        """
        params, filled = self.params, self.params.filled()
        preprocessing = regressor.network.preprocessing

        def prepared(
            image: np.ndarray, row: BoxedImage, generator: np.random.Generator
        ) -> tuple[np.ndarray, np.ndarray]:
            pixels, target = augment(image, row["pseudo_box"], size, preprocessing.interpolation, generator)
            return pixels, np.append(target, (row["weight"], row["label"])).astype(np.float32)

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, targets = batch
            boxes, logits = network(images)
            of_boxes = filled.loss_weight * box_loss(boxes, targets[:, :4], targets[:, 4])
            if logits is None:
                return of_boxes
            return of_boxes + params.class_weight * nn.functional.cross_entropy(
                at_least_float32(logits), targets[:, 5].long()
            )

        rate, decay = filled.learning_rate, filled.weight_decay
        trained = [(name, value) for name, value in regressor.network.named_parameters() if value.requires_grad]
        rates = [
            *groups(trained, rate, decay),
            *groups(regressor.branch.named_parameters(), rate * filled.head_rate, decay),
        ]
        batches = shuffled_batches(rows, prepared, preprocessing, filled.batch_size, filled.chosen, context)
        return Training(regressor, loss, **vars(set_up(batches, rates, filled.chosen, filled.drops)))
