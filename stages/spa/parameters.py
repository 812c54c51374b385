"""Settings of SPA's first stage and of its trainings, from the released scripts (Pan et al., CVPR 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["PRESETS", "TRAININGS", "Preset", "RamSettings", "SpaTraining"]

Preset = Literal["cub", "ilsvrc"]


@dataclass(frozen=True)
class RamSettings:
    """Constants of the restricted activation module.

    weight: alpha, of the loss beside cross entropy. threshold: tau, of the normalised variance. gap: sigma, width of
    the band above tau that belongs to neither mask. first_epoch: e0, counted from 0, the first one with the loss.
    """

    weight: float
    threshold: float
    gap: float
    first_epoch: int

    def weight_at(self, epoch: int) -> float:
        """The loss's weight in an epoch, counted from 0."""
        return self.weight if epoch >= self.first_epoch else 0.0


PRESETS: Mapping[Preset, RamSettings] = {
    "cub": RamSettings(weight=0.5, threshold=0.1, gap=0.2, first_epoch=20),
    "ilsvrc": RamSettings(weight=0.5, threshold=0.4, gap=0.1, first_epoch=5),
}
"""Settings of the released scripts, for 100 epochs of CUB and 20 of ILSVRC; the paper names none."""


@dataclass(frozen=True)
class SpaTraining:
    """A training with the restricted activation module.

    batch_size: images in one step, all workers together: the script for ILSVRC spreads its 16 over 8 GPUs.
    drops: fractions of the epochs after which the learning rate falls to a tenth. start: fraction of the epochs after
    which the module is switched on, e0 of E.
    """

    ram: RamSettings
    epochs: int
    batch_size: int
    drops: tuple[float, ...]

    @property
    def start(self) -> float:
        """When the module is switched on, as a fraction of the training."""
        return self.ram.first_epoch / self.epochs


TRAININGS: Mapping[Preset, SpaTraining] = {
    "cub": SpaTraining(PRESETS["cub"], epochs=100, batch_size=30, drops=(0.8,)),
    "ilsvrc": SpaTraining(PRESETS["ilsvrc"], epochs=20, batch_size=16, drops=(0.5, 0.75)),
}
"""One for each data set of the paper."""
