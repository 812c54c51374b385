"""The box rule at one threshold, map by map."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypedDict

import numpy as np

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES
from stages.bases.halves import half_of
from stages.boxes.boxes import PseudoBoxes, pseudo_boxes
from stages.boxes.options import BoxesParams
from stages.vision.image_rows import Carried
from stages.vision.masks import Rle, encode
from stages.vision.score_map_rows import ProvenanceColumns, ScoreMapRow, map_arrays

__all__ = ["BoxesWorker", "PseudoLabelRow"]

Choice = Literal["fixed", "validated", "oracle"]
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
    threshold_choice: Choice
    component_rule: str


class _ThresholdRow(TypedDict):
    """What is read of table thresholds."""

    source: str
    split: str
    half: int | None
    threshold: float
    components: str | None
    min_area: float | None
    enlargement: str | None


class _Thresholds(NamedTuple):
    """The threshold of each image.

    common: for all images that are not in `of_half`. split: the split that chose; None: a fixed number. of_half: with
    cross-fitting, half of that split -> threshold of its images, chosen on the other half.
    """

    common: float
    split: str | None = None
    of_half: Mapping[int, float] | None = None

    def of(self, row: ScoreMapRow) -> tuple[float, Choice]:
        """The threshold of an image, and how it was chosen."""
        if self.split is None:
            return self.common, "fixed"
        if row["split"] != self.split:
            return self.common, "validated"
        return (self.of_half[half_of(row["image_id"])], "validated") if self.of_half else (self.common, "oracle")


class BoxesWorker:
    """Turns score maps into the pseudo labels of one boxes stage. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: BoxesParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context
        self._rule = params.rule(params.kind, params.frame)

    def __call__(self, task: Task) -> ShardResult:
        """The pseudo labels of a shard. Raises UsageError for a threshold that was chosen for something else."""
        maps = self._context.table(task.inputs["maps"][0], "score_maps")
        thresholds = self._thresholds(task)
        rows: list[ScoreMapRow] = maps.drop_columns(["map"]).to_pylist()
        out = []
        for row, score_map in zip(rows, map_arrays(maps), strict=True):
            threshold, choice = thresholds.of(row)
            found = pseudo_boxes(score_map, row["image_height"], row["image_width"], self._rule, threshold)
            out.append(self._row(row, found, threshold, choice))
        return ShardResult({"pseudo_labels": TABLES["pseudo_labels"].from_rows(out)})

    def _thresholds(self, task: Task) -> _Thresholds:
        if self._params.threshold is not None:
            return _Thresholds(self._params.threshold)
        rows: list[_ThresholdRow] = self._context.table(task.inputs["thresholds"][0], "thresholds").to_pylist()
        for chosen in rows:
            self._check(chosen)
            chosen.setdefault("split", "dev")  # tables before version 3 lack these columns
            chosen.setdefault("half", None)
        by_half = {chosen["half"]: chosen["threshold"] for chosen in rows}
        of_half = {half: threshold for half, threshold in by_half.items() if half is not None}
        return _Thresholds(by_half[None], rows[0]["split"], of_half)

    def _check(self, chosen: _ThresholdRow) -> None:
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

    def _row(self, row: ScoreMapRow, found: PseudoBoxes, threshold: float, choice: Choice) -> PseudoLabelRow:
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
            "threshold_choice": choice,
            "component_rule": self._params.components,
            "backbone": row["backbone"],
            "tap": row["tap"],
            "input_size": row["input_size"],
            "weights_hash": row["weights_hash"],
            "seed": row["seed"],
        }
