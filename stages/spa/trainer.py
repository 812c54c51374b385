"""Cross-entropy, and from the first epoch of RAM on the restricted activation loss."""

import numpy as np
import torch
from torch import nn

from pipeline.contract.context import TrainContext
from pipeline.training.loop import Training
from pipeline.training.step import Batch
from stages.bases.localizer_trainer import PlainLocalizerTrainer
from stages.spa.network import RestrictedNetwork
from stages.spa.options import SpaParams
from stages.spa.ram import restricted_activation_loss
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_rows import ImageRow
from stages.vision.tensor_normalisation import at_least_float32
from stages.vision.training.optimisers import groups_of_four
from stages.vision.training.setup import set_up, shuffled_batches
from stages.vision.training.views import View, random_view

__all__ = ["SpaTrainer"]


class SpaTrainer(PlainLocalizerTrainer[SpaParams]):
    """Trains with the restricted activation loss on class maps."""

    def training(self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext) -> Training:
        """Cross-entropy, and from the first epoch of RAM on the restricted activation loss."""
        if network.classifier.out_features < 2:
            raise ValueError("a variance over classes needs two of them")
        params, filled = self.params, self.params.filled()
        settings, chosen = filled.ram, params.chosen(filled.epochs)
        said = network.preprocessing
        view = View(size, params.crop, mirror=params.mirror, interpolation=said.interpolation)
        restricted = RestrictedNetwork(network)

        def prepared(image: np.ndarray, row: ImageRow, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            logits, maps = network(images)
            entropy = nn.functional.cross_entropy(at_least_float32(logits), labels)
            if maps is None:
                return entropy
            return entropy + settings.weight * restricted_activation_loss(
                maps, labels, settings.threshold, settings.gap
            )

        def begin(epoch: int) -> None:
            restricted.gives_maps = settings.weight_at(epoch) > 0

        batches = shuffled_batches(rows, prepared, said, filled.batch_size, chosen, context)
        groups = groups_of_four(*network.trained_parameters(params.head_taps), params.rates)
        made = set_up(batches, groups, chosen, filled.drops)
        return Training(restricted, loss, **vars(made), begin=begin)
