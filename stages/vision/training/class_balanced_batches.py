"""Class-balanced batches for training: TrainingImages in the order of ClassBalancedSampler."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from stages.vision.batches import to_batch
from stages.vision.image_rows import ImageRow
from stages.vision.training.class_balanced_sampler import ClassBalancedSampler
from stages.vision.training.image_batches import Target, TrainingImages

__all__ = ["ClassBalancedBatches"]

Image = TypeVar("Image", bound=ImageRow)


@dataclass(frozen=True)
class ClassBalancedBatches(Generic[Image]):
    """This rank's batches of any epoch: the images of a class side by side.

    images: whose own order and batch size are not used. sets: indices into their rows. An image that a small class
    gives several times in an epoch looks the same each time.
    """

    images: TrainingImages[Image]
    sets: ClassBalancedSampler

    @property
    def batches_an_epoch(self) -> int:
        """Batches of one rank in one epoch; every rank has the same number."""
        return self.sets.batches_an_epoch

    def __call__(self, epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches (images (N S, 3, H, H) float32 normalised, targets (N S, ...)) of an epoch, from batch `start` on."""
        loader = DataLoader(
            _Loaded(self.images, epoch),
            batch_sampler=self.sets(epoch)[start:].tolist(),
            num_workers=self.images.processes,
            collate_fn=_stacked,
        )
        for pixels, targets in loader:
            yield to_batch(list(pixels.numpy())), targets


class _Loaded(Dataset[tuple[np.ndarray, Target]]):
    def __init__(self, images: TrainingImages[Image], epoch: int) -> None:
        self._images, self._epoch = images, epoch

    def __len__(self) -> int:
        return len(self._images.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Target]:
        return self._images.load(index, self._epoch)


def _stacked(loaded: list[tuple[np.ndarray, Target]]) -> tuple[torch.Tensor, torch.Tensor]:
    pixels, targets = zip(*loaded, strict=True)
    return torch.from_numpy(np.stack(pixels)), torch.as_tensor(np.asarray(targets))
