"""Trivial predictors on frames small enough to do by hand."""

import numpy as np
import pytest

from stages.scoring.protocols import PROTOCOLS
from stages.scoring.ragged import from_lists
from stages.scoring.trivial import best_over, centred_gaussian, centred_square, distinct_cuts, median_box, predictors

FRAMES = np.array([[0.0, 0.0, 40.0, 20.0]])


def test_centred_square():
    """Breaks when the longer side is taken."""
    np.testing.assert_array_equal(centred_square(FRAMES, 0.5), [[15, 5, 25, 15]])


def test_gaussian_boxes_are_centred_and_shrink():
    """Breaks when the level sets are not nested discs around the middle."""
    boxes = np.concatenate([centred_gaussian(FRAMES, cut) for cut in distinct_cuts()])
    np.testing.assert_allclose(boxes[:, 0] + boxes[:, 2], 40)
    np.testing.assert_allclose(boxes[:, 1] + boxes[:, 3], 20)
    assert (np.diff(boxes[:, 0]) > 0).all()
    np.testing.assert_array_equal(boxes[0], FRAMES[0])


def test_median_box_follows_the_image():
    """Breaks when the median is taken in pixels of images of different sizes."""
    boxes = np.array([[10.0, 10, 50, 50], [20, 40, 100, 200], [0, 0, 1000, 1000]])
    sizes = np.array([[100.0, 100], [200, 400], [1000, 1000]])
    np.testing.assert_allclose(median_box(boxes, sizes, FRAMES), [[4, 2, 20, 10]])


def test_best_over_keeps_the_best_of_each_level():
    """Breaks when one parameter is shared by all levels."""
    truth = from_lists([[[15, 5, 25, 15]]])
    candidates = [(share, centred_square(FRAMES, share)) for share in (0.4, 0.5, 0.6)]
    best = best_over(candidates, truth, (0.5, 0.9))
    assert (best[0.5].value, best[0.5].parameter, best[0.5].correct.tolist()) == (100, 0.4, [True])
    assert (best[0.9].value, best[0.9].parameter) == (100, 0.5)
    strict = best_over(candidates[1:2], truth, (1.0,), strict=True)
    assert strict[1.0].value == 0


@pytest.mark.parametrize(("name", "whole"), [("psol", "whole_crop"), ("original", "whole_image")])
def test_names_of_the_whole_frame(name, whole):
    """Breaks when a crop is reported as if it were the image."""
    found = predictors(PROTOCOLS[name], FRAMES)
    assert set(found) == {whole, "centred_square", "centred_gaussian"}
