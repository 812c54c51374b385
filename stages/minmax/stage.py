"""Stage `minmax`: a classifier + images -> a classifier whose maps keep to the object and cover all of it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pipeline.epochs import Batch, Step, Training
from pipeline.params import option
from pipeline.stage import TrainContext
from stages.bases.localizer import FineTuningParams, LocalizerStage
from stages.minmax.presets import TRAININGS
from stages.minmax.regularisation import SCALES, stage_two
from stages.vision.backbones import LocalizerNetwork
from stages.vision.optimisers import groups_of_four, schedule, sgd
from stages.vision.stream import Row
from stages.vision.training import class_set_images, set_up
from stages.vision.views import View, random_view


@dataclass(frozen=True)
class MinmaxParams(FineTuningParams):
    """Parameters of `minmax`."""

    preset: str = option(
        "mobilenet_v2", "the paper's backbone whose values stand for null below", choices=tuple(TRAININGS)
    )
    classes: int | None = option(
        None, "N: classes in one step and worker; fewer where the data have fewer; null: the preset's", at_least=1
    )
    set_size: int = option(5, "S: images of each class in a step; those of smaller classes are repeated", at_least=2)
    common_weight: float | None = option(None, "lambda1, of the common region; null: the preset's", at_least=0)
    full_weight: float | None = option(None, "lambda2, of the full region; null: the preset's", at_least=0)
    scale: str = option(
        "mean", "mean over channels (released code; the weights are meant for it) or sum (paper)", choices=SCALES
    )
    epochs: int = option(200, "passes over the training images", at_least=1)
    learning_rate: float = option(1e-4, "peak learning rate of the features' weights")
    bias_rate: float = option(1.0, "factor on the learning rate of biases")
    drops: tuple[float, ...] = option(
        (0.25, 0.5), "steps: fractions of the training after which the rate falls to a tenth"
    )
    upside_down: bool = option(False, "turn half of the images upside down (released code)")


class Minmax(LocalizerStage):
    """MinMaxCAM: on each batch a step of cross-entropy, then one of the classifier alone on common and full region."""

    kind = "minmax"
    version = 1
    Params = MinmaxParams

    def check(self) -> None:
        """Refuse drops outside the training."""
        super().check()
        self.check_drops(self.params.drops)

    def training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        """Two steps on each batch of class sets: cross-entropy, then stage II on the classifier's weight."""
        params: MinmaxParams = self.params
        preset = TRAININGS[params.preset]
        classes = preset.classes if params.classes is None else params.classes
        view = View(size, params.crop, mirror=params.mirror, upside_down=params.upside_down)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            return nn.functional.cross_entropy(network(images).float(), labels)

        batches = class_set_images(rows, prepared, (classes, params.set_size), params, context)
        made = set_up(batches, groups_of_four(*network.trained_parameters(), params.rates), params, params.drops)
        steps = batches.batches_an_epoch * params.epochs
        return Training(network, loss, **vars(made), further=(self._second(network, steps),))

    def _second(self, network: LocalizerNetwork, steps: int) -> Step:
        """The step of stage II, over the classifier's weight alone."""
        params: MinmaxParams = self.params
        preset = TRAININGS[params.preset]
        weight = network.classifier.weight
        backbone = network.features if network.head is None else nn.Sequential(network.features, network.head)
        common = preset.common_weight if params.common_weight is None else params.common_weight
        full = preset.full_weight if params.full_weight is None else params.full_weight

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            return stage_two(
                backbone,
                images,
                labels,
                weight,
                params.set_size,
                common,
                full,
                params.scale,  # type: ignore[arg-type]
            ).loss

        rate = params.learning_rate * params.head_rate
        optimizer = sgd([{"params": [weight], "lr": rate, "weight_decay": 0.0}])
        return Step(loss, optimizer, schedule(params.schedule, optimizer, steps, params.drops))
