"""The features that a network's classifier reads, of training images shown once and whole, as at inference."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.image_rows import ImageRow
from stages.vision.images import resize
from stages.vision.tensor_normalisation import at_least_float32
from stages.vision.training.image_batches import TrainingImages
from stages.vision.training.setup import Place

__all__ = ["FeatureBatches"]

_BATCH = 32


class FeatureBatches:
    """Batches of features of a network in eval mode.

    Batch n has the same images on every rank, so that its features are the same bytes. The last batch is padded with
    the last image, so that all have one shape.

    rows: the images, the same on every rank. size: side of the network's input, pixels. place: how images are read, and
    the most that go through the network at once. processes: loading processes. bfloat16: autocast.
    """

    def __init__(
        self,
        network: LocalizerNetwork,
        rows: Sequence[ImageRow],
        size: int,
        place: Place,
        processes: int = 0,
        *,
        bfloat16: bool = False,
    ) -> None:
        self._network, self._bfloat16 = network.eval(), bfloat16
        said = network.preprocessing

        def whole(image: np.ndarray, row: ImageRow, generator: np.random.Generator) -> tuple[np.ndarray, int]:
            return resize(image, size, said.interpolation), row["label"]

        self._images = TrainingImages(rows, place.read_image, whole, said, 0, processes)
        batch = min(_BATCH, len(rows), place.micro_batch or _BATCH)
        filled = np.minimum(np.arange(-(-len(rows) // batch) * batch), len(rows) - 1)
        self._indices = filled.reshape(-1, batch)

    def __len__(self) -> int:
        return len(self._indices)

    def __call__(self, numbers: Sequence[int]) -> Iterator[torch.Tensor]:
        """The features ``(B, K)`` float32 of the batches of these numbers, on the network's device.

        Raises: ValueError that names an image which cannot be decoded.
        """
        device = self._network.classifier.weight.device
        for images, _ in self._images.batches(self._indices[list(numbers)], epoch=0):
            with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
                pooled = self._network.pooled(images.to(device, non_blocking=True))
            yield at_least_float32(pooled)
