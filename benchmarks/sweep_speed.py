"""Boxes of all contours at all thresholds: the sweep over intervals of cuts against OpenCV at each threshold.

The baseline is fixed: cv2.threshold, findContours(RETR_TREE, CHAIN_APPROX_SIMPLE), boundingRect and one vectorised IoU,
at every one of 1,000 thresholds, or of the 255 distinct cuts only. Both arms take uint8 maps of 224 x 224 and
ground-truth boxes in their frame, use one thread, and must give the same best IoU of every map at every cut.
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.figures import Measured
from benchmarks.outside_data import golden_file
from benchmarks.pairs import interleaved
from stages.scoring.cuts.quantized import quantize
from stages.scoring.cuts.sweep import sweep
from stages.scoring.evaluator_maps import evaluator_score_map
from stages.scoring.iou import best_of
from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import RaggedBoxes, from_counts, from_lists

THRESHOLDS = 1000
CUTS = 255
SMOOTH = 50
SIDE = 224


class Maps(NamedTuple):
    """Maps (N, 224, 224) uint8 and the boxes of their images in that frame."""

    maps: np.ndarray
    truth: RaggedBoxes


def sweep_speed(repeats: int = 5) -> Iterator[Measured]:
    """The ratios of baseline to candidate time, for each kind of map and each of both baselines."""
    for name, maps in (("golden", golden_maps()), ("smooth7", smooth_maps(7)), ("smooth14", smooth_maps(14))):
        for number in (THRESHOLDS, CUTS):
            yield _compare(f"sweep_{name}_to_{number}", maps, number, repeats)


def _compare(figure: str, found: Maps | None, number: int, repeats: int) -> Measured:
    if found is None:
        return Measured(figure, None, 0, reason="golden/eval_boxes is absent", unit="ratio")
    cv2.setNumThreads(1)
    maxima = found.maps.max(axis=(1, 2)).astype(int)
    cuts = [
        (np.arange(number) / number * maximum).astype(int) if number > CUTS else np.arange(CUTS) for maximum in maxima
    ]
    _check_equal(found, cuts)
    pairs = interleaved(lambda: _seconds(_baseline, found, cuts), lambda: _seconds(_candidate, found, cuts), repeats)
    slow, fast = pairs.medians
    images = len(found.maps)
    note = f"{images} maps: {1000 * fast / images:.2f} ms a map, OpenCV {1000 * slow / images:.1f}"
    return Measured(figure, pairs.ratio, repeats, slow, note)


def _candidate(found: Maps, cuts: Sequence[np.ndarray]) -> list[np.ndarray]:
    best = sweep(found.maps, found.truth, ("all",))["all"]
    return [own[chosen] for own, chosen in zip(best, cuts, strict=True)]


def _baseline(found: Maps, cuts: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [_with_opencv(m, found.truth.of(index), cuts[index]) for index, m in enumerate(found.maps)]


def _with_opencv(score_map: np.ndarray, truth: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Best IoU (K,) at each cut; the boxes of all cuts are compared at once."""
    boxes: list[tuple[int, int, int, int]] = []
    counts = []
    for cut in cuts:
        _, binary = cv2.threshold(score_map, int(cut), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        boxes += [cv2.boundingRect(contour) for contour in contours] or [(0, 0, 0, 0)]  # type: ignore[misc]
        counts.append(max(1, len(contours)))
    found = np.array(boxes, dtype=np.float64)
    far = np.minimum(found[:, :2] + found[:, 2:], SIDE - 1) + 1
    ious = best_of(np.concatenate([found[:, :2], far], axis=1), truth)
    return np.asarray(np.maximum.reduceat(ious, np.cumsum([0, *counts[:-1]])))


def _check_equal(found: Maps, cuts: Sequence[np.ndarray]) -> None:
    """Both arms agree on all maps; this also compiles the candidate and warms both up."""
    for one, other in zip(_candidate(found, cuts), _baseline(found, cuts), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def _seconds(arm, found: Maps, cuts: Sequence[np.ndarray]) -> float:
    started = time.perf_counter()
    arm(found, cuts)
    return time.perf_counter() - started


def golden_maps() -> Maps | None:
    """The maps and boxes of golden/eval_boxes."""
    path = golden_file("eval_boxes.npz")
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as arrays:
        truth = from_counts(arrays["gt_boxes"] + np.array([0, 0, 1, 1]), arrays["gt_count"])
        in_frame = PROTOCOLS["wsolevaluation"].ground_truth(truth, arrays["image_sizes_wh"])
        return Maps(np.ascontiguousarray(arrays["scoremap_u8"]), in_frame)


def smooth_maps(grid: int) -> Maps:
    """Random feature grids, enlarged as the evaluator enlarges them; a box an image."""
    generator = np.random.default_rng(grid)
    maps = [quantize(evaluator_score_map(generator.random((grid, grid)))) for _ in range(SMOOTH)]
    low = generator.integers(0, SIDE // 2, (SMOOTH, 2))
    boxes = np.concatenate([low, low + generator.integers(20, SIDE // 2, (SMOOTH, 2))], axis=1)
    return Maps(np.stack(maps), from_lists([[box] for box in boxes]))
