"""Stage `sdcam`: a frozen vision transformer + images -> a classifier whose maps give LCAR its seeds (SD-CAM)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from pipeline.epochs import Batch, Training
from pipeline.errors import UsageError
from pipeline.params import option
from pipeline.stage import TrainContext
from stages.bases.localizer import LocalizerParams, LocalizerStage
from stages.sdcam.distillation import sdcam_loss
from stages.sdcam.heads import Heads
from stages.sdcam.presets import TEACHERS, TRAININGS
from stages.sdcam.warm_up import warm_up_cosine
from stages.vision.backbones import LocalizerNetwork, TaughtNetwork
from stages.vision.optimisers import sgd
from stages.vision.stream import Row
from stages.vision.training import training_images
from stages.vision.views import View, random_view

_BATCH = 256
"""Images in a step that learning rates are given for."""


@dataclass(frozen=True)
class SdcamParams(LocalizerParams):
    """Parameters of `sdcam`."""

    preset: str = option("cub", "the paper's data set whose values stand for null below", choices=tuple(TRAININGS))
    teacher: str | None = option(
        None, "mlp: a hidden layer with GELU and a linear one; linear: that alone; null: the preset's", choices=TEACHERS
    )
    hidden: int | None = option(None, "mlp: width of the hidden layer; null: that of what it reads", at_least=1)
    alpha: float = option(0.3, "weight of the student's cross-entropy; its distillation has the rest", at_least=0)
    temperature: float = option(3.0, "T, of both heads in the distillation")
    epochs: int | None = option(None, "passes over the training images; null: the preset's", at_least=1)
    batch_size: int = option(256, "images in one step and worker", at_least=1)
    learning_rate: float | None = option(
        None, "peak rate at 256 images in a step of all workers, and in proportion to them; null: the preset's"
    )
    weight_decay: float | None = option(None, "weight decay, of biases too; null: the preset's", at_least=0)
    warm_up: float | None = option(
        None, "fraction of the training in which the rate rises; then it falls by a cosine; null: the preset's"
    )


class Sdcam(LocalizerStage):
    """SD-CAM: stage `cam` takes the student's maps, stage `localize` the teacher's classes."""

    kind = "sdcam"
    version = 1
    Params = SdcamParams
    needs_cam = False

    def check(self) -> None:
        """Refuse weights of more than the whole loss, no temperature, and a rate that never falls."""
        super().check()
        chosen = filled(self.params)
        demands = {
            f"alpha must be at most 1, not {chosen.alpha:g}": chosen.alpha <= 1,
            f"temperature must be above 0, not {chosen.temperature:g}": chosen.temperature > 0,
            f"warm_up must be at least 0 and below 1, not {chosen.warm_up:g}": 0 <= chosen.warm_up < 1,
            "hidden needs teacher: mlp": chosen.hidden is None or chosen.teacher == "mlp",
        }
        for demand, met in demands.items():
            if not met:
                raise UsageError(f"stage {self.name}: {demand}")

    def network(self, start: LocalizerNetwork) -> TaughtNetwork:
        """The transformer with its linear layer as the student, and a fresh teacher."""
        chosen = filled(self.params)
        hidden = (chosen.hidden or 2 * start.feature_dim) if chosen.teacher == "mlp" else 0
        return TaughtNetwork(start, hidden, chosen.seed)

    def card(self, network: LocalizerNetwork) -> dict[str, Any]:
        """The teacher's form: the width of its hidden layer, 0 where it has none."""
        return {**super().card(network), "teacher_hidden": network.hidden}

    def training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        """Both heads together, over a transformer that stays as it is."""
        if not isinstance(network, TaughtNetwork):
            raise ValueError("the network has no teacher")
        chosen = filled(self.params)
        view = View(size, chosen.crop, mirror=chosen.mirror)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(heads: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            with torch.no_grad():
                summaries = network.summary(images)
            teacher, student = heads(summaries)
            return sdcam_loss(student, teacher, labels, chosen.alpha, chosen.temperature)

        heads = Heads(network)
        batches = training_images(rows, prepared, chosen.batch_size, chosen, context)
        rate = chosen.learning_rate * chosen.batch_size * context.world_size / _BATCH
        optimizer = sgd([{"params": list(heads.parameters()), "lr": rate, "weight_decay": chosen.weight_decay}])
        steps = batches.batches_an_epoch * chosen.epochs
        schedule = LambdaLR(optimizer, partial(warm_up_cosine, steps=steps, warm_up=chosen.warm_up))
        return Training(
            heads,
            loss,
            batches,
            optimizer,
            schedule,
            chosen.epochs,
            chosen.seed,
            precision=chosen.precision,
            clip_norm=chosen.clip_norm,
        )


def filled(params: SdcamParams) -> Any:
    """The parameters with the preset's values in place of null."""
    preset = TRAININGS[params.preset]
    return replace(params, **{name: value for name, value in vars(preset).items() if getattr(params, name) is None})
