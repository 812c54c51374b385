"""Cross-entropy and both consistencies on class-balanced batches."""

import numpy as np
import torch
from torch import nn

from pipeline.base.hashing import seed_from
from pipeline.contract.context import TrainContext
from pipeline.training.draws import StepDraws
from pipeline.training.loop import Training
from pipeline.training.step import Batch
from stages.bases.localizer_trainer import PlainLocalizerTrainer
from stages.i2c.centres import ClassCentres
from stages.i2c.network import I2cNetwork, Seeding
from stages.i2c.options import I2cParams
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_rows import ImageRow
from stages.vision.tensor_normalisation import at_least_float32
from stages.vision.training.optimisers import groups_of_four
from stages.vision.training.setup import class_balanced_batches, set_up
from stages.vision.training.views import View, random_view

__all__ = ["I2cTrainer"]


class I2cTrainer(PlainLocalizerTrainer[I2cParams]):
    """Trains for consistency between the images of a class."""

    def training(self, network: LocalizerNetwork, rows: list[ImageRow], size: int, context: TrainContext) -> Training:
        """Cross-entropy and both consistencies on class sets; its checkpoint includes centres and counters."""
        params = self.params
        chosen = params.chosen(params.epochs)
        said = network.preprocessing
        view = View(size, params.crop, params.keep_aspect, params.mirror, interpolation=said.interpolation)

        def prepared(image: np.ndarray, row: ImageRow, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            logits, stochastic, common = network(images, labels)
            entropy = nn.functional.cross_entropy(at_least_float32(logits), labels)
            return entropy + params.stochastic_weight * stochastic + params.global_weight * common

        def begin(epoch: int) -> None:
            together.communicates = epoch >= params.warm_up

        draws = StepDraws()
        together = self._together(network, draws).to(context.device)
        batches = class_balanced_batches(rows, prepared, said, (params.classes, params.set_size), chosen, context)
        groups = groups_of_four(*network.trained_parameters(params.head_taps), params.rates)
        made = set_up(batches, groups, chosen, params.drops)
        return Training(together, loss, **vars(made), begin=begin, end_step=together.centres.update, draws=draws)

    def _together(self, network: LocalizerNetwork, draws: StepDraws) -> I2cNetwork:
        """The network and its class centres."""
        params = self.params
        centres = ClassCentres(
            network.classifier.out_features,
            network.feature_dim,
            params.centre_decay,
            params.distance,
            params.skip_unseen,
            torch.Generator().manual_seed(seed_from(params.seed, "centres")),
        )
        seeding = Seeding(params.seeds, params.region_threshold, params.seed_rule)
        return I2cNetwork(network, centres, seeding, params.distance, params.dropout, draws.rand)
