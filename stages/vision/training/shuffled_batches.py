"""Batches for training in a seeded random order of all images."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import torch

from stages.vision.image_rows import ImageRow
from stages.vision.training.division import Workers, divide, share
from stages.vision.training.image_batches import TrainingImages

__all__ = ["ShuffledBatches"]

Image = TypeVar("Image", bound=ImageRow)


@dataclass(frozen=True)
class ShuffledBatches(Generic[Image]):
    """This rank's shares of any epoch's steps; each epoch has an order of its own.

    loaded: the training images. batch_size: images of a step, all ranks together; fewer where the data have fewer.
    workers: the ranks that share a step. together: this many neighbors in the order stay in one micro batch.
    Raises: ValueError as `divide`, and where there are fewer images than must stay together.
    """

    loaded: TrainingImages[Image]
    batch_size: int
    workers: Workers
    together: int = 1

    def __post_init__(self) -> None:
        if min(self.batch_size, len(self.loaded.rows)) < self.together:
            raise ValueError(f"a step needs at least {self.together} images")
        _ = self.micro_batches

    @property
    def images(self) -> int:
        """Images of one step, all ranks together."""
        return min(self.batch_size, len(self.loaded.rows)) // self.together * self.together

    @cached_property
    def micro_batches(self) -> tuple[slice, ...]:
        """Which images of each step this rank's micro batches hold."""
        return divide(self.images, self.workers, self.together)

    @property
    def batches_an_epoch(self) -> int:
        """Steps of one epoch; the last, smaller one is left out."""
        return len(self.loaded.rows) // self.images

    def __call__(self, epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shares (images (B, 3, S, S) float32 normalised, targets (B, ...)) of an epoch's steps from `start` on."""
        order = np.random.default_rng([self.loaded.seed, epoch]).permutation(len(self.loaded.rows))
        steps = order[: self.batches_an_epoch * self.images].reshape(-1, self.images)
        return self.loaded.batches(steps[start:, share(self.micro_batches)], epoch)
