"""Stages `calibrate` (thresholds chosen on dev) and `evaluate` (metrics of everything, trivial predictors beside)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.params import option, reads
from pipeline.stage import Context, Done, Inputs, Shard, ShardResult, Stage, Task, Upstream, whole
from pipeline.store import Store
from schemas import TABLES
from schemas.types import SPLITS
from stages.evaluate.cut_counts import CUT_THRESHOLDS, choose_threshold, count_cuts
from stages.evaluate.fixed_rule import iou_per_threshold
from stages.evaluate.gather import NO_MAP, TRUTH_COLUMNS, Truth, first_boxes, score_maps, truth_of
from stages.evaluate.ragged import IntArray
from stages.evaluate.rows import Subject, box_rows, classifier_rows, sweep_rows, trivial_rows
from stages.vision.score_maps import enlarge, min_max

_TOP = 5
_MAP_COLUMNS = ("image_id", "split", "method", "seed", "height", "width", "map")
_BOX_COLUMNS = ("image_id", "split", "method", "seed", "boxes")
_LABEL_COLUMNS = (*_BOX_COLUMNS, "threshold", "threshold_choice")


@dataclass(frozen=True)
class CalibrateParams:
    """Parameters of `calibrate`."""

    images: str = reads("images", "ingest", "the images")
    maps: str = reads("score_maps", "cam", "the score maps that get a threshold")
    iou: float = option(0.5, "IoU at which a box counts as correct")
    enlargement: str = option("bilinear", "bilinear or bicubic, as in `boxes`")


class Calibrate(Stage):
    """Chooses, on dev alone, the threshold at which the pipeline of `boxes` (frame image, relative) is best."""

    kind = "calibrate"
    version = 1
    Params = CalibrateParams
    outputs = ("thresholds",)
    light = True

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard, which reads those shards that hold images of dev: others cannot change the choice."""
        return whole(recipe, {slot: tuple(map(_with_dev, upstreams)) for slot, upstreams in inputs.items()})

    def worker(self, context: Context) -> "_Calibration":
        """Needs no set-up."""
        return _Calibration(self.name, self.params, context)


def _with_dev(upstream: Upstream) -> Upstream:
    return replace(upstream, shards=[shard for shard in upstream.shards if "dev" in shard.labels])


class _Calibration:
    def __init__(self, stage: str, params: CalibrateParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context

    def __call__(self, task: Task) -> ShardResult:
        dev = pc.field("split") == "dev"
        truth = truth_of(_joined(self._context, task.inputs["images"], "images", TRUTH_COLUMNS, dev), "dev")
        if not truth.image_ids:
            raise UsageError(
                f"stage {self._stage}: no image of split dev has a ground-truth box; give a fixed threshold"
            )
        return ShardResult({"thresholds": TABLES["thresholds"].from_rows([self._choose(task, truth)])})

    def _choose(self, task: Task, truth: Truth) -> dict[str, Any]:
        table = _joined(self._context, task.inputs["maps"], "score_maps", _MAP_COLUMNS, pc.field("split") == "dev")
        maps = score_maps(table)
        best = np.stack([self._ious(score_map, truth, i) for i, score_map in enumerate(truth.take(maps, NO_MAP))])
        choice = choose_threshold(count_cuts(best, (self._params.iou,)), CUT_THRESHOLDS, self._params.iou)
        return {
            "method": _first(table, self._params.maps)["method"],
            "source": self._params.maps,
            "iou": self._params.iou,
            "threshold": choice.threshold,
            "value": choice.value,
            "n": len(truth.image_ids),
        }

    def _ious(self, score_map: np.ndarray, truth: Truth, number: int) -> np.ndarray:
        width, height = (int(side) for side in truth.sizes[number])
        enlarged = enlarge(score_map.astype(np.float32), height, width, self._params.enlargement)  # type: ignore[arg-type]
        return iou_per_threshold(min_max(enlarged), truth.boxes.of(number))


@dataclass(frozen=True)
class EvaluateParams:
    """Parameters of `evaluate`."""

    images: str = reads("images", "ingest", "the images")
    classes: str | None = reads("predictions", None, "stage whose classes give cls_top1, top1_loc and the like")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "pseudo labels whose boxes are scored")
    predictions: tuple[str, ...] = reads("predictions", (), "predicted boxes that are scored")
    maps: tuple[str, ...] = reads("score_maps", (), "score maps whose thresholds are swept")
    splits: tuple[str, ...] = option(("val", "test"), "splits that are reported", choices=SPLITS)


class Evaluate(Stage):
    """Every metric of every method, with protocol, threshold and interval; never without the trivial predictors."""

    kind = "evaluate"
    version = 1
    Params = EvaluateParams
    outputs = ("metrics", "curves")
    light = True

    def plan(self, recipe: str, inputs: Inputs, store: Store) -> list[Shard]:
        """One shard that reads everything."""
        (shard,) = whole(recipe, inputs)
        ingest = inputs["images"][0]
        root = str(ingest.ingredients["params"]["root"]).rstrip("/").rsplit("/", 1)[-1]
        payload = {"run": recipe, "dataset": f"{ingest.kind.partition('.')[2]}:{root}"}
        return [Shard(key=shard.key, inputs=shard.inputs, payload=payload)]

    def worker(self, context: Context) -> "_Evaluation":
        """Needs no set-up."""
        return _Evaluation(self.params, context)


class _Evaluation:
    def __init__(self, params: EvaluateParams, context: Context) -> None:
        self._params, self._context = params, context

    def __call__(self, task: Task) -> ShardResult:
        images = _joined(self._context, task.inputs["images"], "images", TRUTH_COLUMNS)
        train = truth_of(images, "train")
        metrics: list[dict[str, Any]] = []
        curves: list[dict[str, Any]] = []
        for split in self._params.splits:
            if not pc.any(pc.equal(images.column("split"), split)).as_py():
                continue
            rows, lines = self._split(task, images, truth_of(images, split), train, split)
            metrics += [{**task.shard.payload, "split": split, **row} for row in rows]
            curves += [{"split": split, **line} for line in lines]
        return ShardResult(
            {"metrics": TABLES["metrics"].from_rows(metrics), "curves": TABLES["curves"].from_rows(curves)}
        )

    def _split(
        self, task: Task, images: pa.Table, truth: Truth, train: Truth, split: str
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        of_split = pc.field("split") == split
        rows: list[dict[str, Any]] = []
        curves: list[dict[str, Any]] = []
        ranked = self._ranked(task, of_split)
        if ranked:
            rows += self._classifier(images.filter(of_split), ranked)
        if not truth.image_ids:
            return rows, curves
        classes = np.stack(truth.take(ranked, np.full(_TOP, -1))) if ranked else None
        for subject, table in self._box_sources(task, of_split):
            boxes = np.asarray(truth.take(first_boxes(table), (0.0, 0.0, 0.0, 0.0)), dtype=np.float64)
            rows += box_rows(subject, truth, boxes, classes)
        for source in self._params.maps:
            table = _joined(self._context, _of(task, "maps", source), "score_maps", _MAP_COLUMNS, of_split)
            first = _first(table, source)
            subject = Subject(first["method"], source, seed=first["seed"])
            found, lines = sweep_rows(subject, truth, score_maps(table))
            rows += found
            curves += lines
        rows += trivial_rows(truth, train)
        return rows, curves

    def _ranked(self, task: Task, of_split: Any) -> dict[str, IntArray]:
        """Ranked classes (5,) by image id, -1 beyond the last."""
        table = _joined(
            self._context, task.inputs["classes"], "predictions", ("image_id", "classes", "split"), of_split
        )
        ids, classes = table.column("image_id").to_pylist(), table.column("classes").to_pylist()
        padded = ((ranked or [])[:_TOP] for ranked in classes)
        return {
            image_id: np.array(ranked + [-1] * (_TOP - len(ranked)), np.int64)
            for image_id, ranked in zip(ids, padded, strict=True)
        }

    def _classifier(self, images: pa.Table, ranked: dict[str, IntArray]) -> Iterator[dict[str, Any]]:
        """An image that has no classes, because a stage quarantined it, counts as wrong, as it does for boxes."""
        unknown = np.full(_TOP, -1)
        classes = np.stack([ranked.get(image_id, unknown) for image_id in images.column("image_id").to_pylist()])
        labels = images.column("label").to_numpy().astype(np.int64)
        yield from classifier_rows(Subject("classify", self._params.classes), labels, classes)

    def _box_sources(self, task: Task, of_split: Any) -> Iterator[tuple[Subject, pa.Table]]:
        for source in self._params.labels:
            table = _joined(self._context, _of(task, "labels", source), "pseudo_labels", _LABEL_COLUMNS, of_split)
            first = _first(table, source)
            yield Subject(first["method"], source, first["threshold"], first["threshold_choice"], first["seed"]), table
        for source in self._params.predictions:
            table = _joined(self._context, _of(task, "predictions", source), "predictions", _BOX_COLUMNS, of_split)
            first = _first(table, source)
            yield Subject(first["method"], source, seed=first["seed"]), table


def _of(task: Task, slot: str, source: str) -> tuple[Done, ...]:
    return tuple(done for done in task.inputs[slot] if done.stage == source)


def _first(table: pa.Table, source: str) -> dict[str, Any]:
    """The first row: method and threshold are the same in all. Raises UsageError where there is none."""
    if not table.num_rows:
        raise UsageError(f"stage {source} has no row of a split that is scored; give it that split")
    row: dict[str, Any] = table.slice(0, 1).to_pylist()[0]
    return row


def _joined(
    context: Context, dones: tuple[Done, ...], table: str, columns: tuple[str, ...], filters: Any = None
) -> pa.Table:
    """One table of several shards."""
    parts = [context.table(done, table, columns, filters) for done in dones]
    return pa.concat_tables(parts) if parts else TABLES[table].empty().select(list(columns))
