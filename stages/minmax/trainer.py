"""On each batch a step of cross-entropy, then one of the classifier's weight alone on common and full region."""

import numpy as np
import torch
from torch import nn

from pipeline.contract.context import TrainContext
from pipeline.training.draws import StepDraws
from pipeline.training.loop import Training
from pipeline.training.step import Batch, Step
from stages.bases.localizer_trainer import PlainLocalizerTrainer
from stages.minmax.options import MinmaxParams
from stages.minmax.regularisation import stage_two
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_rows import ImageRow
from stages.vision.tensor_normalisation import at_least_float32
from stages.vision.training.optimisers import groups_of_four, schedule, sgd
from stages.vision.training.setup import class_balanced_batches, set_up
from stages.vision.training.views import View, random_view

__all__ = ["MinmaxTrainer"]


class MinmaxTrainer(PlainLocalizerTrainer[MinmaxParams]):
    """Two steps on each class-balanced batch."""

    def training(self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext) -> Training:
        """Two steps on each batch of class sets: cross-entropy, then stage II on the classifier's weight."""
        params = self.params
        classes = params.training(network.backbone).classes
        chosen = params.chosen(params.epochs)
        said = network.preprocessing
        view = View(
            size, params.crop, mirror=params.mirror, upside_down=params.upside_down, interpolation=said.interpolation
        )

        def prepared(image: np.ndarray, row: ImageRow, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            if params.intensity:
                factors = 1 + params.intensity * (2 * draws.rand(len(images), 1) - 1)
                images = images * factors.to(images)[:, :, None, None]
            return nn.functional.cross_entropy(at_least_float32(network(images)), labels)

        draws = StepDraws()
        batches = class_balanced_batches(rows, prepared, said, (classes, params.set_size), chosen, context)
        groups = groups_of_four(*network.trained_parameters(params.head_taps), params.rates)
        made = set_up(batches, groups, chosen, params.drops)
        steps = batches.batches_an_epoch * params.epochs
        return Training(network, loss, **vars(made), further=(self._second(network, steps),), draws=draws)

    def _second(self, network: LocalizerNetwork, steps: int) -> Step:
        """The step of stage II, over the classifier's weight alone."""
        params = self.params
        said = params.training(network.backbone)
        weights = said.common_weight, said.full_weight
        weight = network.classifier.weight
        backbone = network.features if network.head is None else nn.Sequential(network.features, network.head)

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            found = stage_two(backbone, images, labels, weight, params.set_size, weights, params.scale, params.masking)
            return found.loss

        rate = params.learning_rate * params.head_rate
        optimizer = sgd([{"params": [weight], "lr": rate, "weight_decay": 0.0}])
        return Step(loss, optimizer, schedule(params.schedule, optimizer, steps, params.drops))
