"""Metrics rows: every number with its protocol, its threshold and how it was chosen, and its bootstrap interval."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from stages.scoring.arrow_tables import Truth
from stages.scoring.bootstrap import Interval, float_mean_interval, mean_interval, proportion_interval
from stages.scoring.cuts.cut_counts import MAX_BOX_ACC_V2_IOUS, CutCounts, max_box_acc, max_box_acc_v2
from stages.scoring.error_analysis import categorize, error_metrics
from stages.scoring.iou import best_iou
from stages.scoring.metrics import FITTING_IOU, GT_KNOWN_IOU, MetricKey, PerImage, gt_delta, localisation, top_k
from stages.scoring.peak_iou import PeakCounts, Pooling
from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import FloatArray, IntArray
from stages.scoring.tally import COMPARISONS, Merged, cut_counts, peaks, pixel_counts
from stages.scoring.trivial import BestTrivial, best_over, median_box, predictors

POOLINGS: tuple[Pooling, ...] = ("pooled", "per_image")


class MetricRow(TypedDict):
    """A row of table metrics without run, data set and split; described column by column in schemas."""

    method: str
    source: str | None
    seed: int | None
    metric: str
    iou: float | None
    protocol: str | None
    threshold: float | None
    threshold_choice: str | None
    value: float | None
    n: int
    ci_low: float | None
    ci_high: float | None


class CurveRow(TypedDict):
    """A row of table curves without its split."""

    method: str
    source: str | None
    iou: float
    protocol: str
    threshold: float
    value: float


@dataclass(frozen=True)
class Subject:
    """The subject of a row: the method, its stage, and the threshold that its boxes were made with."""

    method: str
    source: str | None
    threshold: float | None = None
    threshold_choice: str | None = None
    seed: int | None = None

    def at(self, threshold: float | None, choice: str | None) -> "Subject":
        """The same subject with another threshold."""
        return replace(self, threshold=threshold, threshold_choice=choice)

    def row(
        self,
        metric: str,
        value: float | None,
        n: int,
        *,
        iou: float | None = None,
        protocol: str | None = None,
        interval: Interval | None = None,
    ) -> MetricRow:
        """One row. value: percent. n: number of images. iou, protocol: of the metric, if it has any."""
        return {
            "method": self.method,
            "source": self.source,
            "seed": self.seed,
            "metric": metric,
            "iou": iou,
            "protocol": protocol,
            "threshold": self.threshold,
            "threshold_choice": self.threshold_choice,
            "value": value,
            "n": n,
            "ci_low": interval.low if interval else None,
            "ci_high": interval.high if interval else None,
        }


def per_image_rows(subject: Subject, per_image: PerImage, protocol: str | None) -> Iterator[MetricRow]:
    """A row for each metric, with its 95 % bootstrap interval. Metrics without an IoU level have no protocol."""
    for key, vector in per_image.items():
        interval = mean_interval(vector, seed=0) if len(vector) else None
        value = interval.value if interval else None
        if key.iou is None:
            yield subject.at(None, None).row(key.metric, value, len(vector), interval=interval)
        else:
            yield subject.row(key.metric, value, len(vector), iou=key.iou, protocol=protocol, interval=interval)


def box_rows(
    subject: Subject, truth: Truth, boxes: FloatArray, ranked: IntArray | None, protocol: str = "original"
) -> Iterator[MetricRow]:
    """gt_known and gt_delta of one box an image (N, 4) in original pixels.

    With ranked classes (N, 5) also top1_loc, top5_loc and the five kinds of error, which sum to the top1_loc error.
    """
    frame_boxes = PROTOCOLS[protocol].predictions(boxes, truth.sizes)
    yield from frame_rows(subject, truth, frame_boxes, ranked, protocol)


def frame_rows(
    subject: Subject, truth: Truth, frame_boxes: FloatArray, ranked: IntArray | None, protocol: str
) -> Iterator[MetricRow]:
    """The rows of `box_rows` for boxes (N, 4) that are already in the frame of the protocol."""
    adapter = PROTOCOLS[protocol]
    frame_truth = adapter.ground_truth(truth.boxes, truth.sizes)
    best = best_iou(frame_boxes, frame_truth)
    per_image = {**_located(best, truth, ranked, adapter.strict), **gt_delta(best, strict=adapter.strict)}
    yield from per_image_rows(subject, per_image, protocol)
    if ranked is not None:
        classified = top_k(truth.labels, ranked, 1)
        categories = categorize(frame_boxes, frame_truth, classified, strict=adapter.strict)
        yield from per_image_rows(subject, error_metrics(categories), protocol)


def located(truth: Truth, boxes: FloatArray, ranked: IntArray | None, protocol: str) -> PerImage:
    """Whether the box (N, 4) of each image finds the object, and whether it fits the object: vectors (N,) bool.

    Finds: gt_known at IoU 0.5, and with ranked classes top1_loc and top5_loc. Fits: gt_delta at 0.7.
    """
    adapter = PROTOCOLS[protocol]
    best = adapter.best_iou(boxes, truth.boxes, truth.sizes)
    return {**_located(best, truth, ranked, adapter.strict), **gt_delta(best, (FITTING_IOU,), adapter.strict)}


def _located(best: FloatArray, truth: Truth, ranked: IntArray | None, strict: bool) -> PerImage:
    found = localisation(best, truth.labels if ranked is not None else None, ranked, strict=strict)
    return {key: vector for key, vector in found.items() if key.iou is not None}


def classifier_rows(subject: Subject, labels: IntArray, ranked: IntArray) -> Iterator[MetricRow]:
    """cls_top1 and cls_top5 of ranked classes (N, 5), padded with -1."""
    per_image = {MetricKey(f"cls_top{k}", None): top_k(labels, ranked, k) for k in (1, 5)}
    yield from per_image_rows(subject, per_image, None)


def mask_row(subject: Subject, ious: FloatArray) -> MetricRow:
    """mask_iou: mean over images (N,) of the IoU of predicted and ground-truth mask at the size of the image."""
    interval = float_mean_interval(ious, seed=0)
    return subject.row("mask_iou", interval.value, len(ious), protocol="original", interval=interval)


def swept_rows(subject: Subject, merged: Merged, images: int) -> Iterator[MetricRow]:
    """MaxBoxAcc, MaxBoxAccV2, PxAP and Peak-IoU of merged counts of score maps; images: how many have ground truth.

    Their thresholds are the best on the reported split itself (`oracle`). The intervals hold for the chosen threshold.
    """
    largest, every = cut_counts(merged, "largest", images), cut_counts(merged, "all", images)
    if largest is not None:
        yield from max_box_acc_rows(subject, largest, every, largest.thresholds, "wsolevaluation")
    pixels = pixel_counts(merged)
    masked = 0 if pixels is None else _images(merged)
    if pixels is not None:
        yield subject.row("pxap", pixels.pxap() if pixels.positive.any() else None, masked, protocol="wsolevaluation")
    for comparison in COMPARISONS:
        counts = peaks(merged, comparison)
        if counts is not None and counts.images == masked:  # else some image has ignore regions
            yield from peak_rows(subject, counts, comparison)


def max_box_acc_rows(
    subject: Subject, largest: CutCounts, every: CutCounts | None, thresholds: FloatArray, protocol: str
) -> Iterator[MetricRow]:
    """MaxBoxAcc at IoU 0.5 from the counts (levels, S) of one box an image, MaxBoxAccV2 from those of every contour."""
    best = best_threshold(largest)
    hits = int(largest.hits[largest.levels.index(GT_KNOWN_IOU), best])
    interval = proportion_interval(hits, largest.images, seed=0)
    at_best = subject.at(float(thresholds[best]), "oracle")
    value = max_box_acc(largest)
    yield at_best.row("max_box_acc", value, largest.images, iou=GT_KNOWN_IOU, protocol=protocol, interval=interval)
    if every is not None:
        each = subject.at(subject.threshold, "oracle")
        yield each.row("max_box_acc_v2", max_box_acc_v2(every), every.images, protocol=protocol)


def best_threshold(largest: CutCounts) -> int:
    """Index of the first threshold with the highest accuracy at IoU 0.5."""
    return int(np.argmax(largest.curve(GT_KNOWN_IOU)))


def peak_rows(subject: Subject, counts: PeakCounts, comparison: str) -> Iterator[MetricRow]:
    """Peak-IoU and Peak-T of pooled pixels, and of the mean of per-image IoUs; column protocol names the variant."""
    for pooling in POOLINGS:
        peak = counts.peak(pooling)
        at_peak, protocol = subject.at(peak.threshold / 255, "oracle"), f"{pooling}_{comparison}"
        yield at_peak.row("peak_iou", peak.iou, counts.images, protocol=protocol)
        yield at_peak.row("peak_t", float(peak.threshold), counts.images, protocol=protocol)


def curve_rows(subject: Subject, largest: CutCounts) -> Iterator[CurveRow]:
    """The curves behind MaxBoxAcc: accuracy at each threshold."""
    for level in largest.levels:
        for threshold, value in zip(largest.thresholds, largest.curve(level), strict=True):
            yield {
                "method": subject.method,
                "source": subject.source,
                "iou": level,
                "protocol": "wsolevaluation",
                "threshold": float(threshold),
                "value": float(value),
            }


def trivial_rows(truth: Truth, train: Truth | None, protocols: Collection[str]) -> Iterator[MetricRow]:
    """Metrics of the trivial predictors on the same images: gt_known at IoU .3, .5 and .7, MaxBoxAcc and MaxBoxAccV2.

    A free parameter (side of the square, cut of the Gaussian) is the best on this split itself. train: the images whose
    boxes give the median box; None leaves that predictor out.
    """
    for protocol in dict.fromkeys([*protocols, "wsolevaluation"]):
        for name, best in best_trivial(truth, train, protocol):
            if protocol in protocols:
                for level, reached in best.items():
                    yield _trivial_row(name, "gt_known", level, protocol, reached.parameter, reached.value, truth)
            if protocol == "wsolevaluation":
                half, mean = best[GT_KNOWN_IOU], float(np.mean([reached.value for reached in best.values()]))
                yield _trivial_row(name, "max_box_acc", GT_KNOWN_IOU, protocol, half.parameter, half.value, truth)
                yield _trivial_row(name, "max_box_acc_v2", None, protocol, math.nan, mean, truth)


def best_trivial(truth: Truth, train: Truth | None, protocol: str) -> Iterator[tuple[str, dict[float, BestTrivial]]]:
    """Every trivial predictor under a protocol, with its best free parameter at each IoU level."""
    adapter = PROTOCOLS[protocol]
    frames = adapter.frame(truth.sizes)
    frame_truth = adapter.ground_truth(truth.boxes, truth.sizes)
    candidates = dict(predictors(adapter, frames))
    if train is not None and train.image_ids:
        sizes = train.sizes[train.boxes.owner]
        candidates["median_train_box"] = [(math.nan, median_box(train.boxes.boxes, sizes, frames))]
    for name, boxes in candidates.items():
        yield name, best_over(boxes, frame_truth, MAX_BOX_ACC_V2_IOUS, strict=adapter.strict)


def _trivial_row(
    name: str, metric: str, iou: float | None, protocol: str, parameter: float, value: float, truth: Truth
) -> MetricRow:
    free = not math.isnan(parameter)
    choice = "oracle" if free or metric == "max_box_acc_v2" else None
    subject = Subject(name, None, parameter if free else None, choice)
    return subject.row(metric, value, len(truth.image_ids), iou=iou, protocol=protocol)


def _images(merged: Merged) -> int:
    return merged["pxap_positive", 0.0].images
