"""Stage `evaluate`: every metric of every method, trivial predictors beside them, by class and size, in pairs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.params import option, reads
from pipeline.stage import Context, Inputs, Shard, ShardResult, Stage, Task, whole
from pipeline.store import Store
from schemas import TABLES
from schemas.types import SPLITS
from stages.evaluate.error_analysis import METRICS
from stages.evaluate.gather import TRUTH_COLUMNS, Truth, first_boxes, tallies_of, truth_of
from stages.evaluate.groups import by_class, by_size, comparison_rows, group_rows
from stages.evaluate.masks import mask_iou
from stages.evaluate.metrics import FITTING_IOU, GT_KNOWN_IOU, MetricKey, PerImage
from stages.evaluate.protocols import PROTOCOLS
from stages.evaluate.ragged import IntArray
from stages.evaluate.rows import (
    Subject,
    best_trivial,
    box_rows,
    classifier_rows,
    curve_rows,
    located,
    mask_row,
    swept_rows,
    trivial_rows,
)
from stages.evaluate.stage.read import first, joined, of, read_mask
from stages.evaluate.tally import cut_counts, merge
from stages.vision.masks import decode
from stages.vision.rows import is_of_predicted

_TOP = 5
_CLASS_COLUMNS = ("image_id", "split", "method", "classes")
OF_PREDICTED = ("top1_loc", *METRICS.values())
"""What a box of the predicted class can be scored by: GT-known needs the box of the true class, Top-5 five boxes."""

_IMAGE_COLUMNS = (*TRUTH_COLUMNS, "label_name", "mask_uri")
_BOX_COLUMNS = ("image_id", "split", "method", "seed", "boxes")
_LABEL_COLUMNS = (*_BOX_COLUMNS, "threshold", "threshold_choice")


@dataclass(frozen=True)
class EvaluateParams:
    """Parameters of `evaluate`."""

    images: str = reads("images", "ingest", "the images")
    classes: str | None = reads("predictions", None, "stage whose classes give cls_top1, top1_loc and the like")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "pseudo labels whose boxes are scored")
    predictions: tuple[str, ...] = reads("predictions", (), "predicted boxes that are scored")
    counts: tuple[str, ...] = reads("counts", (), "sweeps of score maps: MaxBoxAcc, PxAP, Peak-IoU")
    splits: tuple[str, ...] = option(("val", "test"), "splits that are reported", choices=SPLITS)
    protocols: tuple[str, ...] = option(
        ("original",), "protocols under which boxes are scored", choices=tuple(PROTOCOLS)
    )


class Evaluate(Stage):
    """Every metric of every method, with protocol, threshold and interval; never without the trivial predictors."""

    kind = "evaluate"
    version = 4
    Params = EvaluateParams
    outputs = ("metrics", "curves", "groups", "comparisons")
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


@dataclass
class _Found:
    """The rows of each table of one split."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)


class _Evaluation:
    def __init__(self, params: EvaluateParams, context: Context) -> None:
        self._params, self._context = params, context

    def __call__(self, task: Task) -> ShardResult:
        images = joined(self._context, task.inputs["images"], "images", _IMAGE_COLUMNS)
        train = truth_of(images, "train")
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in Evaluate.outputs}
        for split in self._params.splits:
            of_split = images.filter(pc.field("split") == split)
            if of_split.num_rows:
                found = self._split(task, of_split, truth_of(of_split, split), train, split)
                for name in rows:
                    said = task.shard.payload if name == "metrics" else {}
                    rows[name] += [{**said, "split": split, **row} for row in getattr(found, name)]
        return ShardResult({name: TABLES[name].from_rows(own) for name, own in rows.items()})

    def _split(self, task: Task, images: pa.Table, truth: Truth, train: Truth, split: str) -> _Found:
        of_split = pc.field("split") == split
        found = _Found()
        method, ranked = self._ranked(task, of_split)
        if ranked:
            found.metrics += self._classifier(images, method, ranked)
        for source in self._params.labels:
            found.metrics += self._masks(task, source, images)
        for source in self._params.counts:
            self._swept(task, source, of_split, truth, found)
        if truth.image_ids:
            classes = np.stack(truth.take(ranked, np.full(_TOP, -1))) if ranked else None
            self._boxes(task, images, truth, train, classes, found)
            found.metrics += trivial_rows(truth, train, self._params.protocols)
        return found

    def _boxes(
        self, task: Task, images: pa.Table, truth: Truth, train: Truth, classes: IntArray | None, found: _Found
    ) -> None:
        """Everything about one box an image: metrics, by class and by size, methods against each other."""
        names = dict(zip(images.column("label").to_pylist(), images.column("label_name").to_pylist(), strict=True))
        groups = {"class": by_class(truth.labels, names), "size": by_size(truth)}
        first_protocol = self._params.protocols[0]
        vectors: list[tuple[str, PerImage]] = []
        for subject, table in self._box_sources(task, pc.field("split") == images.column("split")[0]):
            boxes = np.asarray(truth.take(first_boxes(table), (0.0, 0.0, 0.0, 0.0)), dtype=np.float64)
            own_class = not is_of_predicted(str(subject.method))
            for protocol in self._params.protocols:
                rows = box_rows(subject, truth, boxes, classes, protocol)
                found.metrics += [row for row in rows if own_class or row["metric"] in OF_PREDICTED]
            correct = located(truth, boxes, classes, first_protocol)
            per_image = {key: vector for key, vector in correct.items() if own_class or key.metric in OF_PREDICTED}
            vectors.append((str(subject.source), per_image))
            for by, members in groups.items():
                found.groups += group_rows(subject, per_image, first_protocol, by, members)
        found.comparisons += comparison_rows(vectors, first_protocol)
        for name, best in best_trivial(truth, train, first_protocol):
            correct = {
                MetricKey("gt_known", GT_KNOWN_IOU): best[GT_KNOWN_IOU].correct,
                MetricKey("gt_delta", FITTING_IOU): best[FITTING_IOU].correct,
            }
            for by, members in groups.items():
                found.groups += group_rows(Subject(name, None), correct, first_protocol, by, members)

    def _swept(self, task: Task, source: str, of_split: Any, truth: Truth, found: _Found) -> None:
        table = joined(
            self._context, of(task, "counts", source), "counts", tuple(TABLES["counts"].schema.names), of_split
        )
        if not table.num_rows and not truth.image_ids:
            return
        said = first(table, source)
        subject = Subject(said["method"], said["source"], seed=said["seed"])
        merged = merge(tallies_of(table))
        found.metrics += swept_rows(subject, merged, len(truth.image_ids))
        largest = cut_counts(merged, "largest", len(truth.image_ids))
        if largest is not None:
            found.curves += curve_rows(subject, largest)

    def _masks(self, task: Task, source: str, images: pa.Table) -> Iterator[dict[str, Any]]:
        """mask_iou of pseudo masks; no row where no image has a ground-truth mask."""
        masked = images.filter(pc.field("mask_uri").is_valid()).select(["image_id", "mask_uri", "height", "width"])
        if not masked.num_rows:
            return
        columns = ("image_id", "method", "seed", "threshold", "threshold_choice", "masks")
        wanted = pc.field("image_id").isin(masked.column("image_id"))
        table = joined(self._context, of(task, "labels", source), "pseudo_labels", columns, wanted)
        said = first(table, source)
        masks = dict(zip(table.column("image_id").to_pylist(), table.column("masks").to_pylist(), strict=True))
        ious = [self._mask_iou(row, masks.get(row["image_id"]) or []) for row in masked.to_pylist()]
        subject = Subject(said["method"], source, said["threshold"], said["threshold_choice"], said["seed"])
        yield mask_row(subject, np.array(ious))

    def _mask_iou(self, image: Mapping[str, Any], rles: list[Any]) -> float:
        height, width = image["height"], image["width"]
        truth = read_mask(self._context, image["image_id"], image["mask_uri"], height, width)
        predicted = np.zeros((height, width), bool)
        for rle in rles:
            predicted |= decode(rle)
        return mask_iou(predicted, truth)

    def _ranked(self, task: Task, of_split: Any) -> tuple[str, dict[str, IntArray]]:
        """The method that predicts classes, and ranked classes (5,) by image id, -1 beyond the last."""
        table = joined(self._context, task.inputs["classes"], "predictions", _CLASS_COLUMNS, of_split)
        ids, classes = table.column("image_id").to_pylist(), table.column("classes").to_pylist()
        padded = ((ranked or [])[:_TOP] for ranked in classes)
        by_image = {
            image_id: np.array(ranked + [-1] * (_TOP - len(ranked)), np.int64)
            for image_id, ranked in zip(ids, padded, strict=True)
        }
        return next(iter(table.column("method").to_pylist()), ""), by_image

    def _classifier(self, images: pa.Table, method: str, ranked: dict[str, IntArray]) -> Iterator[dict[str, Any]]:
        """An image that has no classes, because a stage quarantined it, counts as wrong, as it does for boxes."""
        unknown = np.full(_TOP, -1)
        classes = np.stack([ranked.get(image_id, unknown) for image_id in images.column("image_id").to_pylist()])
        labels = images.column("label").to_numpy().astype(np.int64)
        yield from classifier_rows(Subject(method, self._params.classes), labels, classes)

    def _box_sources(self, task: Task, of_split: Any) -> Iterator[tuple[Subject, pa.Table]]:
        for source in self._params.labels:
            table = joined(self._context, of(task, "labels", source), "pseudo_labels", _LABEL_COLUMNS, of_split)
            said = first(table, source)
            yield Subject(said["method"], source, said["threshold"], said["threshold_choice"], said["seed"]), table
        for source in self._params.predictions:
            table = joined(self._context, of(task, "predictions", source), "predictions", _BOX_COLUMNS, of_split)
            said = first(table, source)
            yield Subject(said["method"], source, seed=said["seed"]), table
