"""Stage `export`: pseudo labels or predictions -> a data set in a format that other tools read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Done, Inputs, Shard, ShardResult, Stage, Task, whole
from pipeline.store import Store
from schemas.types import SPLITS
from stages.export import coco

FORMATS: dict[str, Callable[..., dict[str, bytes]]] = {"coco": coco.files}
"""Format name -> (images, rows, *, splits, keep_flagged, description) -> file name -> bytes."""

_IMAGE_COLUMNS = ("image_id", "width", "height", "label", "label_name", "split")
_BOXES = {
    "labels": ("pseudo_labels", ("image_id", "label", "method", "boxes", "masks", "flag")),
    "predictions": ("predictions", ("image_id", "label", "method", "boxes")),
}


@dataclass(frozen=True)
class ExportParams:
    """Which boxes are exported, and how."""

    images: str = reads("images", "ingest", "stage that lists the images")
    labels: str | None = reads("pseudo_labels", None, "stage whose pseudo labels are exported (or predictions)")
    predictions: str | None = reads("predictions", None, "stage whose predictions are exported (or labels)")
    format: str = option("coco", "coco", choices=tuple(FORMATS))
    splits: tuple[str, ...] = option(
        SPLITS, "splits to export, a file each; one without images has no file", choices=SPLITS
    )
    keep_flagged: bool = option(False, "also export pseudo labels whose box is a fallback (empty_mask, ...)")


class Export(Stage):
    """Writes one file a split."""

    kind = "export"
    version = 1
    Params = ExportParams
    outputs = ()
    light = True
    params: ExportParams

    def check(self) -> None:
        """Refuse none or both of labels and predictions."""
        super().check()
        if (self.params.labels is None) == (self.params.predictions is None):
            raise UsageError(f"stage {self.name}: give exactly one of labels and predictions")

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard: a data set's ids need all images at once."""
        return whole(recipe, inputs)

    def worker(self, context: Context) -> "_Writer":
        """Writes the files."""
        return _Writer(self.params, context)


class _Writer:
    def __init__(self, params: ExportParams, context: Context) -> None:
        self._params = params
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        slot = "predictions" if self._params.labels is None else "labels"
        table, columns = _BOXES[slot]
        files = FORMATS[self._params.format](
            self._rows(task.inputs["images"], "images", _IMAGE_COLUMNS),
            self._rows(task.inputs[slot], table, columns),
            splits=self._params.splits,
            keep_flagged=self._params.keep_flagged,
            description=f"{table.replace('_', ' ')} of stage {getattr(self._params, slot)}, exported by weakbox",
        )
        return ShardResult(blobs=files)

    def _rows(self, dones: Iterable[Done], table: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        parts = [self._context.table(done, table, columns) for done in dones]
        return pa.concat_tables(parts).to_pylist() if parts else []
