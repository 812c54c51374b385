"""The counts of dev are added up, and the best threshold is chosen."""

from typing import TypedDict

import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES
from stages.bases.scored_tables import joined, scored_images
from stages.calibrate.options import NO_BOXES, CalibrateParams
from stages.scoring.arrow_tables import IMAGE_COLUMNS, tallies_of, truth_of
from stages.scoring.cuts.cut_counts import CUT_THRESHOLDS, choose_threshold
from stages.scoring.tally import FIXED, cut_counts, merge

__all__ = ["CalibrateWorker"]

_COUNT_COLUMNS = ("split", "method", "source", "rule", "iou", "images", "counts")


class ThresholdRow(TypedDict):
    """A row of table thresholds; described column by column in schemas."""

    method: str
    source: str
    iou: float
    threshold: float
    value: float
    n: int


class CalibrateWorker:
    """Chooses the threshold of one calibrate stage. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: CalibrateParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context

    def __call__(self, task: Task) -> ShardResult:
        """The chosen threshold, and the box rule that it is of. Raises UsageError without ground truth on dev."""
        dev = pc.field("split") == "dev"
        images = scored_images(self._context, task, IMAGE_COLUMNS, dev)
        boxed = len(truth_of(images, "dev").image_ids)
        fixed = dev & (pc.field("rule") == FIXED)
        table = joined(self._context, task.inputs["counts"], "counts", _COUNT_COLUMNS, fixed)
        counts = cut_counts(merge(tallies_of(table)), FIXED, boxed)
        if not boxed or counts is None:
            raise UsageError(f"stage {self._stage}: {NO_BOXES}")
        choice = choose_threshold(counts, CUT_THRESHOLDS, self._params.iou)
        row: ThresholdRow = {
            "method": table.column("method")[0].as_py(),
            "source": table.column("source")[0].as_py(),
            "iou": self._params.iou,
            "threshold": choice.threshold,
            "value": choice.value,
            "n": boxed,
        }
        return ShardResult({"thresholds": TABLES["thresholds"].from_rows([{**row, **task.shard.said}])})
