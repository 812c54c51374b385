"""How SD-CAM's heads are trained, by data set of the paper (Pan et al., AAAI 2023).

Of these the paper gives only the teacher's form. Rates, decay and epochs are those of TokenCut's classifier for CUB and
of DINO's linear evaluation for ILSVRC, which train a linear layer on the same frozen network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["TRAININGS", "Preset", "SdcamTraining", "Teacher"]

Preset = Literal["cub", "ilsvrc"]

Teacher = Literal["mlp", "linear"]
"""The teacher: one hidden layer and a linear one, or the linear one alone."""


@dataclass(frozen=True)
class SdcamTraining:
    """learning_rate: at 256 images a step. warm_up: fraction of the training over which the rate rises."""

    teacher: Teacher
    epochs: int
    learning_rate: float
    weight_decay: float
    warm_up: float


TRAININGS: Mapping[Preset, SdcamTraining] = {
    "cub": SdcamTraining("mlp", epochs=1000, learning_rate=2e-4, weight_decay=0.005, warm_up=0.05),
    "ilsvrc": SdcamTraining("linear", epochs=100, learning_rate=1e-3, weight_decay=0.0, warm_up=0.0),
}
"""One for each data set of the paper."""
