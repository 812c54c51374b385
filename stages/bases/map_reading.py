"""Reads the score maps that a refinement refines, and their images."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.store.records import Done, Task
from stages.bases.refinement import RefinementParams
from stages.vision.image_rows import IMAGE_COLUMNS, ImageRow
from stages.vision.score_map_rows import ScoreMapRow, map_arrays

__all__ = ["images_of", "maps_by_id"]


def maps_by_id(
    context: Context, done: Sequence[Done], column: str = "image_id", values: Collection[str] | None = None
) -> dict[str, ScoreMapRow]:
    """The score maps of some shards by image; a row's `map` is ``(1, 1, height, width)`` float32.

    values: only rows whose `column` has one of these values are read.
    """
    wanted = None if values is None else pc.field(column).isin(pa.array(list(values), pa.string()))
    found: dict[str, ScoreMapRow] = {}
    for one in done:
        table = context.table(one, "score_maps", filters=wanted)
        rows: list[ScoreMapRow] = table.drop_columns(["map"]).to_pylist()
        for row, score_map in zip(rows, map_arrays(table), strict=True):
            row["map"] = score_map.astype(np.float32)[None, None]
            found[row["image_id"]] = row
    return found


def images_of(
    context: Context, task: Task, ids: Collection[str], stage: str, params: RefinementParams
) -> list[ImageRow]:
    """The images of a refinement's maps, in the order of their ids. Raises UsageError for a map without an image."""
    wanted = pc.field("image_id").isin(pa.array(list(ids), pa.string()))
    tables = [context.table(done, "images", IMAGE_COLUMNS, wanted) for done in task.inputs["images"]]
    found: dict[str, ImageRow] = {row["image_id"]: row for table in tables for row in table.to_pylist()}
    if missing := [image_id for image_id in ids if image_id not in found]:
        raise UsageError(f"stage {stage}: {missing[0]!r} of {params.maps} is not in {params.images}")
    return [found[image_id] for image_id in ids]
