"""Decodes images, resizes them to a small square, and hashes that."""

from collections.abc import Iterable, Mapping

import numpy as np

from pipeline.store.records import Task
from stages.bases.image_worker import ImageWorker
from stages.perceptual_hash.options import PerceptualHashParams
from stages.perceptual_hash.phash import SIDE, phash
from stages.vision.image_rows import ImageRow

__all__ = ["PerceptualHashWorker"]


class PerceptualHashWorker(ImageWorker[PerceptualHashParams, list[str | None]]):
    """One row per image."""

    table = "perceptual_hashes"

    def begin(self, task: Task) -> int:
        """Nothing to load."""
        return SIDE

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> list[str | None]:
        """The hashes of a batch."""
        return [phash(each) for each in pixels]

    def rows(self, images: list[ImageRow], launched: list[str | None]) -> Iterable[Mapping[str, object]]:
        """The rows of a batch."""
        for image, found in zip(images, launched, strict=True):
            yield {"image_id": image["image_id"], "perceptual_hash": found}
