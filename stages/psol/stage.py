"""Stage `psol`: pseudo labels -> PSOL's box regressor, trained on one box an image, alone or beside a classifier."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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
from stages.psol.labels import EMPTY, FLAGGED, LABEL_COLUMNS, NO_QUALITY, QUALITIES, chosen, quality_weights
from stages.psol.presets import DROPS, JOINT, SCHEDULES, SEP, TRAININGS, VARIANTS
from stages.psol.regressor import BoxRegressor, box_loss
from stages.vision.backbones import MapsItself
from stages.vision.inference import PRECISIONS, Classifier
from stages.vision.models import CARD, WEIGHTS, classifier_network, read_card, to_blobs
from stages.vision.optimisers import STEPPED_SCHEDULES, groups
from stages.vision.rows import IMAGE_COLUMNS, by_id
from stages.vision.stream import Row
from stages.vision.training import set_up, training_images

_BOX, _WEIGHT = "pseudo_box", "pseudo_box_weight"
_UNLABELLED = "unlabelled"
_LOG = logging.getLogger("weakbox.psol")  # bare machines have no structlog


@dataclass(frozen=True)
class PsolParams:
    """Parameters of `psol`."""

    images: str = reads("images", "ingest", "the images")
    labels: str = reads("pseudo_labels", "boxes", "the pseudo boxes to train on")
    model: str = reads("model", "classify", "the classifier to start from; sep: without its last layer, of any classes")
    variant: str = option(SEP, "sep: boxes alone; joint: classes too, by the classifier's own layer", choices=VARIANTS)
    preset: str = option("paper", "the training whose values stand for null below", choices=tuple(TRAININGS))
    quality: str = option(
        NO_QUALITY, "what a pseudo box counts in proportion to: none, contrast or score", choices=QUALITIES
    )
    pooling: int = option(
        1, "side of the grid the features are averaged to before the branch; the paper: 1", at_least=1
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    test_crop: float = option(
        1.0, "side of the centre crop that localize shows the network, fraction of the image; the paper: 0.875"
    )
    epochs: int | None = option(None, "passes over the training images; null: the preset's", at_least=1)
    batch_size: int | None = option(None, "images in one step and worker; null: the preset's", at_least=1)
    learning_rate: float | None = option(
        None, "peak learning rate of the network; null: the preset's, reference: 1e-3 for steps of 256 images"
    )
    head_rate: float | None = option(None, "factor on the learning rate of the branch; null: the preset's")
    weight_decay: float | None = option(None, "weight decay; null: the preset's", at_least=0)
    loss_weight: float | None = option(None, "of the boxes' mean squared error; null: the preset's", at_least=0)
    class_weight: float = option(1.0, "joint: of the cross-entropy", at_least=0)
    schedule: str | None = option(
        None,
        f"one of {', '.join(STEPPED_SCHEDULES)}; null: constant (sep, for noisy labels) or steps (joint)",
        choices=STEPPED_SCHEDULES,
    )
    drops: tuple[float, ...] | None = option(
        None, "steps: fractions of the training after which the rate falls to a tenth; null: each third"
    )
    clip_norm: float | None = option(None, "largest norm of the gradients together; null: any", at_least=0)
    precision: str = option("float32", "float32 or bfloat16 (autocast)", choices=PRECISIONS)
    seed: int = option(0, "seed of the branch's initial weights, order and augmentation")
    processes: int = option(0, "loading processes of a worker", resource=True)


class Psol(TrainStage):
    """Box regression on pseudo labels. Ground truth is never read; flagged fallback boxes are left out."""

    kind = "psol"
    version = 2
    Params = PsolParams
    outputs = ("training",)

    def check(self) -> None:
        """Refuse drops that fall outside the training or are never taken, and a crop larger than the image."""
        super().check()
        params: PsolParams = self.params
        if not all(0 < drop < 1 for drop in params.drops or ()):
            raise UsageError(f"stage {self.name}: drops must lie between 0 and 1, not {list(params.drops or ())}")
        if params.drops is not None and filled(params).schedule != "steps":
            raise UsageError(f"stage {self.name}: drops belong to schedule steps, not {filled(params).schedule}")
        if not 0 < params.test_crop <= 1:
            raise UsageError(f"stage {self.name}: test_crop must be above 0 and at most 1, not {params.test_crop:g}")

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One training."""
        return whole(recipe, inputs)

    def fit(self, task: Task, context: TrainContext) -> ShardResult:
        """Train, and keep the network of the last epoch. Raises UsageError for labels or a model that do not fit."""
        params: PsolParams = self.params
        try:
            rows, said = self._rows(task, context)
            start = self._start(task, rows, context)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(params.seed)
                regressor = BoxRegressor(start.network, params.pooling, params.variant == JOINT)
        except ValueError as error:
            raise UsageError(f"stage {self.name}: {error}") from error
        regressor = regressor.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        size = params.input_size or start.card["input_size"]
        log = train(self.training(regressor, rows, size, context), context)
        card = {
            "method": self.kind,
            "variant": params.variant,
            "backbone": start.card["backbone"],
            "pooling": params.pooling,
            "input_size": size,
            "test_crop": params.test_crop,
            "seed": params.seed,
            "labels": params.labels,
            "quality": params.quality,
            **said,
        }
        if params.variant == JOINT:
            card |= {"num_classes": start.card["num_classes"], "class_names": start.card["classes"]}
        table = TABLES["training"].from_rows([vars(epoch) for epoch in log])
        return ShardResult({"training": table}, to_blobs(regressor, card))

    def _rows(self, task: Task, context: TrainContext) -> tuple[list[Row], dict[str, Any]]:
        """Training images with their pseudo box and its weight, and what the card says of those left out."""
        params: PsolParams = self.params
        of_train = pc.field("split") == "train"
        parts = (context.table(done, "pseudo_labels", LABEL_COLUMNS, of_train) for done in task.inputs["labels"])
        labels = chosen((row for part in parts for row in part.to_pylist()), params.quality)
        rows: list[Row] = []
        unlabelled = 0
        for done in task.inputs["images"]:
            for row in context.table(done, "images", IMAGE_COLUMNS, of_train).to_pylist():
                name = row["image_id"]
                if name in labels.boxes:
                    rows.append({**row, _BOX: labels.boxes[name], _WEIGHT: labels.quality[name]})
                unlabelled += name not in labels.boxes and name not in labels.left_out
        if not rows:
            raise ValueError(f"{params.labels} has no pseudo box of a training image")
        reasons = Counter(labels.left_out.values())
        left_out = {FLAGGED: reasons[FLAGGED], EMPTY: reasons[EMPTY], _UNLABELLED: unlabelled}
        if any(left_out.values()) and context.rank == 0:
            counts = ", ".join(f"{number} {reason}" for reason, number in left_out.items() if number)
            _LOG.warning("%s: training images without a usable box in %s: %s", self.name, params.labels, counts)
        return self._weighted(by_id(rows)), {"images": len(rows), "whole_image": labels.whole, "left_out": left_out}

    def _weighted(self, rows: list[Row]) -> list[Row]:
        """The rows with weights in place of qualities."""
        if self.params.quality == NO_QUALITY:
            return [{**row, _WEIGHT: 1.0} for row in rows]
        try:
            weights = quality_weights([row[_WEIGHT] for row in rows])
        except ValueError as error:
            raise ValueError(f"quality {self.params.quality} of {self.params.labels}: {error}") from error
        return [{**row, _WEIGHT: weight} for row, weight in zip(rows, weights.tolist(), strict=True)]

    def _start(self, task: Task, rows: list[Row], context: TrainContext) -> Classifier:
        """The classifier to start from; that of -Joint must know the images' classes."""
        (model,) = task.inputs["model"]
        card = read_card(context.blob(model, CARD))
        if "classes" not in card:
            raise ValueError(f"{self.params.model!r} is no classifier")
        start = Classifier(classifier_network(card, context.blob(model, WEIGHTS)), card)
        if isinstance(start.network, MapsItself):
            raise ValueError(f"{self.params.model!r} has more parts than a classifier: start from another model")
        if self.params.variant == JOINT:
            start.check_labels(rows)
        return start

    def training(self, regressor: BoxRegressor, rows: list[Row], size: int, context: TrainContext) -> Training:
        """What trains the regressor in place. An image has six targets: x, y, width, height, weight, class."""
        params = filled(self.params, context.world_size)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            pixels, target = augment(image, row[_BOX], size, generator)
            return pixels, np.append(target, (row[_WEIGHT], row["label"])).astype(np.float32)

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, targets = batch
            boxes, logits = network(images)
            of_boxes = params.loss_weight * box_loss(boxes, targets[:, :4], targets[:, 4])
            if logits is None:
                return of_boxes
            return of_boxes + params.class_weight * nn.functional.cross_entropy(logits.float(), targets[:, 5].long())

        rate, decay = params.learning_rate, params.weight_decay
        trained = [(name, value) for name, value in regressor.network.named_parameters() if value.requires_grad]
        rates = [
            *groups(trained, rate, decay),
            *groups(regressor.branch.named_parameters(), rate * params.head_rate, decay),
        ]
        batches = training_images(rows, prepared, params.batch_size, params, context)
        return Training(regressor, loss, **vars(set_up(batches, rates, params, params.drops)))


def filled(params: PsolParams, workers: int = 1) -> Any:
    """The parameters with the values of preset and variant in place of null."""
    preset = TRAININGS[params.preset]
    batch_size = preset.batch_size if params.batch_size is None else params.batch_size
    values: Mapping[str, Any] = {
        "epochs": preset.epochs,
        "batch_size": batch_size,
        "learning_rate": preset.rate(batch_size * workers),
        "head_rate": preset.head_rate,
        "weight_decay": preset.weight_decay,
        "loss_weight": preset.loss_weight,
        "schedule": SCHEDULES[params.variant],
        "drops": DROPS,
    }
    return replace(params, **{name: value for name, value in values.items() if getattr(params, name) is None})
