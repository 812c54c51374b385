"""Which source an image's boxes are taken from, and their weighted mean."""

import numpy as np
import pytest

from stages.consensus.choice import best_source, fused
from stages.vision.boxes import iou

NAN = float("nan")


@pytest.mark.parametrize(
    ("quality", "has", "flagged", "source"),
    [
        ((0.2, 0.7, 0.5), (1, 1, 1), (0, 0, 0), 1),
        ((0.2, 0.7, 0.5), (1, 0, 1), (0, 0, 0), 2),
        ((0.2, 0.7, 0.5), (1, 1, 1), (0, 1, 0), 2),
        ((NAN, NAN, NAN), (1, 1, 1), (0, 0, 0), 0),
        ((NAN, NAN, NAN), (1, 1, 1), (1, 0, 0), 1),
        ((NAN, 0.1, NAN), (1, 1, 1), (0, 0, 0), 1),
        ((0.4, 0.4, 0.3), (1, 1, 1), (0, 0, 0), 0),
        ((0.9, NAN, 0.8), (0, 1, 0), (0, 1, 0), 1),
    ],
)
def test_the_best_that_is_there_and_says_something_is_taken(quality, has, flagged, source):
    """Breaks when a source without the image is taken, a fallback before a box, or the order of equal ones changes."""
    columns = (np.array(values)[:, None] for values in (quality, np.array(has, bool), np.array(flagged, bool)))
    assert best_source(*columns).tolist() == [source]


def test_boxes_are_fused_in_proportion_to_their_weights():
    """Breaks when the frame of the fusion leaks, or weights are ignored; oracle: the weighted mean."""
    one, other = np.array([10.0, 20.0, 110.0, 120.0]), np.array([20.0, 20.0, 120.0, 130.0])
    found = fused([one, other], [0.75, 0.25], (400, 300), 0.5)
    assert found == pytest.approx(0.75 * one + 0.25 * other, abs=0.1)


def test_the_strongest_group_is_taken():
    """Breaks when boxes that do not overlap are averaged into one of nowhere."""
    one, other = np.array([0.0, 0.0, 50.0, 50.0]), np.array([200.0, 200.0, 300.0, 290.0])
    for weights, expected in (((0.9, 0.2), one), ((0.2, 0.9), other)):
        assert iou(fused([one, other], weights, (400, 300), 0.5), expected).item() > 0.99
