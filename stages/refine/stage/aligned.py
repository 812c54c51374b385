"""What `arm` and `sgrm` share: image and map at one size, and the class's seeds that say which side is object."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, ShardResult, Task, quarantined
from schemas import TABLES
from stages.refine.orientation import oriented, seed_regions
from stages.refine.stage.refinement import MapRow, RefinementParams, RefinementStage, images_of, maps_by_id
from stages.vision.rows import refined_method
from stages.vision.score_maps import to_half
from stages.vision.stream import ImageStream
from stages.vision.tensor_maps import min_max

__all__ = ["AlignedParams", "AlignedStage", "AlignedWorker", "Batch", "Refined"]


@dataclass(frozen=True)
class AlignedParams(RefinementParams):
    """Parameters of `arm` and `sgrm`."""

    seeds: str | None = reads(
        "score_maps", None, "score maps of the class that decide which side of a map is object; null: its high side is"
    )
    beta: float = option(0.6, "seeds are where the min-maxed map of `seeds` is above it")
    size: int = option(224, "side of the square to which image and map are brought, pixels", at_least=8)
    batch_size: int = option(16, "images at once", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)


class AlignedStage(RefinementStage):
    """A refinement whose parameters are `AlignedParams`."""

    def check(self) -> None:
        """Refuse a beta above which no min-maxed map has a seed, or below which none lacks one."""
        super().check()
        if not 0 <= self.params.beta < 1:
            raise UsageError(f"stage {self.name}: beta must be in [0, 1), got {self.params.beta}")


class Batch(NamedTuple):
    """Images of one working size S with their maps.

    image_ids: of the B images. pixels: ``(B, S, S, 3)`` uint8. maps: ``(B, S, S)`` float32 on the device, min-maxed.
    seeds: ``(B, S, S)`` bool on the device; without seeds all False.
    """

    image_ids: Sequence[str]
    pixels: np.ndarray
    maps: torch.Tensor
    seeds: torch.Tensor

    def turned(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps ``(B, S, S)`` in [0, 1], turned over where the seeds say so."""
        return oriented(maps, self.seeds)


class Refined(NamedTuple):
    """Maps ``(B, S, S)`` of a batch on any device, and for each image why its map is a fallback, or None."""

    maps: torch.Tensor
    flags: Sequence[str | None]


class AlignedWorker(ABC):
    """Brings the maps of a shard and their images to one size."""

    def __init__(self, stage: str, kind: str, params: Any, context: Context) -> None:
        self.stage, self.kind, self.params, self.context = stage, kind, params, context

    @abstractmethod
    def refined(self, batch: Batch) -> Refined:
        """The maps that are written."""

    def __call__(self, task: Task) -> ShardResult:
        """The refined maps of a shard of maps. Raises UsageError for a map without an image."""
        params, maps = self.params, maps_by_id(self.context, task.inputs["maps"], "split", self.params.splits)
        seeds = maps_by_id(self.context, task.inputs["seeds"], "image_id", maps)
        stream = ImageStream(self.context.read, params.size, params.batch_size, params.decode_ahead, self.context.timed)
        out: list[dict[str, Any]] = []
        for rows, pixels in stream.batches(images_of(self.stage, params, self.context, task, list(maps))):
            ids = [row["image_id"] for row in rows]
            with self.context.timed("forward"):
                given = self._batch(ids, pixels, maps, seeds)
                found = self.refined(given)
                made, seeded = to_half(found.maps.float().cpu().numpy()), given.seeds.any(dim=(1, 2)).tolist()
            out += [
                self._row(maps[image_id], own, flag or self._without(any_seed))
                for image_id, own, flag, any_seed in zip(ids, made, found.flags, seeded, strict=True)
            ]
        bad = [quarantined(self.stage, row, reason) for row, reason in stream.bad]
        return ShardResult({"score_maps": TABLES["score_maps"].from_rows(out)}, quarantine=bad, rows_in=len(maps))

    def _batch(
        self, ids: Sequence[str], pixels: np.ndarray, maps: Mapping[str, MapRow], seeds: Mapping[str, MapRow]
    ) -> Batch:
        size, device = (self.params.size,) * 2, self.context.device
        units = [min_max(torch.from_numpy(maps[image_id]["map"])) for image_id in ids]
        fine = torch.cat([interpolate(own, size, mode="bilinear", align_corners=False)[:, 0] for own in units])
        none = torch.zeros((1, *size), dtype=torch.bool)
        regions = [
            seed_regions(torch.from_numpy(seeds[image_id]["map"][0]), *size, self.params.beta)
            if image_id in seeds
            else none
            for image_id in ids
        ]
        return Batch(ids, pixels, min_max(fine).to(device), torch.cat(regions).to(device))

    def _without(self, any_seed: bool) -> str | None:
        """An image without a class map, or with one that is nowhere above beta, keeps the side that its map has."""
        return "no_seeds" if self.params.seeds is not None and not any_seed else None

    def _row(self, row: MapRow, refined: np.ndarray, flag: str | None) -> dict[str, Any]:
        """The row of the map that was refined, whose network stays its origin."""
        height, width = refined.shape
        return {
            **row,
            "method": refined_method(row["method"], self.kind, self.params.method),
            "height": height,
            "width": width,
            "map": refined.ravel(),
            "flag": row["flag"] or flag,
        }
