"""Stage `sweep`: score maps -> integer counts at every threshold, shard by shard."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.params import option, reads
from pipeline.stage import Context, Inputs, Shard, ShardRef, ShardResult, Stage, Task, Upstream, shard_key
from pipeline.store import Store
from schemas import TABLES
from stages.evaluate.gather import TRUTH_COLUMNS, score_maps, truth_of
from stages.evaluate.stage.read import joined, read_mask
from stages.evaluate.tally import Tally, contour_tallies, fixed_tallies, mask_tallies, merge

COUNTED = ("dev", "val", "test")
CHOSEN_ON = "dev"
NO_MAP = np.zeros((1, 1), np.float16)
"""Stands, where pixels are counted, for the map of an image that a stage refused."""

_IMAGE_COLUMNS = (*TRUTH_COLUMNS, "mask_uri", "label_name")
_MAP_COLUMNS = ("image_id", "split", "method", "seed", "height", "width", "map")


@dataclass(frozen=True)
class SweepParams:
    """Parameters of `sweep`."""

    images: str = reads("images", "ingest", "the images")
    maps: str = reads("score_maps", "cam", "the score maps that are counted")
    enlargement: str = option("bilinear", "bilinear or bicubic, as in `boxes`", choices=("bilinear", "bicubic"))


class Sweep(Stage):
    """Counts, over all thresholds, how many images of dev, val and test a score map localises, and their pixels."""

    kind = "sweep"
    version = 2
    Params = SweepParams
    outputs = ("counts",)

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each shard of score maps that holds images of dev, val or test."""
        (maps,), (images,) = inputs["maps"], inputs["images"]
        return [
            self._shard(recipe, shard, ref, images)
            for shard, ref in zip(maps.shards, maps.refs(), strict=True)
            if any(split in shard.labels for split in COUNTED)
        ]

    def _shard(self, recipe: str, maps: Shard, ref: ShardRef, images: Upstream) -> Shard:
        """It reads the images that the maps were made from, where that is known."""
        behind = tuple(ref for ref in maps.inputs.get("images", ()) if ref.stage == images.name)
        refs = {"maps": (ref,), "images": behind or images.refs()}
        return Shard(key=shard_key(recipe, refs), inputs=refs, labels=maps.labels)

    def worker(self, context: Context) -> "_Counter":
        """Needs no set-up."""
        return _Counter(self.params, context)


class _Counter:
    def __init__(self, params: SweepParams, context: Context) -> None:
        self._params, self._context = params, context

    def __call__(self, task: Task) -> ShardResult:
        counted = pc.field("split").isin(COUNTED)
        maps = joined(self._context, task.inputs["maps"], "score_maps", _MAP_COLUMNS, counted)
        images = self._images(task)
        by_id = score_maps(maps)
        rows: list[dict[str, Any]] = []
        for split in COUNTED:
            of_split = images.filter(pc.field("split") == split)
            if of_split.num_rows and maps.num_rows:
                (first,) = maps.slice(0, 1).to_pylist()
                said = {"split": split, "method": first["method"], "source": self._params.maps, "seed": first["seed"]}
                tallies = merge(self._tallies(of_split, split, by_id))
                rows += [{**said, **_row(tally)} for tally in tallies.values()]
        return ShardResult({"counts": TABLES["counts"].from_rows(rows)})

    def _images(self, task: Task) -> pa.Table:
        """The images whose maps should be in this shard: of its classes, in the shards that its maps were made from."""
        images = joined(self._context, task.inputs["images"], "images", _IMAGE_COLUMNS, pc.field("split").isin(COUNTED))
        if not task.shard.labels:
            return images
        classes = {name for of_split in task.shard.labels.values() for name in of_split}
        return images.filter(pc.field("label_name").isin(sorted(classes)))

    def _tallies(self, images: pa.Table, split: str, by_id: Mapping[str, np.ndarray]) -> Iterator[Tally]:
        """Boxes of the images that have a map; pixels of all that have a mask, a missing map being all zero."""
        truth = truth_of(images.filter(pc.field("image_id").isin(pa.array(list(by_id), pa.string()))), split)
        maps = [by_id[image_id] for image_id in truth.image_ids]
        if split == CHOSEN_ON:
            yield from fixed_tallies(maps, truth.boxes, truth.sizes, self._params.enlargement)  # type: ignore[arg-type]
        yield from contour_tallies(maps, truth.boxes, truth.sizes)
        masked = images.filter(pc.field("mask_uri").is_valid()).to_pylist()
        masks = (
            read_mask(self._context, row["image_id"], row["mask_uri"], row["height"], row["width"]) for row in masked
        )
        yield from mask_tallies((by_id.get(row["image_id"], NO_MAP) for row in masked), masks)


def _row(tally: Tally) -> dict[str, Any]:
    return {"rule": tally.rule, "iou": tally.iou, "images": tally.images, "counts": tally.counts}
