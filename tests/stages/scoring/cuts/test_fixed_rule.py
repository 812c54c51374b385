"""Thresholds of the fixed pipeline against the pipeline itself, threshold by threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.scoring.cuts.fixed_rule import boxes_per_threshold, iou_per_threshold
from stages.vision.components import components


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.sampled_from([np.float32, np.float64]))
def test_boxes_are_those_of_the_pipeline(seed, grey_levels, dtype):
    """Breaks when a tie between components, the strict comparison or its dtype is read otherwise."""
    random = np.random.default_rng(seed)
    score_map = (random.integers(0, grey_levels + 1, (17, 23)) / grey_levels).astype(dtype)
    boxes = boxes_per_threshold(score_map)
    for step in range(0, 255, 5):
        found = components(score_map > step / 255)
        np.testing.assert_array_equal(boxes[step], found.box(0) if len(found) else [0, 0, 23, 17])


def test_iou_is_the_best_over_the_truth():
    """Breaks when only the first ground-truth box is compared."""
    score_map = np.zeros((10, 10), np.float32)
    score_map[2:6, 2:6] = 1
    ious = iou_per_threshold(score_map, np.array([[7.0, 7, 9, 9], [2, 2, 6, 6]]))
    np.testing.assert_array_equal(ious, 1.0)


def test_empty_map_is_the_whole_image():
    """Breaks when a map without foreground is scored otherwise than the pipeline, which then takes the whole image."""
    np.testing.assert_array_equal(iou_per_threshold(np.zeros((4, 6)), np.array([[0.0, 0, 6, 2]])), 0.5)


def test_missing_truth_scores_zero():
    """Breaks when an image without ground truth counts as localised."""
    assert not iou_per_threshold(np.ones((4, 4)), np.zeros((0, 4))).any()


def test_nan_is_refused():
    """Breaks when a NaN map is scored as if it were empty."""
    with pytest.raises(ValueError, match="NaN"):
        boxes_per_threshold(np.array([[0.0, np.nan]]))
