"""Training of both heads together, over a frozen transformer."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from pipeline.contract.context import TrainContext
from pipeline.training.loop import Training
from pipeline.training.step import Batch
from stages.bases.localizer_trainer import LocalizerTrainer
from stages.sdcam.distillation import sdcam_loss
from stages.sdcam.heads import Heads
from stages.sdcam.options import SdcamParams
from stages.sdcam.teacher_student import HIDDEN, TeacherStudentNetwork
from stages.sdcam.warm_up import warm_up_cosine
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_rows import ImageRow
from stages.vision.model_card import Said
from stages.vision.training.optimisers import sgd
from stages.vision.training.parameters import Chosen
from stages.vision.training.setup import shuffled_batches
from stages.vision.training.views import View, random_view

__all__ = ["SdcamTrainer"]

_BATCH = 256
"""Images in a step for which learning rates are given."""


class SdcamTrainer(LocalizerTrainer[SdcamParams, TeacherStudentNetwork]):
    """Trains the heads of a transformer with a class token, with or without CAM."""

    needs_cam = False

    def network(self, start: LocalizerNetwork) -> TeacherStudentNetwork:
        """The transformer with its linear layer as the student, and a fresh teacher."""
        params = self.params
        hidden = (params.hidden or 2 * start.feature_dim) if params.filled().teacher == "mlp" else 0
        return TeacherStudentNetwork(start, hidden, params.seed)

    def parts(self, network: TeacherStudentNetwork) -> Mapping[str, Said]:
        """The teacher's form: the width of its hidden layer, 0 where it has none."""
        return {HIDDEN: network.hidden}

    def training(
        self, network: TeacherStudentNetwork, rows: list[ImageRow], size: int, context: TrainContext
    ) -> Training:
        """Cross-entropy of both heads, and the student's distillation from the teacher."""
        params, filled = self.params, self.params.filled()
        said = network.preprocessing
        view = View(size, params.crop, mirror=params.mirror, interpolation=said.interpolation)

        def prepared(image: np.ndarray, row: ImageRow, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(heads: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            with torch.no_grad():
                summaries = network.summary(images)
            teacher, student = heads(summaries)
            return sdcam_loss(student, teacher, labels, params.alpha, params.temperature)

        heads = Heads(network)
        chosen = Chosen(filled.epochs, "cosine", params.seed, params.precision, params.clip_norm, params.processes)
        batches = shuffled_batches(rows, prepared, said, params.batch_size, chosen, context)
        rate = filled.learning_rate * params.batch_size / _BATCH
        optimizer = sgd([{"params": list(heads.parameters()), "lr": rate, "weight_decay": filled.weight_decay}])
        steps = batches.batches_an_epoch * filled.epochs
        schedule = LambdaLR(optimizer, partial(warm_up_cosine, steps=steps, warm_up=filled.warm_up))
        return Training(
            heads,
            loss,
            batches,
            optimizer,
            schedule,
            filled.epochs,
            params.seed,
            batches.images,
            batches.micro_batches,
            precision=params.precision,
            clip_norm=params.clip_norm,
        )
