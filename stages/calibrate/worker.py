"""Adds up the counts of a split and chooses the best threshold; with `cross_fit` also on each half."""

from collections.abc import Iterator
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES
from stages.bases.halves import HALVES, half_of
from stages.bases.scored_tables import joined, scored_images
from stages.calibrate.options import CalibrateParams
from stages.scoring.arrow_tables import IMAGE_COLUMNS, tallies_of, truth_of
from stages.scoring.cuts.cut_counts import CUT_THRESHOLDS, choose_threshold
from stages.scoring.tally import FIXED, cut_counts, merge

__all__ = ["CalibrateWorker"]

_COUNT_COLUMNS = ("split", "half", "method", "source", "rule", "iou", "images", "counts")


class ThresholdRow(TypedDict):
    """A row of table thresholds; described column by column in schemas."""

    method: str
    source: str
    iou: float
    split: str
    half: int | None
    threshold: float
    value: float
    n: int


class CalibrateWorker:
    """Chooses the thresholds of one calibrate stage. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: CalibrateParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context

    def __call__(self, task: Task) -> ShardResult:
        """The chosen thresholds with their box rule. Raises UsageError without ground truth."""
        split = str(task.shard.args["split"])
        of_split = pc.field("split") == split
        boxed = truth_of(scored_images(self._context, task, IMAGE_COLUMNS, of_split), split).image_ids
        fixed = of_split & (pc.field("rule") == FIXED)
        table = joined(self._context, task.inputs["counts"], "counts", _COUNT_COLUMNS, fixed)
        rows = self._rows(split, boxed, table)
        return ShardResult({"thresholds": TABLES["thresholds"].from_rows([{**row, **task.shard.said} for row in rows])})

    def _rows(self, split: str, boxed: tuple[str, ...], counts: pa.Table) -> Iterator[ThresholdRow]:
        yield self._row(split, None, len(boxed), counts)
        for half in HALVES if self._params.cross_fit else ():
            others = sum(half_of(image_id) != half for image_id in boxed)
            yield self._row(split, half, others, counts.filter(pc.field("half") != half))

    def _row(self, split: str, half: int | None, boxed: int, table: pa.Table) -> ThresholdRow:
        """The threshold for a half of a split (None: for all), chosen on `boxed` images with a ground-truth box."""
        counts = cut_counts(merge(tallies_of(table)), FIXED, boxed)
        if not boxed or counts is None:
            none, few = (
                f"no image of split {split} has a ground-truth box",
                f"cross_fit: no image of a half of split {split} has a ground-truth box",
            )
            raise UsageError(f"stage {self._stage}: {none if half is None else few}; give a fixed threshold")
        choice = choose_threshold(counts, CUT_THRESHOLDS, self._params.iou)
        return {
            "method": table.column("method")[0].as_py(),
            "source": table.column("source")[0].as_py(),
            "iou": self._params.iou,
            "split": split,
            "half": half,
            "threshold": choice.threshold,
            "value": choice.value,
            "n": boxed,
        }
