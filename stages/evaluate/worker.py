"""Metrics, curves, groups and comparisons, split by split."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contract.context import Context
from pipeline.store.records import ShardResult, Task
from schemas import TABLES
from stages.bases.scored_tables import MaskedImage, joined, masked_images, of, origin, read_masks, scored_images
from stages.evaluate.options import EvaluateParams
from stages.scoring.arrow_tables import IMAGE_COLUMNS, Truth, first_boxes, tallies_of, truth_of
from stages.scoring.error_analysis import METRICS
from stages.scoring.groups import (
    ComparisonRow,
    GroupRow,
    by_class,
    by_size,
    comparison_rows,
    group_rows,
    yardstick_rows,
)
from stages.scoring.mask_metrics import mask_iou
from stages.scoring.metric_rows import (
    CurveRow,
    MetricRow,
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
from stages.scoring.metrics import FITTING_IOU, GT_KNOWN_IOU, MetricKey, PerImage
from stages.scoring.ragged import IntArray
from stages.scoring.tally import cut_counts, merge
from stages.vision.image_rows import is_of_predicted
from stages.vision.masks import Rle, decode

__all__ = ["OF_PREDICTED", "EvaluateWorker"]

_TOP = 5
_CLASS_COLUMNS = ("image_id", "split", "method", "classes")
OF_PREDICTED = ("top1_loc", *METRICS.values())
"""Metrics of a box of the predicted class: GT-known would need the box of the true class, Top-5 five boxes."""

_IMAGE_COLUMNS = (*IMAGE_COLUMNS, "label_name")
_BOX_COLUMNS = ("image_id", "split", "method", "seed", "boxes")
_LABEL_COLUMNS = (*_BOX_COLUMNS, "threshold", "threshold_choice")


@dataclass
class _Found:
    """The rows of each table of one split."""

    metrics: list[MetricRow] = field(default_factory=list)
    curves: list[CurveRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    comparisons: list[ComparisonRow] = field(default_factory=list)

    def tables(
        self, split: str, said: Mapping[str, object], drawn: Container[object] = ()
    ) -> dict[str, list[Mapping[str, object]]]:
        """The rows of each table. said: columns run and dataset of metrics. drawn: sources that use drawn boxes."""
        return {
            "metrics": [
                {**said, "split": split, **row, "supervision": "boxes" if row["source"] in drawn else None}
                for row in self.metrics
            ],
            "curves": [{"split": split, **row} for row in self.curves],
            "groups": [{"split": split, **row} for row in self.groups],
            "comparisons": [{"split": split, **row} for row in self.comparisons],
        }


class EvaluateWorker:
    """Every table of every split that is reported."""

    def __init__(self, params: EvaluateParams, context: Context) -> None:
        self._params, self._context = params, context

    def __call__(self, task: Task) -> ShardResult:
        """The rows of all splits."""
        images = scored_images(self._context, task, _IMAGE_COLUMNS)
        train = truth_of(images, "train")
        rows: dict[str, list[Mapping[str, object]]] = {name: [] for name in _Found().tables("", {})}
        for split in self._params.splits:
            of_split = images.filter(pc.field("split") == split)
            if of_split.num_rows:
                found = self._split(task, of_split, truth_of(of_split, split), train, split)
                said = {name: task.shard.said[name] for name in ("run", "dataset")}
                drawn = task.shard.said.get("of_drawn_boxes")
                for name, own in found.tables(split, said, drawn if isinstance(drawn, list) else ()).items():
                    rows[name] += own
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
        """All rows about one box per image: metrics, groups by class and by size, comparisons of methods."""
        names = dict(zip(images.column("label").to_pylist(), images.column("label_name").to_pylist(), strict=True))
        groups = {"class": by_class(truth.labels, names), "size": by_size(truth)}
        first_protocol = self._params.protocols[0]
        vectors: list[tuple[str, PerImage]] = []
        for subject, table in self._box_sources(task, images.column("split")[0].as_py()):
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
        yardsticks: list[tuple[str, PerImage]] = []
        for name, best in best_trivial(truth, train, first_protocol):
            reached = {
                MetricKey("gt_known", GT_KNOWN_IOU): best[GT_KNOWN_IOU].correct,
                MetricKey("gt_delta", FITTING_IOU): best[FITTING_IOU].correct,
            }
            for by, members in groups.items():
                found.groups += group_rows(Subject(name, None), reached, first_protocol, by, members)
            yardsticks.append((name, reached))
        found.comparisons += yardstick_rows(vectors, yardsticks, first_protocol)

    def _swept(self, task: Task, source: str, of_split: pc.Expression, truth: Truth, found: _Found) -> None:
        table = joined(
            self._context, of(task, "counts", source), "counts", tuple(TABLES["counts"].schema.names), of_split
        )
        if not table.num_rows and not truth.image_ids:
            return
        said = origin(table, source)
        subject = Subject(said.method, said.source, seed=said.seed)
        merged = merge(tallies_of(table))
        found.metrics += swept_rows(subject, merged, len(truth.image_ids))
        largest = cut_counts(merged, "largest", len(truth.image_ids))
        if largest is not None:
            found.curves += curve_rows(subject, largest)

    def _masks(self, task: Task, source: str, images: pa.Table) -> Iterator[MetricRow]:
        """mask_iou of pseudo masks; no row if no image has a ground-truth mask, or there are no pseudo masks."""
        masked = masked_images(images)
        if not masked:
            return
        split = images.column("split")[0].as_py()
        columns = ("image_id", "method", "seed", "threshold", "threshold_choice", "masks")
        wanted = pc.field("image_id").isin(pa.array([image["image_id"] for image in masked], pa.string()))
        table = joined(self._context, of(task, "labels", source), "pseudo_labels", columns, wanted)
        if table.column("masks").null_count == table.num_rows:
            return
        said = origin(table, source)
        masks = dict(zip(table.column("image_id").to_pylist(), table.column("masks").to_pylist(), strict=True))
        ious = [self._mask_iou(row, masks.get(row["image_id"]) or []) for row in masked]
        subject = Subject(
            said.method, source, said.threshold, _choice(task, source, split, said.threshold_choice), said.seed
        )
        yield mask_row(subject, np.array(ious))

    def _mask_iou(self, image: MaskedImage, rles: Sequence[Rle]) -> float:
        truth = read_masks(self._context, image).whole(image["height"], image["width"])
        predicted = np.zeros(truth.shape, bool)
        for rle in rles:
            predicted |= decode(rle)
        return mask_iou(predicted, truth)

    def _ranked(self, task: Task, of_split: pc.Expression) -> tuple[str, dict[str, IntArray]]:
        """The method that predicts classes, and ranked classes (5,) by image id, -1 beyond the last."""
        table = joined(self._context, task.inputs["classes"], "predictions", _CLASS_COLUMNS, of_split)
        ids, classes = table.column("image_id").to_pylist(), table.column("classes").to_pylist()
        padded = ((ranked or [])[:_TOP] for ranked in classes)
        by_image = {
            image_id: np.array(ranked + [-1] * (_TOP - len(ranked)), np.int64)
            for image_id, ranked in zip(ids, padded, strict=True)
        }
        return next(iter(table.column("method").to_pylist()), ""), by_image

    def _classifier(self, images: pa.Table, method: str, ranked: dict[str, IntArray]) -> Iterator[MetricRow]:
        """Metrics of classes; an image without any, because it was quarantined, counts as wrong, as for boxes."""
        unknown = np.full(_TOP, -1)
        classes = np.stack([ranked.get(image_id, unknown) for image_id in images.column("image_id").to_pylist()])
        labels = images.column("label").to_numpy().astype(np.int64)
        yield from classifier_rows(Subject(method, self._params.classes), labels, classes)

    def _box_sources(self, task: Task, split: str) -> Iterator[tuple[Subject, pa.Table]]:
        of_split = pc.field("split") == split
        for source in self._params.labels:
            table = joined(self._context, of(task, "labels", source), "pseudo_labels", _LABEL_COLUMNS, of_split)
            said = origin(table, source)
            yield (
                Subject(
                    said.method, source, said.threshold, _choice(task, source, split, said.threshold_choice), said.seed
                ),
                table,
            )
        for source in self._params.predictions:
            table = joined(self._context, of(task, "predictions", source), "predictions", _BOX_COLUMNS, of_split)
            said = origin(table, source)
            yield (
                Subject(
                    said.method,
                    source,
                    threshold_choice=_choice(task, source, split, said.threshold_choice),
                    seed=said.seed,
                ),
                table,
            )


def _choice(task: Task, source: str, split: str, said: str | None) -> str | None:
    """How a source's threshold was chosen: by its rows, but `oracle` if one behind it was chosen on this split."""
    chosen_on = task.shard.said.get("chosen_on")
    splits = chosen_on.get(source) if isinstance(chosen_on, Mapping) else None
    return "oracle" if isinstance(splits, list) and split in splits else said
