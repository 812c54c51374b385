"""How PSOL was trained: as the paper says, and as its released code does (Zhang et al., CVPR 2020, section 4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stages.vision.training.parameters import Schedule

__all__ = [
    "DROPS",
    "POOLING",
    "TRAININGS",
    "VARIANT",
    "VARIANT_SCHEDULES",
    "Preset",
    "PsolTraining",
    "Quality",
    "Variant",
]

Preset = Literal["paper", "paper_cub", "reference"]

Variant = Literal["sep", "joint"]
"""A network for boxes alone, or one for classes and boxes."""

Quality = Literal["none", "contrast", "score", "quality"]
"""What a pseudo label is weighted by: nothing, the contrast of its map, or the score of its best box."""

VARIANT, POOLING = "variant", "pooling"
"""The card's parts: what it takes to build the regressor."""

VARIANT_SCHEDULES: Mapping[Variant, Schedule] = {"sep": "constant", "joint": "steps"}
"""Noisy boxes alone keep their rate; with classes it falls."""

DROPS = (1 / 3, 2 / 3)
"""To a tenth after every second of 6 epochs, every tenth of 30."""


@dataclass(frozen=True)
class PsolTraining:
    """A training of the box branch and the network below it.

    batch_size: images in one step, all workers together. learning_rate: of the network, for steps of `rate_images`
    images, in proportion for others; None: for any step.
    head_rate: factor for the branch. loss_weight: of the mean squared error over x, y, width and height.
    """

    epochs: int = 6
    batch_size: int = 256
    learning_rate: float = 1e-3
    rate_images: int | None = None
    head_rate: float = 2.0
    weight_decay: float = 5e-4
    loss_weight: float = 50.0

    def rate(self, images: int) -> float:
        """The learning rate for steps of `images` images."""
        return self.learning_rate if self.rate_images is None else self.learning_rate * images / self.rate_images


TRAININGS: Mapping[Preset, PsolTraining] = {
    "paper": PsolTraining(),
    "paper_cub": PsolTraining(epochs=30, batch_size=64),
    "reference": PsolTraining(weight_decay=1e-4, rate_images=256),
}
"""The paper's two data sets, and the released code, which is of -Sep on ImageNet.

The paper has a weight of 1, and a "larger" rate of the branch. Both are the code's here: at its rate, 1 undertrains.
"""
