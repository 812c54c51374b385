"""Images for training, loaded in batches, each image augmented by a generator of its own.

What an image looks like in an epoch depends on (seed, epoch, image id) alone: not on the number of workers, loading
processes, or on where a resumed training began.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from stages.vision.batches import to_batch
from stages.vision.image_reading import Read, load
from stages.vision.image_rows import ImageRow
from stages.vision.preprocessing import Preprocessing

__all__ = ["Augment", "Target", "TrainingImages", "generator_of"]

Image = TypeVar("Image", bound=ImageRow)
Target = int | float | np.ndarray
"""What is to be predicted of an image: a number, or an array of one shape for all."""

Augment = Callable[[np.ndarray, Image, np.random.Generator], tuple[np.ndarray, Target]]


@dataclass(frozen=True)
class TrainingImages(Generic[Image]):
    """The images of a training; only those of requested batches are read and decoded.

    rows: training images, the same on every rank. augment: (image (H, W, 3) uint8, row, generator) -> (input (S, S, 3)
    uint8, target as a number or array). preprocessing: of the network that is trained. processes: data loading
    processes; 0 loads in the training process.
    """

    rows: Sequence[Image]
    read: Read
    augment: Augment[Image]
    preprocessing: Preprocessing
    seed: int
    processes: int = 0

    def batches(self, indices: np.ndarray, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches (images (B, 3, S, S) float32 normalised, targets (B, ...)) of an epoch; indices: ``(n, B)``."""
        loader = DataLoader(
            _Batches(self, indices, epoch), batch_size=None, num_workers=self.processes, persistent_workers=False
        )
        for images, targets in loader:
            yield to_batch(list(images.numpy()), self.preprocessing), targets

    def load(self, index: int, epoch: int) -> tuple[np.ndarray, Target]:
        """One augmented image and its target. Raises: ValueError that names a changed or unreadable image."""
        row = self.rows[index]
        try:
            image = load(self.read, row)
        except ValueError as error:
            raise type(error)(f"image {row['image_id']}: {error}") from error
        return self.augment(image, row, generator_of(self.seed, epoch, row["image_id"]))


class _Batches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __init__(self, images: TrainingImages[Image], indices: np.ndarray, epoch: int) -> None:
        self._images, self._indices, self._epoch = images, indices, epoch

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number >= len(self._indices):
            raise IndexError(number)
        loaded = [self._images.load(int(index), self._epoch) for index in self._indices[number]]
        pixels, targets = zip(*loaded, strict=True)
        return torch.from_numpy(np.stack(pixels)), torch.as_tensor(np.asarray(targets))


def generator_of(seed: int, epoch: int, image_id: str) -> np.random.Generator:
    """The random generator of one image in one epoch."""
    digest = hashlib.sha256(f"{seed}|{epoch}|{image_id}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
