"""Class-balanced batches for training: TrainingImages in the order of ClassBalancedSampler."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import torch

from stages.vision.image_rows import ImageRow
from stages.vision.training.class_balanced_sampler import ClassBalancedSampler
from stages.vision.training.division import Workers, divide, share
from stages.vision.training.image_batches import TrainingImages

__all__ = ["ClassBalancedBatches"]

Image = TypeVar("Image", bound=ImageRow)


@dataclass(frozen=True)
class ClassBalancedBatches(Generic[Image]):
    """This rank's shares of any epoch's steps: the images of a class side by side, no class on two ranks.

    loaded: the training images. sets: sampler of indices into their rows. workers: the ranks that share a step.
    An image that is drawn several times in an epoch (of a small class) has the same view each time.
    Raises: ValueError as `divide`.
    """

    loaded: TrainingImages[Image]
    sets: ClassBalancedSampler
    workers: Workers

    def __post_init__(self) -> None:
        _ = self.micro_batches

    @property
    def images(self) -> int:
        """Images of one step, all ranks together."""
        return self.sets.classes_a_batch * self.sets.images

    @cached_property
    def micro_batches(self) -> tuple[slice, ...]:
        """Which images of each step this rank's micro batches hold."""
        return divide(self.images, self.workers, self.sets.images)

    @property
    def batches_an_epoch(self) -> int:
        """Steps of one epoch."""
        return self.sets.batches_an_epoch

    def __call__(self, epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shares (images (B, 3, H, H) float32 normalised, targets (B, ...)) of an epoch's steps from `start` on."""
        return self.loaded.batches(self.sets(epoch)[start:, share(self.micro_batches)], epoch)
