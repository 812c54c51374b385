"""Names of schedules, learning rates of a network's parameters, and settings of a training."""

from dataclasses import dataclass
from typing import Literal, get_args

from stages.vision.precision import Precision

__all__ = ["SCHEDULES", "Chosen", "Rates", "Schedule"]

Schedule = Literal["steps", "one_cycle", "cosine", "constant"]
"""`steps` takes milestones, as fractions of the training; the others take no further setting."""

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True)
class Rates:
    """Learning rates and weight decay of weights and biases, below the head and in it.

    weights: rate of the weights below the head. head: factor for head and classifier. biases: factor for all biases.
    decay: weight decay. decay_biases: of biases and of normalisations' gains too.
    """

    weights: float
    head: float = 1.0
    biases: float = 1.0
    decay: float = 0.0
    decay_biases: bool = False


@dataclass(frozen=True)
class Chosen:
    """Settings of a training.

    epochs: passes over the images. schedule: of the learning rate. seed: of order and augmentation. clip_norm: largest
    norm of all gradients together; None: no clipping. processes: data loading processes of a worker.
    """

    epochs: int
    schedule: Schedule
    seed: int
    precision: Precision = "float32"
    clip_norm: float | None = None
    processes: int = 0
