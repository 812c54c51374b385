"""The box rule at one threshold, map by map."""

from typing import Literal, TypedDict

import numpy as np

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES
from stages.boxes.boxes import PseudoBoxes, pseudo_boxes
from stages.boxes.options import BoxesParams
from stages.vision.image_rows import Carried
from stages.vision.masks import Rle, encode
from stages.vision.score_map_rows import ProvenanceColumns, ScoreMapRow, map_arrays

__all__ = ["BoxesWorker", "PseudoLabelRow"]

_CORNERS = ("x0", "y0", "x1", "y1", "score")


class PseudoLabelRow(Carried, ProvenanceColumns):
    """A row of table pseudo_labels; described column by column in schemas."""

    method: str
    source: str
    boxes: list[dict[str, float]]
    masks: list[Rle]
    area_fraction: float
    contrast: float | None
    components: int
    flag: str | None
    threshold: float
    threshold_choice: Literal["fixed", "validated"]
    component_rule: str


class _ThresholdRow(TypedDict):
    """What is read of table thresholds."""

    source: str
    threshold: float
    components: str | None
    min_area: float | None
    enlargement: str | None


class BoxesWorker:
    """Turns score maps into the pseudo labels of one boxes stage. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: BoxesParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._rule = params.rule(params.kind, params.frame)

    def __call__(self, task: Task) -> ShardResult:
        """The pseudo labels of a shard. Raises UsageError for a threshold that was chosen for something else."""
        maps = self._context.table(task.inputs["maps"][0], "score_maps")
        threshold = self._threshold(task)
        rows: list[ScoreMapRow] = maps.drop_columns(["map"]).to_pylist()
        out = []
        for row, score_map in zip(rows, map_arrays(maps), strict=True):
            found = pseudo_boxes(score_map, row["image_height"], row["image_width"], self._rule, threshold)
            out.append(self._row(row, found, threshold))
        return ShardResult({"pseudo_labels": TABLES["pseudo_labels"].from_rows(out)})

    def _threshold(self, task: Task) -> float:
        if self._params.threshold is not None:
            return self._params.threshold
        table = self._context.table(task.inputs["thresholds"][0], "thresholds")
        chosen: _ThresholdRow
        (chosen,) = table.to_pylist()
        said = f"stage {self._stage}: {self._params.thresholds} chose a threshold for"
        if chosen["source"] != self._params.maps:
            raise UsageError(f"{said} {chosen['source']}, not for {self._params.maps}")
        counted = {
            "components": chosen["components"],
            "min_area": chosen["min_area"],
            "enlargement": chosen["enlargement"],
        }
        own = self._params.columns()
        if any(value is not None and value != own[name] for name, value in counted.items()):
            raise UsageError(f"{said} the box rule {counted}, not for {own}")
        return chosen["threshold"]

    def _row(self, row: ScoreMapRow, found: PseudoBoxes, threshold: float) -> PseudoLabelRow:
        return {
            "image_id": row["image_id"],
            "label": row["label"],
            "split": row["split"],
            "image_height": row["image_height"],
            "image_width": row["image_width"],
            "method": row["method"],
            "source": self._stage,
            "boxes": [dict(zip(_CORNERS, map(float, box), strict=True)) for box in found.boxes],
            "masks": [encode(mask) for mask in found.masks],
            "area_fraction": found.area_fraction,
            "contrast": found.contrast if np.isfinite(found.contrast) else None,
            "components": found.n_components,
            "flag": row["flag"] or found.flag,
            "threshold": threshold,
            "threshold_choice": "fixed" if self._params.thresholds is None else "validated",
            "component_rule": self._params.components,
            "backbone": row["backbone"],
            "tap": row["tap"],
            "input_size": row["input_size"],
            "weights_hash": row["weights_hash"],
            "seed": row["seed"],
        }
