"""Stage `boxes`: score maps -> pseudo boxes and masks. No forward pass, so a new rule costs seconds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, one_to_one
from pipeline.store import Store
from schemas import TABLES
from stages.boxes.boxes import BoxRule, PseudoBoxes, pseudo_boxes
from stages.vision.masks import encode

_COLUMNS = ("image_id", "label", "split", "method", "image_height", "image_width", "backbone", "tap", "input_size")


@dataclass(frozen=True)
class BoxesParams:
    """Parameters of `boxes`."""

    maps: str = reads("score_maps", "cam", "the score maps")
    thresholds: str | None = reads("thresholds", None, "stage that chose a threshold for these maps on dev")
    threshold: float | None = option(None, "a fixed threshold; exactly one of thresholds and threshold is given")
    kind: str = option(
        "relative",
        "relative: fraction of the min-maxed map; absolute: the map as it is (DDT: 0)",
        choices=("relative", "absolute"),
    )
    frame: str = option(
        "image",
        "image: enlarge, then threshold; grid: threshold on the map's own grid (PSOL's DDT)",
        choices=("image", "grid"),
    )
    components: str = option(
        "largest", "largest, all or union of the 8-connected components", choices=("largest", "all", "union")
    )
    min_area: float = option(0.0, "components below this fraction of the image are ignored")
    enlargement: str = option("bilinear", "bilinear or bicubic", choices=("bilinear", "bicubic"))


class Boxes(Stage):
    """Pseudo labels from score maps."""

    kind = "boxes"
    version = 1
    Params = BoxesParams
    outputs = ("pseudo_labels",)
    per_image = True

    def check(self) -> None:
        """Refuse a threshold too few or too many, and one that was chosen for another rule."""
        super().check()
        if (self.params.threshold is None) == (self.params.thresholds is None):
            raise UsageError(f"stage {self.name}: give either threshold (a number) or thresholds (a stage)")
        if self.params.thresholds is not None and (self.params.kind, self.params.frame) != ("relative", "image"):
            raise UsageError(f"stage {self.name}: thresholds are chosen for kind relative and frame image")

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard for each shard of score maps."""
        return one_to_one(recipe, inputs["maps"][0], "maps", extra={"thresholds": inputs["thresholds"]})

    def worker(self, context: Context) -> "_BoxesWorker":
        """Needs no set-up."""
        return _BoxesWorker(self.name, self.params, context)


class _BoxesWorker:
    def __init__(self, stage: str, params: BoxesParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context

    def __call__(self, task: Task) -> ShardResult:
        maps = self._context.table(task.inputs["maps"][0], "score_maps")
        threshold = self._threshold(task)
        rule = BoxRule(
            threshold,
            kind=self._params.kind,  # type: ignore[arg-type]
            frame=self._params.frame,  # type: ignore[arg-type]
            components=self._params.components,  # type: ignore[arg-type]
            min_area=self._params.min_area,
            enlargement=self._params.enlargement,  # type: ignore[arg-type]
        )
        values = maps.column("map").combine_chunks()
        rows = maps.drop_columns(["map"]).to_pylist()
        offsets = values.offsets.to_numpy()
        flat = values.values.to_numpy(zero_copy_only=False)
        out = []
        for number, row in enumerate(rows):
            score_map = flat[offsets[number] : offsets[number + 1]].reshape(row["height"], row["width"])
            found = pseudo_boxes(score_map, row["image_height"], row["image_width"], rule)
            out.append(self._row(row, found, threshold))
        return ShardResult({"pseudo_labels": TABLES["pseudo_labels"].from_rows(out)})

    def _threshold(self, task: Task) -> float:
        if self._params.threshold is not None:
            return self._params.threshold
        table = self._context.table(task.inputs["thresholds"][0], "thresholds")
        (chosen,) = table.to_pylist()
        if chosen["source"] != self._params.maps:
            raise UsageError(
                f"stage {self._stage}: {self._params.thresholds} chose a threshold for {chosen['source']},"
                f" not for {self._params.maps}"
            )
        return float(chosen["threshold"])

    def _row(self, row: dict[str, Any], found: PseudoBoxes, threshold: float) -> dict[str, Any]:
        names = ("x0", "y0", "x1", "y1", "score")
        kept = {name: row[name] for name in (*_COLUMNS, "weights_hash", "seed")}
        return {
            **kept,
            "source": self._stage,
            "boxes": [dict(zip(names, map(float, box), strict=True)) for box in found.boxes],
            "masks": [encode(mask) for mask in found.masks],
            "area_fraction": found.area_fraction,
            "contrast": found.contrast if np.isfinite(found.contrast) else None,
            "components": found.n_components,
            "flag": row["flag"] or found.flag,
            "threshold": threshold,
            "threshold_choice": "fixed" if self._params.thresholds is None else "validated",
            "component_rule": self._params.components,
        }
