"""Stage `i2c`: a classifier + images -> a classifier whose maps agree between the images of a class."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pipeline.epochs import Batch, Training
from pipeline.errors import UsageError
from pipeline.hashing import seed_from
from pipeline.params import option
from pipeline.stage import TrainContext
from stages.bases.localizer import FineTuningParams, LocalizerStage
from stages.i2c.centres import ClassCentres
from stages.i2c.consistency import DISTANCES
from stages.i2c.network import I2cNetwork, Seeding
from stages.i2c.seeds import SEED_RULES
from stages.vision.backbones import LocalizerNetwork
from stages.vision.optimisers import groups_of_four
from stages.vision.stream import Row
from stages.vision.training import class_set_images, set_up
from stages.vision.views import View, random_view


@dataclass(frozen=True)
class I2cParams(FineTuningParams):
    """Parameters of `i2c`."""

    classes: int = option(40, "classes in one step and worker; fewer where the data have fewer", at_least=1)
    set_size: int = option(2, "images of each class in a step: an even number, for they talk in pairs", at_least=2)
    seeds: int = option(3, "K: object seeds of an image", at_least=1)
    region_threshold: float = option(0.7, "delta: seeds come from where the min-maxed map exceeds it", at_least=0)
    seed_rule: str = option(
        "random", "random (paper) or raster: the first K positions row by row (released code)", choices=SEED_RULES
    )
    distance: str = option(
        "euclidean", "euclidean (released code; the weights are meant for it) or squared (paper)", choices=DISTANCES
    )
    stochastic_weight: float = option(0.008, "lambda1, of the stochastic consistency", at_least=0)
    global_weight: float = option(0.001, "lambda2, of the global consistency", at_least=0)
    centre_decay: float = option(
        0.002, "alpha: after t updates a class's centre moves at the rate exp(-alpha t)", at_least=0
    )
    skip_unseen: bool = option(True, "leave a class without a centre out of the loss; false: the distance to noise")
    dropout: float = option(0.0, "of each convolution of the head and of the classifier; the paper's network: 0.5")
    warm_up: int = option(0, "first epochs of plain cross-entropy, on the same batches", at_least=0)
    epochs: int = option(5, "passes over the training images, warm-up included", at_least=1)
    drops: tuple[float, ...] = option(
        (0.4, 0.6, 0.8), "steps: fractions of the training after which the rate falls to a tenth"
    )
    keep_aspect: bool = option(True, "crop squares; false: crops of the image's aspect ratio, squashed")


class I2c(LocalizerStage):
    """Inter-image communication: training with stochastic and global consistency beside cross-entropy."""

    kind = "i2c"
    version = 2
    Params = I2cParams

    def check(self) -> None:
        """Refuse images without a partner, and numbers outside their range."""
        super().check()
        params: I2cParams = self.params
        self.check_drops(params.drops)
        rules = {
            f"set_size must be even, not {params.set_size}": params.set_size % 2 == 0,
            f"region_threshold must be below 1, not {params.region_threshold:g}": params.region_threshold < 1,
            f"dropout must be at least 0 and below 1, not {params.dropout:g}": 0 <= params.dropout < 1,
            f"warm_up must be at most epochs, not {params.warm_up}": params.warm_up <= params.epochs,
        }
        if wrong := [rule for rule, holds in rules.items() if not holds]:
            raise UsageError(f"stage {self.name}: {wrong[0]}")

    def training(self, network: LocalizerNetwork, rows: list[Row], size: int, context: TrainContext) -> Training:
        """Cross-entropy and both consistencies on class sets; centres and counters are in its checkpoint."""
        params: I2cParams = self.params
        view = View(size, params.crop, params.keep_aspect, params.mirror)

        def prepared(image: np.ndarray, row: Row, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return random_view(image, view, generator), row["label"]

        def loss(network: nn.Module, batch: Batch) -> torch.Tensor:
            images, labels = batch
            logits, stochastic, common = network(images, labels)
            entropy = nn.functional.cross_entropy(logits.float(), labels)
            return entropy + params.stochastic_weight * stochastic + params.global_weight * common

        def begin(epoch: int) -> None:
            together.begin(seed_from(params.seed, "seeds", epoch, context.rank), epoch >= params.warm_up)

        together = self._together(network).to(context.device)
        batches = class_set_images(rows, prepared, (params.classes, params.set_size), params, context)
        made = set_up(batches, groups_of_four(*network.trained_parameters(), params.rates), params, params.drops)
        return Training(together, loss, **vars(made), begin=begin, generators=(together.generator,))

    def _together(self, network: LocalizerNetwork) -> I2cNetwork:
        """The network and its class centres."""
        params: I2cParams = self.params
        centres = ClassCentres(
            network.classifier.out_features,
            network.feature_dim,
            params.centre_decay,
            params.distance,  # type: ignore[arg-type]
            params.skip_unseen,
            torch.Generator().manual_seed(seed_from(params.seed, "centres")),
        )
        seeding = Seeding(params.seeds, params.region_threshold, params.seed_rule)  # type: ignore[arg-type]
        return I2cNetwork(network, centres, seeding, params.distance, params.dropout)  # type: ignore[arg-type]
