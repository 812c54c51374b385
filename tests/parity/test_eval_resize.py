"""wsolevaluation's way from a class activation map to a score map and its boxes."""

import numpy as np
import pytest

from stages.scoring.cuts.quantized import cuts_of_thresholds, quantize
from stages.scoring.cuts.sweep import largest_contour_boxes
from stages.scoring.evaluator_maps import evaluator_score_map

pytestmark = pytest.mark.golden("eval_resize")


@pytest.fixture
def score_maps(golden) -> list[np.ndarray]:
    arrays = golden.arrays
    shapes = arrays["cam_shape_hw"]
    flat = np.split(arrays["cam_flat"], np.cumsum(shapes.prod(axis=1))[:-1])
    side = arrays["scoremap"].shape[1]
    return [evaluator_score_map(values.reshape(shape), side) for values, shape in zip(flat, shapes, strict=True)]


def test_score_maps(golden, score_maps):
    """Breaks when the map is normalised before it is enlarged, or enlarged by another kernel."""
    arrays = golden.arrays
    np.testing.assert_allclose(score_maps, arrays["scoremap"], atol=golden.tolerance("scoremap"), rtol=0)


def test_quantised_maps(golden, score_maps):
    """Breaks when the enlargement drifts by more than a grey level."""
    arrays = golden.arrays
    found = np.stack([quantize(score_map) for score_map in score_maps]).astype(int)
    assert np.abs(found - arrays["scoremap_u8"]).max() <= golden.tolerance("scoremap_u8")


def test_boxes(golden, score_maps):
    """Breaks when small differences of the map move a box by more than a pixel."""
    arrays = golden.arrays
    for score_map, expected in zip(score_maps, arrays["single_boxes"], strict=True):
        levels = quantize(score_map)
        cuts = cuts_of_thresholds(arrays["thresholds"], int(levels.max()))
        boxes = largest_contour_boxes(levels)[cuts] - [0, 0, 1, 1]
        assert np.abs(boxes - expected).max() <= 1


def test_constant_activation(golden):
    """Breaks when a constant map is divided by zero or becomes ones."""
    if golden.arrays["constant_result_is_zero"]:
        assert not evaluator_score_map(np.full((7, 7), 3.0)).any()
