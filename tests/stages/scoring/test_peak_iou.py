"""Peak-IoU: what must hold whatever the reading of its definition."""

from functools import reduce
from itertools import permutations
from operator import add

import numpy as np
import pytest

from stages.scoring.peak_iou import PeakCounts, overlap_counts, peak_counts

MASK = np.zeros((12, 16), bool)
MASK[2:7, 3:11] = True


def test_ground_truth_as_map():
    """Breaks when the perfect map does not reach 100."""
    assert peak_counts(MASK.astype(np.uint8) * 255, MASK).peak() == (100, 1)


def test_threshold_zero_is_the_prevalence():
    """Breaks when u >= 0 leaves a pixel out."""
    score_map = np.random.default_rng(0).integers(0, 256, MASK.shape, dtype=np.uint8)
    assert peak_counts(score_map, MASK).curve()[0] == MASK.mean()


def test_duplicated_data_set_changes_nothing():
    """Breaks when a sum is not divided by the number of images."""
    score_map = np.random.default_rng(1).integers(0, 256, MASK.shape, dtype=np.uint8)
    once = peak_counts(score_map, MASK)
    for pooling in ("pooled", "per_image"):
        assert (once + once).peak(pooling) == once.peak(pooling)


def test_merge_order_never_matters():
    """Breaks when per-image IoUs are summed as floats."""
    maps = np.random.default_rng(2).integers(0, 256, (4, *MASK.shape), dtype=np.uint8)
    parts = [peak_counts(score_map, MASK) for score_map in maps]
    curves = [reduce(add, order).curve("per_image") for order in permutations(parts)]
    assert all((curve == curves[0]).all() for curve in curves)


def test_strict_comparison_is_the_next_threshold():
    """Breaks when the two comparisons are not one step apart."""
    score_map = np.random.default_rng(3).integers(0, 256, MASK.shape, dtype=np.uint8)
    strict, loose = overlap_counts(score_map, MASK, "gt"), overlap_counts(score_map, MASK, "ge")
    np.testing.assert_array_equal(strict[0][:-1], loose[0][1:])
    np.testing.assert_array_equal(strict[1][:-1], loose[1][1:])


def test_what_is_refused():
    """Breaks when nothing at all gets a number."""
    with pytest.raises(ValueError, match="shape"):
        overlap_counts(np.zeros((2, 2), np.uint8), MASK)
    zeros = np.zeros(256, np.int64)
    with pytest.raises(ValueError, match="without images"):
        PeakCounts(0, zeros, zeros, zeros).peak()
