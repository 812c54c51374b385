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
"""What weighs a pseudo label: nothing, the contrast of its map, the score of its best box, or its quality."""

VARIANT, POOLING = "variant", "pooling"
"""Keys of the model card: the settings that the regressor is built from."""

VARIANT_SCHEDULES: Mapping[Variant, Schedule] = {"sep": "constant", "joint": "steps"}
"""The learning rate is constant for (noisy) boxes alone, and falls with classes."""

DROPS = (1 / 3, 2 / 3)
"""The rate falls to a tenth after each third: every second of 6 epochs, every tenth of 30."""


@dataclass(frozen=True)
class PsolTraining:
    """A training of the box branch and the network below it.

    batch_size: images in one step, all workers together. learning_rate: of the network, for steps of `rate_images`
    images and in proportion for others; for steps of any size if `rate_images` is None.
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

The paper has a loss weight of 1, and a "larger" rate of the branch. Here both are the code's, at whose learning rate a
weight of 1 undertrains.
"""
