"""Resizes the maps of a shard and their images to one size, and refines the maps at that size."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch.nn.functional import interpolate

from pipeline.store.records import Task
from stages.bases.aligned import AlignedParams
from stages.bases.image_worker import ImageWorker
from stages.bases.map_reading import images_of, maps_by_id
from stages.vision.image_rows import ImageRow, refined_method
from stages.vision.orientation import oriented, seed_regions
from stages.vision.score_map_rows import ScoreMapRow, with_map
from stages.vision.tensor_normalisation import min_max

__all__ = ["AlignedWorker", "Batch", "Refined"]

A = TypeVar("A", bound=AlignedParams)


class Batch(NamedTuple):
    """Images of one working size S with their maps.

    image_ids: of the B images. pixels: ``(B, S, S, 3)`` uint8. maps: ``(B, S, S)`` float32 on the device, min-maxed.
    seeds: ``(B, S, S)`` bool on the device; all False for an image without seeds.
    """

    image_ids: Sequence[str]
    pixels: np.ndarray
    maps: torch.Tensor
    seeds: torch.Tensor

    def turned(self, maps: torch.Tensor) -> torch.Tensor:
        """Invert (1 - map) those maps ``(B, S, S)`` in [0, 1] whose low side holds more seeds."""
        return oriented(maps, self.seeds)


class Refined(NamedTuple):
    """Refined maps ``(B, S, S)`` on any device, and for each image the reason if its map is a fallback, else None."""

    maps: torch.Tensor
    flags: Sequence[str | None]


class AlignedWorker(ImageWorker[A, tuple[Batch, Refined]]):
    """Base class: a subclass refines one batch in `refined`."""

    table = "score_maps"
    kind: ClassVar[str]

    @abstractmethod
    def refined(self, batch: Batch) -> Refined:
        """Refine the maps of a batch."""

    def begin(self, task: Task) -> int:
        """Read the maps and their seeds."""
        self._maps = maps_by_id(self.context, task.inputs["maps"], "split", self.params.splits)
        self._seeds = maps_by_id(self.context, task.inputs["seeds"], "image_id", self._maps)
        return self.params.size

    def images(self, task: Task) -> list[ImageRow]:
        """The images of the maps. Raises UsageError for a map without an image."""
        return images_of(self.context, task, self._maps, self.stage, self.params)

    def launch(self, images: list[ImageRow], pixels: np.ndarray) -> tuple[Batch, Refined]:
        """Refine a batch."""
        batch = self._batch([image["image_id"] for image in images], pixels)
        return batch, self.refined(batch)

    def rows(self, images: list[ImageRow], launched: tuple[Batch, Refined]) -> Iterator[ScoreMapRow]:
        """The rows of the input maps, with the refined map in place; the network of a row stays the same."""
        batch, found = launched
        with self.context.timed("forward"):
            made, seeded = found.maps.float().cpu().numpy(), batch.seeds.any(dim=(1, 2)).tolist()
        for image, own, flag, any_seed in zip(images, made, found.flags, seeded, strict=True):
            row = self._maps[image["image_id"]]
            name = refined_method(row["method"], self.kind, self.params.method)
            yield with_map(row, name, own, row["flag"] or flag or self._without(any_seed))

    def _batch(self, ids: Sequence[str], pixels: np.ndarray) -> Batch:
        size, device = (self.params.size,) * 2, self.context.device
        units = [min_max(torch.from_numpy(self._maps[image_id]["map"])) for image_id in ids]
        fine = torch.cat([interpolate(own, size, mode="bilinear", align_corners=False)[:, 0] for own in units])
        regions = torch.cat([self._region(self._seeds, image_id, size) for image_id in ids])
        return Batch(ids, pixels, min_max(fine).to(device), regions.to(device))

    def _region(self, seeds: Mapping[str, ScoreMapRow], image_id: str, size: tuple[int, int]) -> torch.Tensor:
        """Where an image has seeds, ``(1, S, S)`` bool."""
        if image_id not in seeds:
            return torch.zeros((1, *size), dtype=torch.bool)
        return seed_regions(torch.from_numpy(seeds[image_id]["map"][0]), *size, self.params.beta)

    def _without(self, any_seed: bool) -> str | None:
        """Flag of an image without seeds (no class map, or none above beta): its map is not inverted."""
        return "no_seeds" if self.params.seeds is not None and not any_seed else None
