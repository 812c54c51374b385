"""What the stages of this room share: a shard of maps with the images behind it, read map by map."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Done, Inputs, Shard, ShardRef, Stage, Task, Upstream, shard_key
from pipeline.store import Store
from schemas.types import SPLITS, TRIVIAL
from stages.vision.rows import IMAGE_COLUMNS, is_of_predicted
from stages.vision.stream import Row

__all__ = ["MapRow", "RefinementParams", "RefinementStage", "images_of", "maps_by_id"]

MapRow = dict[str, Any]
"""A row of score maps whose `map` is ``(1, 1, height, width)`` float32."""

_SEEDS = "seeds"


@dataclass(frozen=True)
class RefinementParams:
    """Parameters of every refinement."""

    images: str = reads("images", "ingest", "the images")
    maps: str = reads("score_maps", "cam", "the score maps that are refined, of any method")
    splits: tuple[str, ...] | None = option(None, "splits whose maps are refined; null: all", choices=SPLITS)
    method: str | None = option(None, "what the refined maps are called in tables; null: <method of the maps>_<kind>")


class RefinementStage(Stage):
    """Score maps + images -> score maps. Its inputs are `maps`, `images` and others, of which each shard reads all.

    Its parameters are `RefinementParams`.
    """

    outputs = ("score_maps",)
    per_image = True

    def check(self) -> None:
        """Refuse a method that is no name, or one that says something else."""
        super().check()
        method = self.params.method
        if method is not None and not method.isidentifier():
            raise UsageError(f"stage {self.name}: method {method!r} is no name of letters, digits and _")
        if method is not None and (method in TRIVIAL or is_of_predicted(method)):
            raise UsageError(f"stage {self.name}: method {method!r} has a meaning of its own: choose another name")

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each shard of score maps."""
        (maps,), (images,) = inputs["maps"], inputs["images"]
        others = {slot: ups for slot, ups in inputs.items() if slot not in ("maps", "images")}
        splits = self.params.splits
        pairs = zip(maps.shards, maps.refs(), strict=True)
        return [_shard(recipe, shard, ref, images, others, splits) for shard, ref in pairs]


def _shard(
    recipe: str,
    maps: Shard,
    ref: ShardRef,
    images: Upstream,
    others: Mapping[str, tuple[Upstream, ...]],
    splits: Sequence[str] | None,
) -> Shard:
    """It reads the images that the maps were made from, and the seeds of these images, where that is known."""
    behind = tuple(ref for ref in maps.inputs.get("images", ()) if ref.stage == images.name)
    refs = {"maps": (ref,), "images": behind or images.refs()}
    for slot, ups in others.items():
        refs[slot] = tuple(
            ref
            for up in ups
            for shard, ref in zip(up.shards, up.refs(), strict=True)
            if slot != _SEEDS or _share_images(shard, behind)
        )
    key = shard_key(recipe, refs)
    if splits is None:
        return Shard(key, refs, rows=maps.rows, rows_from="maps", labels=maps.labels)
    labels = {split: maps.labels[split] for split in splits if split in maps.labels}
    known = sum(sum(counts.values()) for counts in labels.values()) if maps.labels else None
    return Shard(key, refs, rows=known, labels=labels)


def _share_images(shard: Shard, behind: tuple[ShardRef, ...]) -> bool:
    """Whether a shard may hold some of the same images."""
    own = shard.inputs.get("images", ())
    return not own or not behind or not set(own).isdisjoint(behind)


def maps_by_id(
    context: Context, done: Sequence[Done], column: str = "image_id", values: Collection[str] | None = None
) -> dict[str, MapRow]:
    """The score maps of some shards by image; values: only the rows that have one of them in `column`."""
    wanted = None if values is None else pc.field(column).isin(pa.array(list(values), pa.string()))
    tables = [context.table(one, "score_maps", filters=wanted) for one in done]
    return {image_id: row for table in tables for image_id, row in _by_id(table).items()}


def images_of(stage: str, params: Any, context: Context, task: Task, ids: Sequence[str]) -> list[Row]:
    """The images of the maps, in their order. Raises UsageError for a map without an image."""
    wanted = pc.field("image_id").isin(pa.array(list(ids), pa.string()))
    tables = [context.table(done, "images", IMAGE_COLUMNS, wanted) for done in task.inputs["images"]]
    found = {row["image_id"]: row for table in tables for row in table.to_pylist()}
    if missing := [image_id for image_id in ids if image_id not in found]:
        raise UsageError(f"stage {stage}: {missing[0]!r} of {params.maps} is not in {params.images}")
    return [found[image_id] for image_id in ids]


def _by_id(table: pa.Table) -> dict[str, MapRow]:
    values = table.column("map").combine_chunks()
    offsets, flat = values.offsets.to_numpy(), values.values.to_numpy(zero_copy_only=False).astype(np.float32)
    rows = table.drop_columns(["map"]).to_pylist()
    for row, start, end in zip(rows, offsets[:-1], offsets[1:], strict=True):
        row["map"] = flat[start:end].reshape(1, 1, row["height"], row["width"])
    return {row["image_id"]: row for row in rows}
