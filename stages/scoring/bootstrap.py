"""Percentile bootstrap over images, for one method and for the difference of two on the same images."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stages.scoring.ragged import FloatArray

RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """Mean and percentile interval in percent; for a paired difference also its two-sided p value."""

    value: float
    low: float
    high: float
    p_value: float | None = None


def mean_interval(correct: npt.ArrayLike, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """Percentile bootstrap interval of the mean of a 0/1 vector (N,), in percent.

    The sum of N draws with replacement from a 0/1 vector is binomial, so it is drawn as such: O(resamples), not O(N).
    Raises ValueError for an empty vector or other values.
    """
    values = _zero_one(correct)
    return proportion_interval(int(values.sum()), len(values), seed, resamples, level)


def proportion_interval(
    hits: int, images: int, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """As :func:`mean_interval`, from the number of ones among N. Raises ValueError without images."""
    if not 0 <= hits <= images or not images:
        raise ValueError(f"bootstrap needs 0 <= hits <= images and an image, got {hits} of {images}")
    means = np.random.default_rng(seed).binomial(images, hits / images, resamples) / images
    low, high = _percentiles(means, level)
    return Interval(100 * hits / images, 100 * low, 100 * high)


def float_mean_interval(values: npt.ArrayLike, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """Percentile bootstrap interval of the mean of any values (N,), 1 being 100 percent.

    Raises ValueError for an empty vector or a NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or np.isnan(array).any():
        raise ValueError("bootstrap needs a non-empty vector without NaN")
    generator = np.random.default_rng(seed)
    means = np.array([array[generator.integers(0, len(array), len(array))].mean() for _ in range(resamples)])
    low, high = _percentiles(means, level)
    return Interval(100 * float(array.mean()), 100 * low, 100 * high)


def paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Percentile bootstrap interval of mean(first) - mean(second) over the same images (N,), in percent.

    Images are resampled in pairs: only the numbers of images that one method alone gets right matter, and their joint
    distribution under resampling is multinomial. ``p_value``: twice the smaller share of resamples on either side of
    zero (ties on both sides), at least 1 / resamples and at most 1. Raises ValueError for empty or unequal vectors.
    """
    a, b = _zero_one(first), _zero_one(second)
    if len(a) != len(b):
        raise ValueError(f"paired vectors must have one length, got {len(a)} and {len(b)}")
    images = len(a)
    gained, lost = float((a > b).mean()), float((a < b).mean())
    shares = [gained, lost, max(0.0, 1 - gained - lost)]
    draws = np.random.default_rng(seed).multinomial(images, shares, resamples)
    differences = (draws[:, 0] - draws[:, 1]) / images
    low, high = _percentiles(differences, level)
    tail = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    return Interval(100 * (gained - lost), 100 * low, 100 * high, float(np.clip(2 * tail, 1 / resamples, 1)))


def _zero_one(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isin(array, (0, 1)).all():
        raise ValueError("bootstrap needs a non-empty vector of zeros and ones")
    return array


def _percentiles(samples: FloatArray, level: float) -> tuple[float, float]:
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
