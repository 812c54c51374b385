from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.psol.labels import chosen, quality_weights
from stages.psol.parameters import Quality


def label(name, corners, flag=None, contrast=None, score=0.5):
    """A row of an image of 40 x 20 pixels; corners None: no box."""
    boxes = [] if corners is None else [{**dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True)), "score": score}]
    other = {"x0": 0.0, "y0": 0.0, "x1": 1.0, "y1": 1.0, "score": 0.9}
    row = {"image_id": name, "boxes": [*boxes, other] if boxes else [], "flag": flag, "contrast": contrast}
    return {**row, "image_width": 40, "image_height": 20}


ROWS = [
    label("kept", (1, 2, 30, 12), contrast=0.25, score=0.75),
    label("over", (30, -5, 50, 10), contrast=None),
    label("whole", (0, 0, 40, 20), contrast=0.5),
    label("fallback", (0, 0, 40, 20), flag="empty_mask"),
    label("none", None),
    label("line", (5, 5, 5, 15)),
    label("outside", (41, 0, 50, 10)),
]


def test_boxes_that_cannot_be_trained_on_are_left_out_with_their_reason():
    """Breaks when a fallback is taken for the object, or a crop is looked for around a box that has no pixel."""
    labels = chosen(ROWS)
    assert labels.left_out == {"fallback": "flagged", "none": "empty", "line": "empty", "outside": "empty"}
    assert {name: box.tolist() for name, box in labels.boxes.items()} == {
        "kept": [1, 2, 30, 12], "over": [30, 0, 40, 10], "whole": [0, 0, 40, 20],
    }  # fmt: skip
    assert labels.whole == 1


def test_the_quality_is_that_of_the_column_asked_for():
    """Breaks when contrast and score are mixed up, or the score is another box's."""
    found = {quality: chosen(ROWS, quality).quality for quality in get_args(Quality)}
    assert np.isnan(list(found["none"].values())).all()
    np.testing.assert_array_equal(list(found["contrast"].values()), [0.25, np.nan, 0.5])
    np.testing.assert_array_equal(list(found["score"].values()), [0.75, 0.5, 0.5])


def test_weights_by_hand():
    """Breaks when a missing quality counts as none at all, or a negative one pulls the box away."""
    np.testing.assert_allclose(quality_weights([0.2, 0.6, np.nan]), [0.5, 1.5, 1.0])
    np.testing.assert_allclose(quality_weights([-0.3, 0.5]), [0.0, 2.0])


@given(st.lists(st.one_of(st.just(float("nan")), st.floats(0.01, 10)), min_size=1, max_size=30), st.floats(0.1, 10))
def test_weights_have_mean_one_whatever_the_unit(quality, unit):
    """Breaks when weighting changes the learning rate, or depends on the range of the scores."""
    if np.isnan(quality).all():
        return
    weights = quality_weights(quality)
    assert weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(quality_weights(np.array(quality) * unit), weights)


@pytest.mark.parametrize(("quality", "said"), [([np.nan, np.nan], "none is known"), ([0.0, -1.0, np.nan], "above 0")])
def test_no_quality_is_one_clear_line(quality, said):
    """Breaks when every weight is the same, or NaN, and nobody is told."""
    with pytest.raises(ValueError, match=said):
        quality_weights(quality)
