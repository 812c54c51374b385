"""Accuracy over thresholds, and the choice of one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.scoring.cuts.cut_counts import CutCounts, choose_threshold, count_cuts, max_box_acc, max_box_acc_v2


def counts_of(curve: list[int], images: int = 10) -> CutCounts:
    return CutCounts(images, (0.5,), np.array([curve]))


def test_maximum_of_the_mean_not_mean_of_maxima():
    """Breaks when an image counts as correct because any threshold works for it."""
    ious = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert max_box_acc(count_cuts(ious)) == 50


def test_each_level_has_its_own_best_threshold():
    """Breaks when MaxBoxAccV2 shares one threshold among its levels."""
    ious = np.array([[0.3, 0.9, 0.0], [0.4, 0.0, 0.6]])
    counts = count_cuts(ious)
    assert [counts.best(iou) for iou in (0.3, 0.5, 0.7)] == [100, 50, 50]
    assert max_box_acc_v2(counts) == pytest.approx(200 / 3)


@given(st.integers(0, 10_000), st.integers(0, 12))
def test_merging_equals_one_pass(seed, split):
    """Breaks when merged shards differ from the whole by any integer."""
    ious = np.random.default_rng(seed).random((12, 7))
    whole = count_cuts(ious)
    for parts in ((ious[:split], ious[split:]), (ious[split:], ious[:split])):
        merged = count_cuts(parts[0]) + count_cuts(parts[1])
        assert merged.images == whole.images
        np.testing.assert_array_equal(merged.hits, whole.hits)


@pytest.mark.parametrize(
    ("curve", "chosen"), [([1, 5, 2], 1), ([5, 1, 5, 5, 5, 1], 3), ([1, 4, 4, 0], 1), ([3, 0, 3], 0), ([2, 2, 2, 2], 1)]
)
def test_choice_is_the_middle_of_the_longest_best_run(curve, chosen):
    """Breaks when a tie is decided by the first index, at the edge of a plateau."""
    choice = choose_threshold(counts_of(curve), np.arange(len(curve)) / 255)
    assert choice.position == chosen
    assert choice.threshold == chosen / 255
    assert choice.value == 10 * max(curve)


def test_what_is_refused():
    """Breaks when nothing was counted and a threshold is chosen all the same."""
    with pytest.raises(ValueError, match="0 images"):
        choose_threshold(counts_of([0, 0], images=0), np.zeros(2))
    with pytest.raises(ValueError, match="3 thresholds"):
        choose_threshold(counts_of([0, 0]), np.zeros(3))
    with pytest.raises(ValueError, match="not counted"):
        counts_of([1]).curve(0.7)
    with pytest.raises(ValueError, match="merged"):
        counts_of([1]) + counts_of([1, 2])
    assert np.isnan(counts_of([0], images=0).best(0.5))
