"""Reads the committed results that a report shows, and writes the page."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract.context import ChangedError, Context
from pipeline.store import layout
from pipeline.store.records import ImageName, QuarantineRow, ShardResult, Task, quarantined
from stages.report.data import gather
from stages.report.options import ReportParams
from stages.report.reading import Row
from stages.report.render import render
from stages.vision.image_reading import load
from stages.vision.image_rows import ImageRow
from stages.vision.images import ImageError

__all__ = ["PAGE", "ReportWorker"]

PAGE = layout.REPORT
_UNREAD = "could not be read for this page: {}"


class ReportWorker:
    """Writes the page of one report stage. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: ReportParams, context: Context) -> None:
        self._stage = stage
        self._params = params
        self._context = context

    def __call__(self, task: Task) -> ShardResult:
        """The page."""
        tables = _TaskTables(self._stage, task, self._context)
        made = {name: said for name, said in task.shard.said.items() if isinstance(said, Mapping)}
        page = gather(tables, made, samples=self._params.samples, title=self._params.title)
        return ShardResult(blobs={PAGE: render(page).encode()}, quarantine=tables.bad)


class _TaskTables:
    """Reads the committed results that a task names."""

    def __init__(self, stage: str, task: Task, context: Context) -> None:
        self._stage = stage
        self._inputs = task.inputs
        self._context = context
        self.bad: list[QuarantineRow] = []
        self._unreachable: str | None = None
        """The storage error after which no further image is tried; None as long as reading works."""

    def parts(
        self, slot: str, table: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> list[tuple[str, pa.Table]]:
        return [(done.stage, self._context.table(done, table, columns, where)) for done in self._inputs[slot]]

    def image(self, row: ImageRow) -> np.ndarray | None:
        reason = self._unreachable
        if reason is None:
            try:
                return load(self._context.read_image, row)
            except (ImageError, ChangedError) as error:
                reason = str(error)
            except FileNotFoundError:
                reason = _UNREAD.format("it is not there")
            except OSError as error:
                reason = self._unreachable = _UNREAD.format(error.strerror or type(error).__name__)
        name: ImageName = {"image_id": row["image_id"], "uri": row["uri"], "content_hash": row["content_hash"]}
        self.bad.append(quarantined(self._stage, name, reason))
        return None

    def refused(self) -> list[Row]:
        dones = {(done.stage, done.key): done for dones in self._inputs.values() for done in dones}
        tables = [self._context.table(done, "quarantine") for done in dones.values() if done.quarantined]
        return [*(row for table in tables for row in table.to_pylist()), *self.bad]
