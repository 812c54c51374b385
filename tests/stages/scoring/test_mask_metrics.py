"""PxAP and mask IoU against their limits and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from stages.scoring.mask_metrics import bin_edges, evaluation_masks, mask_iou, pixel_histogram

MASK = np.zeros((20, 20), bool)
MASK[4:12, 5:15] = True


def test_perfect_map_for_any_ignored_values():
    """Breaks when ignored pixels enter a histogram."""
    ignore = np.zeros_like(MASK)
    ignore[12:, :] = True
    for value in (0.0, 0.5, 1.0):
        scores = np.where(ignore, value, MASK.astype(float))
        assert pixel_histogram(scores, MASK, ignore).pxap() == 100


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_map_gives_the_prevalence(value):
    """Breaks when empty prefixes count as precision 0 or 1."""
    assert pixel_histogram(np.full(MASK.shape, value), MASK).pxap() == pytest.approx(100 * MASK.mean())


def test_equals_average_precision_of_floored_scores():
    """Breaks when precision is interpolated or bins are closed on the wrong side."""
    scores = np.random.default_rng(0).random(MASK.shape) * 0.7 + 0.3 * MASK
    floored = np.searchsorted(bin_edges(0.01), scores, side="right")
    expected = 100 * average_precision_score(MASK.ravel(), floored.ravel())
    assert pixel_histogram(scores, MASK, interval=0.01).pxap() == pytest.approx(expected)


def test_pooling_is_not_averaging():
    """Breaks when PxAP is the mean of per-image values: merged histograms equal one of the joined pixels."""
    scores = np.random.default_rng(1).random((2, 20, 20))
    merged = pixel_histogram(scores[0], MASK) + pixel_histogram(scores[1], MASK.T)
    joined = pixel_histogram(np.concatenate(scores), np.concatenate([MASK, MASK.T]))
    np.testing.assert_array_equal(merged.positive, joined.positive)
    assert merged.pxap() == joined.pxap()


def test_what_is_refused():
    """Breaks when an undefined number is reported as 0."""
    empty = np.zeros_like(MASK)
    with pytest.raises(ValueError, match="undefined"):
        pixel_histogram(np.ones(MASK.shape), empty).pxap()
    with pytest.raises(ValueError, match="NaN"):
        pixel_histogram(np.full(MASK.shape, np.nan), MASK)
    with pytest.raises(ValueError, match="shape"):
        pixel_histogram(np.ones((3, 3)), MASK)
    with pytest.raises(ValueError, match="merged"):
        pixel_histogram(np.ones(MASK.shape), MASK) + pixel_histogram(np.ones(MASK.shape), MASK, interval=0.01)
    with pytest.raises(ValueError, match="at least one"):
        evaluation_masks([])


def test_foreground_wins_over_ignore():
    """Breaks when a pixel in both masks is ignored."""
    foreground, ignore = evaluation_masks([MASK, MASK.T], [np.ones_like(MASK)], side=20)
    np.testing.assert_array_equal(foreground, MASK | MASK.T)
    np.testing.assert_array_equal(ignore, ~foreground)


def test_mask_iou():
    """Breaks when ignored pixels stay in the union."""
    other = np.roll(MASK, 1, axis=0)
    assert mask_iou(MASK, other) == 70 / 90
    assert mask_iou(MASK, other, ignore=MASK ^ other) == 1
    assert mask_iou(~MASK & MASK, ~MASK & MASK) == 0
