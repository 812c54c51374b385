"""Metrics rows: every number with its protocol, threshold, how that was chosen, and its bootstrap interval."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.evaluate.bootstrap import mean_interval
from stages.evaluate.cut_counts import CUT_THRESHOLDS, count_cuts, max_box_acc, max_box_acc_v2
from stages.evaluate.gather import NO_MAP, Truth
from stages.evaluate.metrics import GT_KNOWN_IOU, MetricKey, PerImage, gt_delta, localisation, top_k
from stages.evaluate.protocols import PROTOCOLS
from stages.evaluate.ragged import FloatArray, IntArray
from stages.evaluate.score_maps import evaluator_score_map
from stages.evaluate.sweep import sweep
from stages.evaluate.sweep_opencv import quantize
from stages.evaluate.trivial import BestTrivial, best_over, median_box, predictors

_CHUNK = 512
LEVELS = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Subject:
    """What a row is about: the method, the stage behind it, and the threshold its boxes were made with."""

    method: str
    source: str | None
    threshold: float | None = None
    threshold_choice: str | None = None
    seed: int | None = None


def per_image_rows(subject: Subject, per_image: PerImage, protocol: str | None) -> Iterator[dict[str, Any]]:
    """A row for each metric, with its 95 % bootstrap interval."""
    for key, vector in per_image.items():
        interval = mean_interval(vector, seed=0) if len(vector) else None
        yield {
            "method": subject.method,
            "source": subject.source,
            "seed": subject.seed,
            "metric": key.metric,
            "iou": key.iou,
            "protocol": protocol if key.iou is not None else None,
            "threshold": subject.threshold if key.iou is not None else None,
            "threshold_choice": subject.threshold_choice if key.iou is not None else None,
            "value": interval.value if interval else None,
            "n": len(vector),
            "ci_low": interval.low if interval else None,
            "ci_high": interval.high if interval else None,
        }


def box_rows(
    subject: Subject, truth: Truth, boxes: FloatArray, ranked: IntArray | None, protocol: str = "original"
) -> Iterator[dict[str, Any]]:
    """gt_known, gt_delta and, with ranked classes (N, 5), top1_loc and top5_loc of one box an image (N, 4)."""
    adapter = PROTOCOLS[protocol]
    best = adapter.best_iou(boxes, truth.boxes, truth.sizes)
    located = localisation(best, truth.labels if ranked is not None else None, ranked, strict=adapter.strict)
    kept = {key: vector for key, vector in located.items() if key.iou is not None}
    yield from per_image_rows(subject, {**kept, **gt_delta(best, strict=adapter.strict)}, protocol)


def classifier_rows(subject: Subject, labels: IntArray, ranked: IntArray) -> Iterator[dict[str, Any]]:
    """cls_top1 and cls_top5 of ranked classes (N, 5), -1 where there are fewer."""
    per_image = {MetricKey(f"cls_top{k}", None): top_k(labels, ranked, k) for k in (1, 5)}
    yield from per_image_rows(subject, per_image, None)


def sweep_rows(
    subject: Subject, truth: Truth, maps: Mapping[str, np.ndarray]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """MaxBoxAcc and MaxBoxAccV2 under the wsolevaluation protocol, and the curves behind them.

    Their thresholds are the best on the very split that is reported: `oracle`.
    """
    protocol = PROTOCOLS["wsolevaluation"]
    frame_truth = protocol.ground_truth(truth.boxes, truth.sizes)
    largest = every = None
    for start in range(0, len(truth.image_ids), _CHUNK):
        ids = truth.image_ids[start : start + _CHUNK]
        chosen_maps = (maps.get(image_id, NO_MAP).astype(np.float64) for image_id in ids)
        pixels = np.stack([quantize(evaluator_score_map(score_map)) for score_map in chosen_maps])
        best = sweep(pixels, frame_truth.part(start, start + len(ids)))
        counts = count_cuts(best["largest"]), count_cuts(best["all"])
        largest = counts[0] if largest is None else largest + counts[0]
        every = counts[1] if every is None else every + counts[1]
    if largest is None or every is None:
        return [], []
    chosen = float(CUT_THRESHOLDS[int(np.argmax(largest.curve(GT_KNOWN_IOU)))])
    common = {
        "method": subject.method,
        "source": subject.source,
        "seed": subject.seed,
        "protocol": protocol.name,
        "threshold_choice": "oracle",
        "n": largest.images,
    }
    rows = [
        {**common, "metric": "max_box_acc", "iou": GT_KNOWN_IOU, "threshold": chosen, "value": max_box_acc(largest)},
        {**common, "metric": "max_box_acc_v2", "value": max_box_acc_v2(every)},
    ]
    curves = [
        {
            "method": subject.method,
            "source": subject.source,
            "iou": level,
            "protocol": protocol.name,
            "threshold": float(threshold),
            "value": float(value),
        }
        for level in largest.levels
        for threshold, value in zip(CUT_THRESHOLDS, largest.curve(level), strict=True)
    ]
    return rows, curves


def trivial_rows(truth: Truth, train: Truth) -> Iterator[dict[str, Any]]:
    """What the trivial predictors reach on the same images: gt_known at IoU .3, .5 and .7, MaxBoxAcc and MaxBoxAccV2.

    A free number (side of the square, cut of the Gaussian) is the best on this very split.
    """
    for name, best in _best_trivial(truth, train, "original"):
        for level, reached in best.items():
            yield _trivial_row(name, "gt_known", level, "original", reached.parameter, reached.value, truth)
    for name, best in _best_trivial(truth, train, "wsolevaluation"):
        half = best[GT_KNOWN_IOU]
        mean = float(np.mean([reached.value for reached in best.values()]))
        yield _trivial_row(name, "max_box_acc", GT_KNOWN_IOU, "wsolevaluation", half.parameter, half.value, truth)
        yield _trivial_row(name, "max_box_acc_v2", None, "wsolevaluation", math.nan, mean, truth)


def _best_trivial(truth: Truth, train: Truth, protocol: str) -> Iterator[tuple[str, dict[float, BestTrivial]]]:
    adapter = PROTOCOLS[protocol]
    frames = adapter.frame(truth.sizes)
    frame_truth = adapter.ground_truth(truth.boxes, truth.sizes)
    candidates = dict(predictors(adapter, frames))
    if train.image_ids:
        sizes = train.sizes[train.boxes.owner]
        candidates["median_train_box"] = [(math.nan, median_box(train.boxes.boxes, sizes, frames))]
    for name, boxes in candidates.items():
        yield name, best_over(boxes, frame_truth, LEVELS, strict=adapter.strict)


def _trivial_row(
    name: str, metric: str, iou: float | None, protocol: str, parameter: float, value: float, truth: Truth
) -> dict[str, Any]:
    free = not math.isnan(parameter)
    return {
        "method": name,
        "metric": metric,
        "iou": iou,
        "protocol": protocol,
        "threshold": parameter if free else None,
        "threshold_choice": "oracle" if free or metric == "max_box_acc_v2" else None,
        "value": value,
        "n": len(truth.image_ids),
    }
