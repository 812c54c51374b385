"""How SPA's first stage was trained, by data set: the released scripts (Pan et al., CVPR 2021)."""

from dataclasses import dataclass

from stages.spa.ram import PRESETS as RAM_PRESETS
from stages.spa.ram import RamSettings

__all__ = ["TRAININGS", "SpaTraining"]


@dataclass(frozen=True)
class SpaTraining:
    """A training with the restricted activation module.

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


TRAININGS = {
    "cub": SpaTraining(RAM_PRESETS["cub"], epochs=100, batch_size=30, drops=(0.8,)),
    "ilsvrc": SpaTraining(RAM_PRESETS["ilsvrc"], epochs=20, batch_size=16, drops=(0.5, 0.75)),
}
"""One for each data set of the paper."""
