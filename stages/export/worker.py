"""Rows of several tables as the files of a format."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa

from pipeline.contract.context import Context
from pipeline.store.records import Done, ShardResult, Task
from stages.export import coco
from stages.export.frame import displayed_images, displayed_rows
from stages.export.options import ExportParams

__all__ = ["ExportWorker"]

WRITERS: Mapping[str, Callable[..., dict[str, bytes]]] = {"coco": coco.files}
"""Format name -> (images, rows, *, splits, keep_flagged, description) -> file name -> bytes."""

_IMAGE_COLUMNS = ("image_id", "width", "height", "label", "label_name", "split", "orientation", "turned")
_BOXES = {
    "labels": ("pseudo_labels", ("image_id", "label", "method", "boxes", "masks", "flag")),
    "predictions": ("predictions", ("image_id", "label", "method", "boxes")),
}


class ExportWorker:
    """One call writes all files."""

    def __init__(self, params: ExportParams, context: Context) -> None:
        self._params = params
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The files of a data set."""
        slot = "predictions" if self._params.labels is None else "labels"
        table, columns = _BOXES[slot]
        images = self._rows(task.inputs["images"], "images", _IMAGE_COLUMNS)
        files = WRITERS[self._params.format](
            displayed_images(images),
            displayed_rows(images, self._rows(task.inputs[slot], table, columns)),
            splits=self._params.splits,
            keep_flagged=self._params.keep_flagged,
            description=f"{table.replace('_', ' ')} of stage {getattr(self._params, slot)}, exported by weakbox",
        )
        return ShardResult(blobs=files)

    def _rows(self, dones: Iterable[Done], table: str, columns: Sequence[str]) -> list[coco.Row]:
        parts = [self._context.table(done, table, columns) for done in dones]
        return pa.concat_tables(parts).to_pylist() if parts else []
