"""The maps of a shard against the ground truth of their images."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES
from stages.bases.halves import HALVES, half_of
from stages.bases.imported_maps import AS_IS, FRAME
from stages.bases.scored_tables import joined, masked_images, read_masks, scored_images
from stages.scoring.arrow_tables import IMAGE_COLUMNS, Truth, truth_of
from stages.scoring.ragged import IntArray
from stages.scoring.tally import Tally, contour_tallies, fixed_tallies, mask_tallies, merge
from stages.sweep.options import SweepParams
from stages.vision.score_map_rows import map_arrays

__all__ = ["SweepWorker"]

NO_MAP = np.zeros((1, 1), np.float16)
"""Used, where pixels are counted, as the map of an image that a stage quarantined."""

_IMAGE_COLUMNS = (*IMAGE_COLUMNS, "label_name")
_MAP_COLUMNS = ("image_id", "split", "method", "seed", "height", "width", "map")


class CountRow(TypedDict):
    """A row of table counts; described column by column in schemas."""

    split: str
    half: int | None
    method: str
    source: str
    seed: int | None
    rule: str
    iou: float
    images: int
    counts: IntArray


class _Maps(NamedTuple):
    """The maps of a shard. as_is: maps of the evaluator's own size are counted without rescaling."""

    by_id: Mapping[str, np.ndarray]
    as_is: bool

    def of(self, truth: Truth) -> list[np.ndarray]:
        """The maps in the order of a ground truth's images."""
        return [self.by_id[image_id] for image_id in truth.image_ids]


class SweepWorker:
    """Counts for the box rule, by halves of each split, and for the evaluator's rules."""

    def __init__(self, params: SweepParams, context: Context) -> None:
        self._params, self._context = params, context
        self._rule = params.rule()

    def __call__(self, task: Task) -> ShardResult:
        """The counts of a shard of maps, split by split."""
        counted = pc.field("split").isin(self._params.splits)
        maps = joined(self._context, task.inputs["maps"], "score_maps", _MAP_COLUMNS, counted)
        images = self._images(task)
        by_id = dict(zip(maps.column("image_id").to_pylist(), map_arrays(maps), strict=True))
        found = _Maps(by_id, task.shard.said.get(FRAME) == AS_IS)
        rows: list[CountRow] = []
        for split in self._params.splits:
            of_split = images.filter(pc.field("split") == split)
            if of_split.num_rows and maps.num_rows:
                method, seed = maps.column("method")[0].as_py(), maps.column("seed")[0].as_py()
                rows += [
                    self._row(split, half, method, seed, tally)
                    for half, tallies in self._tallies(of_split, split, found)
                    for tally in merge(tallies).values()
                ]
        return ShardResult({"counts": TABLES["counts"].from_rows(rows)})

    def _row(self, split: str, half: int | None, method: str, seed: int | None, tally: Tally) -> CountRow:
        return {
            "split": split,
            "half": half,
            "method": method,
            "source": self._params.maps,
            "seed": seed,
            "rule": tally.rule,
            "iou": tally.iou,
            "images": tally.images,
            "counts": tally.counts,
        }

    def _images(self, task: Task) -> pa.Table:
        """The images whose maps should be in this shard: of its classes, in the shards that its maps were made from."""
        images = scored_images(self._context, task, _IMAGE_COLUMNS, pc.field("split").isin(self._params.splits))
        if not task.shard.labels:
            return images
        classes = {name for of_split in task.shard.labels.values() for name in of_split}
        return images.filter(pc.field("label_name").isin(sorted(classes)))

    def _tallies(self, images: pa.Table, split: str, maps: "_Maps") -> Iterator[tuple[int | None, Iterator[Tally]]]:
        """The tallies of each half of the images, and of both together (None)."""
        mapped = images.filter(pc.field("image_id").isin(pa.array(list(maps.by_id), pa.string())))
        halves = np.array([half_of(image_id) for image_id in mapped.column("image_id").to_pylist()])
        for half in HALVES:
            truth = truth_of(mapped.filter(pa.array(halves == half)), split)
            yield half, fixed_tallies(maps.of(truth), truth.boxes, truth.sizes, self._rule)
        yield None, self._of_evaluator(images, truth_of(mapped, split), maps)

    def _of_evaluator(self, images: pa.Table, truth: Truth, maps: "_Maps") -> Iterator[Tally]:
        """Boxes of the images that have a map; pixels of all that have a mask, a missing map being all zero."""
        yield from contour_tallies(maps.of(truth), truth.boxes, truth.sizes, maps.as_is)
        masked = masked_images(images)
        masks = (read_masks(self._context, image) for image in masked)
        yield from mask_tallies((maps.by_id.get(row["image_id"], NO_MAP) for row in masked), masks, maps.as_is)
