"""Integer counts of score maps, from which MaxBoxAcc, thresholds, PxAP and Peak-IoU are computed.

Tallies of disjoint images add up: any number of workers, and any order of merging, gives the same integers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np

from stages.scoring.cuts.cut_counts import MAX_BOX_ACC_V2_IOUS, WSOL_THRESHOLDS, CutCounts, count_cuts
from stages.scoring.cuts.fixed_rule import iou_per_threshold
from stages.scoring.cuts.quantized import Rule, cuts_of_thresholds, quantize
from stages.scoring.cuts.sweep import sweep
from stages.scoring.evaluator_maps import in_evaluator_frame
from stages.scoring.mask_metrics import INTERVAL, MaskTruth, PixelHistogram, evaluation_masks, pixel_histogram
from stages.scoring.peak_iou import Comparison, PeakCounts, localization_map, peak_counts
from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import BoolArray, FloatArray, IntArray, RaggedBoxes, Uint8Array
from stages.vision.box_rule import BoxRule
from stages.vision.score_maps import enlarge, min_max

FIXED = "fixed"
CONTOURS: tuple[Rule, ...] = ("largest", "all")
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)

_CHUNK = 256


class Tally(NamedTuple):
    """Counts (K,) int64 of some images under one rule; ``iou`` is 0 where no IoU level applies."""

    rule: str
    iou: float
    images: int
    counts: IntArray


Merged = Mapping[tuple[str, float], Tally]


def fixed_tallies(maps: Sequence[np.ndarray], truth: RaggedBoxes, sizes: FloatArray, rule: BoxRule) -> Iterator[Tally]:
    """Count correct images at thresholds k / 255 of the pipeline's own rule (:mod:`stages.scoring.cuts.fixed_rule`).

    An image is correct if one of its boxes is; rule ``all`` gives several.
    maps: N score maps (h, w) of any float type; truth: N images of boxes, original pixels; sizes (N, 2): width, height.
    """
    best = [
        iou_per_threshold(min_max(enlarge(score_map, int(height), int(width), rule.enlargement)), truth.of(index), rule)
        for index, (score_map, (width, height)) in enumerate(zip(maps, sizes, strict=True))
    ]
    if best:
        yield from _levels(FIXED, count_cuts(np.stack(best), MAX_BOX_ACC_V2_IOUS))


def contour_tallies(
    maps: Sequence[np.ndarray], truth: RaggedBoxes, sizes: FloatArray, as_is: bool = False
) -> Iterator[Tally]:
    """Count correct images at the cuts 0..254 of wsolevaluation's rules, in its frame of 224 x 224.

    maps: N score maps ``(h, w)`` of any float type. truth: boxes of N images, original pixels. sizes: ``(N, 2)``, width
    and height of the images.

    as_is: maps of 224 x 224 are taken unchanged, without min-max. Their maxima differ, so they are counted at
    wsolevaluation's thousand thresholds, which are fractions of each map's maximum.
    """
    frame_truth = PROTOCOLS["wsolevaluation"].ground_truth(truth, sizes)
    for start in range(0, len(maps), _CHUNK):
        part = maps[start : start + _CHUNK]
        pixels = np.stack([quantize(in_evaluator_frame(score_map, as_is)) for score_map in part])
        best = sweep(pixels, frame_truth.of_images(start, start + len(part)), CONTOURS)
        if as_is:
            cuts = np.stack([cuts_of_thresholds(WSOL_THRESHOLDS, int(own.max())) for own in pixels])
            best = {rule: np.take_along_axis(of_cuts, cuts, axis=1) for rule, of_cuts in best.items()}
        for rule in CONTOURS:
            yield from _levels(rule, count_cuts(best[rule], MAX_BOX_ACC_V2_IOUS))


def mask_tallies(maps: Iterable[np.ndarray], masks: Iterable[MaskTruth], as_is: bool = False) -> Iterator[Tally]:
    """Count pixels of score maps (h, w) by score and ground truth: for PxAP, and without ignored regions for Peak-IoU.

    as_is: maps of 224 x 224 are taken unchanged, without min-max.
    """
    for score_map, truth in zip(maps, masks, strict=True):
        foreground, ignored = evaluation_masks(truth.instances, truth.ignored)
        yield from histogram_tallies(pixel_histogram(in_evaluator_frame(score_map, as_is), foreground, ignored))
        if not truth.ignored:
            whole = truth.whole(*truth.instances[0].shape)
            yield from peak_tallies(localization_map(score_map, *whole.shape), whole)


def histogram_tallies(pixels: PixelHistogram) -> Iterator[Tally]:
    """The tallies of the pixel histogram of one image."""
    yield Tally("pxap_positive", 0.0, 1, pixels.positive)
    yield Tally("pxap_negative", 0.0, 1, pixels.negative)


def peak_tallies(levels: Uint8Array, mask: BoolArray) -> Iterator[Tally]:
    """Peak-IoU's counts of one image, levels and mask (H, W), under both comparisons."""
    for comparison in COMPARISONS:
        one = peak_counts(levels, mask, comparison)
        yield Tally(f"peak_shared_{comparison}", 0.0, 1, one.shared)
        yield Tally(f"peak_union_{comparison}", 0.0, 1, one.union)
        yield Tally(f"peak_iou_sum_{comparison}", 0.0, 1, one.iou_sum)


def merge(tallies: Iterable[Tally]) -> Merged:
    """Add up tallies of disjoint images, rule by rule and level by level."""
    merged: dict[tuple[str, float], Tally] = {}
    for tally in tallies:
        key = tally.rule, tally.iou
        before = merged.get(key)
        merged[key] = (
            tally
            if before is None
            else tally._replace(images=before.images + tally.images, counts=before.counts + tally.counts)
        )
    return merged


def cut_counts(merged: Merged, rule: str, images: int) -> CutCounts | None:
    """The counts of a rule; None where it was not counted.

    images: number of images with ground truth; those without a map (quarantined) count as wrong at every cut.
    """
    levels = sorted(iou for name, iou in merged if name == rule)
    if not levels:
        return None
    return CutCounts(images, tuple(levels), np.stack([merged[rule, iou].counts for iou in levels]))


def pixel_counts(merged: Merged) -> PixelHistogram | None:
    """The pooled pixel histogram; None where no image had a mask."""
    positive, negative = merged.get(("pxap_positive", 0.0)), merged.get(("pxap_negative", 0.0))
    if positive is None or negative is None:
        return None
    return PixelHistogram(INTERVAL, positive.counts, negative.counts)


def peaks(merged: Merged, comparison: Comparison) -> PeakCounts | None:
    """Peak-IoU's counts under a comparison; None where no image had a mask."""
    found = [merged.get((f"peak_{part}_{comparison}", 0.0)) for part in ("shared", "union", "iou_sum")]
    kept = [tally for tally in found if tally is not None]
    return PeakCounts(kept[0].images, *(tally.counts for tally in kept)) if len(kept) == 3 else None


def _levels(rule: str, counts: CutCounts) -> Iterator[Tally]:
    for level, hits in zip(counts.levels, counts.hits, strict=True):
        yield Tally(rule, level, counts.images, hits)
