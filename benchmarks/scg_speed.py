"""SCG of two stages of 28x28x512 for 5 classes of an image: `refine` against the flow of SPA's released evaluation.

The baseline is fixed: one image at a time, both orders by products of NumPy (faster here than those of torch), and
then, for each of 5 classes and each of the script's 4 box thresholds, the whole aggregation again: choose columns,
stretch each, sum, stretch, subtract, stretch. Both arms take float32 features in memory, use one thread, and must give
the same maps. The features have contrast, and no second-order entry near its cut: otherwise rounding decides which
entries are dropped, and the last min-max shows it.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.figures import Measured
from benchmarks.pairs import REPEATS, interleaved
from stages.scg.parameters import PRESETS
from stages.scg.scg import refine, unit_cams

IMAGES = 8
STAGES = 2
DIMENSION = 512
GRID = 28
CLASSES = 5
BOX_THRESHOLDS = (0.1, 0.25, 0.3, 0.35)
EQUAL = 1e-4
PARAMETERS = PRESETS["cub"]


class Inputs(NamedTuple):
    """Features of each stage, ``(B, 512, 28, 28)`` float32, and class maps ``(B, 5, 28, 28)`` float32 in [0, 1]."""

    features: list[torch.Tensor]
    cams: torch.Tensor


Arm = Callable[[Inputs], torch.Tensor]


def scg_speed(repeats: int = REPEATS) -> Iterator[Measured]:
    """Images a second of `refine` against those of the baseline."""
    inputs = made_inputs()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            _check_equal(inputs)
            pairs = interleaved(
                lambda: _images_per_second(_candidate, inputs), lambda: _images_per_second(_baseline, inputs), repeats
            )
    finally:
        torch.set_num_threads(threads)
    fast, slow = pairs.medians
    note = f"{IMAGES} images: {1000 / fast:.1f} ms an image, the flow of the reference {1000 / slow:.1f}"
    yield Measured("scg_to_reference_flow", pairs.ratio, repeats, slow, note, "ratio")


def made_inputs(seed: int = 0) -> Inputs:
    """Rectified features: an object and its surroundings mostly light up channels of their own; maps see part of it."""
    source = torch.Generator().manual_seed(seed)
    planted = torch.zeros(IMAGES, 1, GRID, GRID)
    for mask in planted:
        top, left, height, width = torch.randint(6, 14, (4,), generator=source).tolist()
        mask[:, top : top + height, left : left + width] = 1
    own = (torch.arange(DIMENSION) % 2).view(1, -1, 1, 1)
    features = []
    for _ in range(STAGES):
        strength = torch.rand(IMAGES, DIMENSION, GRID, GRID, generator=source)
        noise = torch.randn(IMAGES, DIMENSION, GRID, GRID, generator=source).relu()
        features.append(strength * (own * planted + (1 - own) * (1 - planted)) + 0.2 * noise)
    seen, clutter = torch.rand(2, IMAGES, CLASSES, GRID, GRID, generator=source)
    return Inputs(features, unit_cams(planted * seen + 0.06 * clutter))


def _candidate(inputs: Inputs) -> torch.Tensor:
    return refine(inputs.features, inputs.cams, PARAMETERS)


def _baseline(inputs: Inputs) -> torch.Tensor:
    """The maps (B, K, h, w), made anew for each threshold."""
    maps = []
    for cams, *stages in zip(inputs.cams.numpy(), *(stage.numpy() for stage in inputs.features), strict=True):
        correlation = np.sum([_correlation(stage.reshape(DIMENSION, -1)) for stage in stages], axis=0)
        for _ in BOX_THRESHOLDS:
            found = [_localization_map(correlation, cam.ravel()) for cam in cams]
        maps.append(np.stack(found).reshape(cams.shape))
    return torch.from_numpy(np.stack(maps))


def _correlation(vectors: np.ndarray) -> np.ndarray:
    """First and second order, combined: (n, n) of vectors (d, n)."""
    units = vectors / (np.linalg.norm(vectors, axis=0) + np.float32(1e-10))
    alike = units.T @ units
    alike[alike < PARAMETERS.theta1] = 0
    first = alike / (alike.sum(axis=0) + np.float32(1e-5))
    np.fill_diagonal(alike, 0)
    steps = alike / (alike.sum(axis=0) + np.float32(1e-5))
    second = steps @ steps
    second /= second.sum(axis=0) + np.float32(1e-10)
    second[second < PARAMETERS.theta2 / len(second)] = 0
    largest = np.maximum(first, np.float32(PARAMETERS.omega) * second)
    return largest / (largest.sum(axis=0) + np.float32(1e-10))


def _localization_map(correlation: np.ndarray, cam: np.ndarray) -> np.ndarray:
    both = [_aggregate(correlation[:, chosen]) for chosen in (cam >= PARAMETERS.delta_h, cam <= PARAMETERS.delta_l)]
    return _min_max(np.maximum(both[0] - both[1], 0), axis=0)


def _aggregate(columns: np.ndarray) -> np.ndarray:
    return _min_max(_min_max(columns, axis=0).sum(axis=1), axis=0)


def _min_max(values: np.ndarray, axis: int) -> np.ndarray:
    low = values.min(axis=axis)
    return (values - low) / (values.max(axis=axis) - low)


def _check_equal(inputs: Inputs) -> None:
    """Both arms agree on all maps; this also compiles the candidate and warms both up."""
    for _ in range(2):
        torch.testing.assert_close(_candidate(inputs), _baseline(inputs), rtol=0, atol=EQUAL)


def _images_per_second(arm: Arm, inputs: Inputs) -> float:
    started = time.perf_counter()
    arm(inputs)
    return IMAGES / (time.perf_counter() - started)
