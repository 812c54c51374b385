"""Stage `spa`: a classifier + images -> a classifier whose maps are restricted to objects (SPA's RAM)."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.epochs import Batch, Training
from pipeline.errors import UsageError
from pipeline.params import option
from pipeline.stage import TrainContext
from stages.bases.localizer import FineTuningParams, LocalizerStage
from stages.spa.network import RestrictedNetwork
from stages.spa.presets import TRAININGS
from stages.spa.ram import RamSettings, restricted_activation_loss
from stages.vision.backbones import LocalizerNetwork
from stages.vision.optimisers import groups_of_four
from stages.vision.stream import Row
from stages.vision.training import set_up, training_images
from stages.vision.views import View, random_view


@dataclass(frozen=True)
class SpaParams(FineTuningParams):
    """Parameters of `spa`."""

    preset: str = option("cub", "the released script whose values stand for null below", choices=tuple(TRAININGS))
    weight: float | None = option(None, "alpha, of the restricted activation loss; null: the preset's", at_least=0)
    threshold: float | None = option(
        None, "tau: background is where the min-maxed variance is below it; null: the preset's", at_least=0
    )
    gap: float | None = option(None, "sigma: objects are where it exceeds tau + sigma; null: the preset's", at_least=0)
    first_epoch: int | None = option(
        None, "e0: the first epoch with that loss, from 0; null: the preset's share of the epochs", at_least=0
    )
    epochs: int | None = option(None, "passes over the training images; null: the preset's", at_least=1)
    batch_size: int | None = option(None, "images in one step and worker; null: the preset's", at_least=1)
    drops: tuple[float, ...] | None = option(
        None, "steps: fractions of the training after which the rate falls to a tenth; null: the preset's"
    )


class Spa(LocalizerStage):
    """SPA's first stage: cross-entropy and the restricted activation loss. Its second is stage `scg`."""

    kind = "spa"
    version = 1
    Params = SpaParams

    def check(self) -> None:
        """Refuse drops outside the training, and a loss that would never be switched on."""
        super().check()
        chosen = filled(self.params)
        self.check_drops(chosen.drops)
        if chosen.weight and chosen.first_epoch >= chosen.epochs:
            most = chosen.epochs - 1
            raise UsageError(f"stage {self.name}: first_epoch must be at most {most}, not {chosen.first_epoch}")

    def training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        """Cross-entropy, and from the first epoch of RAM on the restricted activation loss."""
        if network.classifier.out_features < 2:
            raise ValueError("a variance over classes needs two of them")
        chosen = filled(self.params)
        settings = RamSettings(chosen.weight, chosen.threshold, chosen.gap, chosen.first_epoch)
        view = View(size, chosen.crop, mirror=chosen.mirror)
        restricted = RestrictedNetwork(network)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            logits, maps = network(images)
            entropy = nn.functional.cross_entropy(logits.float(), labels)
            if maps is None:
                return entropy
            return entropy + settings.weight * restricted_activation_loss(
                maps, labels, settings.threshold, settings.gap
            )

        def begin(epoch: int) -> None:
            restricted.gives_maps = settings.weight_at(epoch) > 0

        batches = training_images(rows, prepared, chosen.batch_size, chosen, context)
        made = set_up(batches, groups_of_four(*network.trained_parameters(), chosen.rates), chosen, chosen.drops)
        return Training(restricted, loss, **vars(made), begin=begin)


def filled(params: SpaParams) -> Any:
    """The parameters with the preset's values in place of null."""
    preset = TRAININGS[params.preset]
    epochs = preset.epochs if params.epochs is None else params.epochs
    values: dict[str, Any] = {
        "weight": preset.ram.weight,
        "threshold": preset.ram.threshold,
        "gap": preset.ram.gap,
        "first_epoch": round(preset.start * epochs),
        "epochs": epochs,
        "batch_size": preset.batch_size,
        "drops": preset.drops,
    }
    return replace(params, **{name: value for name, value in values.items() if getattr(params, name) is None})
