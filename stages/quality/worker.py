"""Signals of every box, and its quality by a model fitted to images with ground-truth boxes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.contract.context import Context
from pipeline.store.records import Done, ShardResult, Task
from schemas import TABLES
from stages.bases.halves import fold_of
from stages.bases.scored_tables import joined, of, scored_images
from stages.quality.candidates import COLUMNS, Candidates, candidates
from stages.quality.fit import cross_fitted, design, fit, reliability
from stages.quality.gate import Looks, checks, flags
from stages.quality.mask_pairs import COLUMNS as MASK_COLUMNS
from stages.quality.mask_pairs import mask_pairs
from stages.quality.options import LEAST_OF_EACH, QualityParams
from stages.quality.signals import SIGNALS, agreements, signals_of
from stages.scoring.arrow_tables import IMAGE_COLUMNS, Truth, truth_of
from stages.scoring.iou import best_iou
from stages.scoring.metrics import GT_KNOWN_IOU
from stages.scoring.ragged import BoolArray, FloatArray, IntArray, from_lists
from stages.scoring.verdict import Verdict
from stages.vision.image_reading import load
from stages.vision.image_rows import IMAGE_COLUMNS as IMAGE_ROW_COLUMNS
from stages.vision.image_rows import ImageRow

__all__ = ["QualityWorker"]

_CHANCE = 0.5
"""AUC at chance level; qualities whose AUC is not at least a standard error above it are left null."""
_LOOKED_AT = 64
"""Pictures that are opened to check that they are not of one colour."""

_CLASS_COLUMNS = ("image_id", "classes", "class_scores")


class QualityWorker:
    """Computes qualities of all sources at once. stage: the stage's name in the run."""

    def __init__(self, stage: str, params: QualityParams, context: Context) -> None:
        self._stage, self._params, self._context = stage, params, context

    def __call__(self, task: Task) -> ShardResult:
        """Qualities of all boxes, their fits, and verdicts. Raises UsageError for an image that a source has twice."""
        found = self._candidates(task)
        split = str(task.shard.args["split"])
        truth = truth_of(scored_images(self._context, task, IMAGE_COLUMNS, pc.field("split") == split), split)
        signals = self._signals(task, found)
        judged = self._judged(found, signals, truth)
        looks = self._looks(task, truth)
        verdicts = list(checks(found, looks))
        has_truth = any(own.said.get("given") for own in judged.values())
        tables = [
            _table(
                found,
                source,
                signals[source],
                judged[source].quality,
                flags(found, source, verdicts, looks, has_truth=has_truth),
            )
            for source in found.found
        ]
        fits = [
            {"given": False, "source": source, "method": found.methods[source], "split": split, **own.said}
            for source, own in judged.items()
        ]
        rows = {
            "quality_fits": fits,
            "verdicts": [each._asdict() for each in verdicts],
            "metrics": [_metric_row(each, split, task.shard.said) for each in verdicts],
        }
        made = {name: TABLES[name].from_rows(own) for name, own in rows.items()}
        return ShardResult({"qualities": pa.concat_tables(tables), **made})

    def _signals(self, task: Task, found: Candidates) -> dict[str, Mapping[str, FloatArray]]:
        pairs = agreements(np.stack([own.boxes for own in found.found.values()]))
        masks = self._mask_pairs(task, found.images) if self._params.masks else np.full_like(pairs, np.nan)
        confidence = self._confidence(task, found)
        return {
            source: signals_of(place, own, pairs, masks, found.sizes, found.labels, confidence)
            for place, (source, own) in enumerate(found.found.items())
        }

    def _candidates(self, task: Task) -> Candidates:
        tables = {
            source: joined(self._context, of(task, "labels", source), "pseudo_labels", COLUMNS)
            for source in self._params.labels
        }
        try:
            return candidates(tables)
        except ValueError as error:
            raise UsageError(f"stage {self._stage}: {error}") from error

    def _mask_pairs(self, task: Task, images: pa.Table) -> FloatArray:
        def shards(dones: tuple[Done, ...]) -> Iterator[pa.Table]:
            return (self._context.table(done, "pseudo_labels", MASK_COLUMNS) for done in dones)

        return mask_pairs(images, [shards(of(task, "labels", source)) for source in self._params.labels])

    def _confidence(self, task: Task, found: Candidates) -> FloatArray:
        """The classifier's probability ``(N,)`` of the label; 0 where the label is not among its predicted classes."""
        table = joined(self._context, task.inputs["classes"], "predictions", _CLASS_COLUMNS)
        place = pc.index_in(found.images.column("image_id"), table.column("image_id"))
        classes, scores = (table.column(name).take(place).to_pylist() for name in _CLASS_COLUMNS[1:])
        named = zip(found.labels.tolist(), classes, scores, strict=True)
        return np.array([_score_of(label, own, scored) for label, own, scored in named], dtype=np.float64)

    def _looks(self, task: Task, truth: Truth) -> Looks:
        images = joined(self._context, task.inputs["images"], "images", IMAGE_ROW_COLUMNS)
        table = joined(self._context, task.inputs["classes"], "predictions", _CLASS_COLUMNS)
        named = zip(*(table.column(name).to_pylist() for name in _CLASS_COLUMNS[:2]), strict=True)
        by_classes = task.shard.said.get("by_classes")
        return Looks(
            images.select(["image_id", "label_name", "split", "content_hash"]),
            [str(name) for name in by_classes] if isinstance(by_classes, list) else [],
            {image_id: classes[0] for image_id, classes in named if classes},
            self._constant(images),
            truth,
            self._params.min_boxed,
        )

    def _constant(self, images: pa.Table) -> BoolArray:
        """Whether each picture of a sample is of one colour, ``(K,)``; pictures that cannot be read are left out."""
        order = np.random.default_rng(0).permutation(images.num_rows)[:_LOOKED_AT]
        rows: list[ImageRow] = images.sort_by("image_id").take(pa.array(np.sort(order))).to_pylist()
        found = []
        for row in rows:
            with suppress(ValueError, OSError):
                pixels = load(self._context.read_image, row)
                found.append(bool((pixels == pixels[0, 0]).all()))
        return np.array(found, dtype=bool)

    def _judged(
        self, found: Candidates, signals: Mapping[str, Mapping[str, FloatArray]], truth: Truth
    ) -> dict[str, "_Judged"]:
        """The qualities of each source's boxes, by one model for all sources; NaN without a model."""
        boxed = {source: _boxed(found, own.boxes, truth) for source, own in found.found.items()}
        values = design([[own[name] for name in SIGNALS] for own in signals.values()])
        fitted = [values[source][rows] for source, (rows, _) in enumerate(boxed.values())]
        right = np.concatenate([own for _, own in boxed.values()])
        ids = [found.images.column("image_id").take(pa.array(rows)).to_pylist() for rows, _ in boxed.values()]
        unknown = {
            source: _Judged(np.full(len(found.images), np.nan), _of_source(len(rows), own))
            for source, (rows, own) in boxed.items()
        }
        too_few = len({image_id for own in ids for image_id in own}) < self._params.min_boxed
        if too_few or min(right.sum(), (~right).sum()) < LEAST_OF_EACH:
            return unknown
        folds = np.array([fold_of(image_id) for own in ids for image_id in own])
        crossed = cross_fitted(np.concatenate(fitted), right, folds)
        model = fit(np.concatenate(fitted), right)
        if model is None or np.isnan(crossed).any():  # some fold has only right, or only wrong, boxes to be fitted to
            return unknown
        together = reliability(crossed, right)
        given = together.auc - together.auc_error > _CHANCE
        judged, parts = {}, np.split(crossed, np.cumsum([len(rows) for rows, _ in boxed.values()])[:-1])
        for place, (source, (rows, own)) in enumerate(boxed.items()):
            quality = model.predict_proba(values[place])[:, 1]
            quality[np.isnan(found.found[source].boxes).any(axis=1)] = np.nan
            quality[rows] = parts[place]
            said = {**_of_source(len(rows), own, parts[place]), "given": given}
            judged[source] = _Judged(quality if given else unknown[source].quality, said)
        return judged


class _Judged(NamedTuple):
    """Qualities ``(N,)`` of a source's boxes, and the values of its row of quality_fits."""

    quality: FloatArray
    said: Mapping[str, float | None]


def _of_source(images: int, right: BoolArray, quality: FloatArray | None = None) -> dict[str, float | None]:
    """The numbers of a row of quality_fits. quality: cross-validated; None: no model was fitted."""
    if not images:
        return {"images": 0}
    if quality is None:
        return {"images": images, "right": 100 * float(right.mean())}
    return {name: None if np.isnan(value) else value for name, value in reliability(quality, right)._asdict().items()}


def _boxed(found: Candidates, boxes: FloatArray, truth: Truth) -> tuple[IntArray, BoolArray]:
    """Indices ``(B,)`` of candidates with both a box and a ground-truth box, and whether the box is right, ``(B,)``."""
    place = pc.index_in(found.images.column("image_id"), pa.array(truth.image_ids, pa.string()))
    place = pc.fill_null(place, -1).to_numpy()
    rows = np.flatnonzero((place >= 0) & ~np.isnan(boxes).any(axis=1))
    true = from_lists([truth.boxes.of(image) for image in place[rows]])
    return rows, best_iou(boxes[rows], true) >= GT_KNOWN_IOU


def _score_of(label: int, classes: list[int] | None, scores: list[float] | None) -> float:
    if classes is None or scores is None:
        return float("nan")
    return next((score for own, score in zip(classes, scores, strict=False) if own == label), 0.0)


def _table(
    found: Candidates, source: str, signals: Mapping[str, FloatArray], quality: FloatArray, flag: pa.Array
) -> pa.Table:
    """The rows of table qualities of one source, for the images in which it has a box."""
    spec, rows = TABLES["qualities"], found.images.num_rows
    said = {"method": found.methods[source], "source": source}
    columns = {
        **{name: found.images.column(name) for name in ("image_id", "label", "split")},
        **{name: pa.chunked_array([pa.repeat(pa.scalar(text), rows)]) for name, text in said.items()},
        **{name: _numbers(values) for name, values in signals.items()},
        "flag": pa.chunked_array([flag]),
        "quality": _numbers(quality),
    }
    return spec.from_columns(columns, rows).filter(pc.is_valid(columns["area"]))


def _metric_row(verdict: Verdict, split: str, said: Mapping[str, Json]) -> dict[str, Json]:
    """A row of table metrics for one check."""
    return {
        "run": said["run"],
        "dataset": said["dataset"],
        "split": split,
        "method": "verdict",
        "source": verdict.source,
        "metric": f"verdict_{verdict.check}",
        "protocol": "none",
        "value": verdict.value,
        "n": verdict.n,
    }


def _numbers(values: FloatArray) -> pa.ChunkedArray:
    """float32, NaN as null."""
    return pa.chunked_array([pa.array(values.astype(np.float32), from_pandas=True)])
