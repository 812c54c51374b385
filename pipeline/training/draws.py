"""Random numbers of a training step that do not depend on how its images are divided over workers."""

import numpy as np
import torch

__all__ = ["StepDraws"]


class StepDraws:
    """The random numbers of a loss besides dropout: the same for one worker or eight, with or without micro batches.

    Numbers are drawn on the CPU for all images of the step, and each micro batch takes those of its own images.
    The training loop seeds them anew for each micro batch, from the training's seed, the epoch and the step.
    """

    def __init__(self) -> None:
        self.begin(0, slice(0, 1), 1)

    def begin(self, seed: int, part: slice, images: int) -> None:
        """Start a micro batch, which holds the images `part` of the `images` of its step."""
        self._generator = np.random.default_rng(seed)
        self._part, self._images = part, images

    @property
    def generator(self) -> np.random.Generator:
        """The generator of numbers that are the same for all images of the step."""
        return self._generator

    def rand(self, *shape: int) -> torch.Tensor:
        """Uniform numbers in [0, 1), float32 on the CPU; the first axis is the micro batch's images."""
        drawn = self._generator.random((self._images, *shape[1:]), dtype=np.float32)
        return torch.from_numpy(drawn[self._part])
