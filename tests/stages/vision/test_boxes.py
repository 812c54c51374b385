import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stages.vision import boxes
from stages.vision.components import mask_extent

coordinate = st.integers(-50, 200)
box = st.tuples(coordinate, coordinate, st.integers(0, 100), st.integers(0, 100)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
mask_arrays = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=17), elements=st.booleans())
box_lists = st.lists(box, min_size=1, max_size=6)


@given(box_lists)
def test_conversions_are_inverse(values):
    """A conversion that rounds, or changes the wrong corner, does not come back."""
    array = np.array(values, dtype=float)
    np.testing.assert_array_equal(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(array)), array)
    np.testing.assert_allclose(boxes.denormalise(boxes.normalise(array, 37, 91), 37, 91), array, atol=1e-12)


def test_known_conversions():
    """One pixel at (3, 5): inclusive corners coincide, half-open ones differ by one."""
    np.testing.assert_array_equal(boxes.inclusive_to_half_open([3, 5, 3, 5]), [3, 5, 4, 6])
    np.testing.assert_array_equal(boxes.xyxy_to_xywh([3, 5, 4, 6]), [3, 5, 1, 1])
    np.testing.assert_array_equal(boxes.scale([1, 2, 3, 4], (14, 14), (28, 140)), [2, 20, 6, 40])
    np.testing.assert_array_equal(boxes.whole_image(7, 5), [0, 0, 7, 5])


@given(box_lists, box_lists)
def test_iou_by_counting_pixels(left, right):
    """For whole-numbered boxes, counting pixels is exact: any +1 or swapped axis shows."""
    canvas = np.indices((360, 360)) - 55

    def painted(one):
        return (canvas[1] >= one[0]) & (canvas[1] < one[2]) & (canvas[0] >= one[1]) & (canvas[0] < one[3])

    result = boxes.iou(left[:2], right[:2])
    for i, a in enumerate(map(painted, left[:2])):
        for j, b in enumerate(map(painted, right[:2])):
            union = (a | b).sum()
            assert result[i, j] == pytest.approx((a & b).sum() / union if union else 0.0)


@given(box_lists, box_lists)
def test_iou_algebra(left, right):
    """IoU is symmetric, within [0, 1], 1 with itself, and blind to moving or stretching both."""
    a, b = np.array(left, dtype=float), np.array(right, dtype=float)
    result = boxes.iou(a, b)
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_array_equal(result, boxes.iou(b, a).T)
    np.testing.assert_allclose(result, boxes.iou(a * 3 + 7, b * 3 + 7), atol=1e-12)
    np.testing.assert_array_equal(np.diag(boxes.iou(a, a)), (boxes.area(a) > 0).astype(float))


@given(box_lists)
def test_clip(values):
    """Clipping twice changes nothing, never grows a box, and leaves inner boxes alone."""
    array = np.array(values, dtype=float)
    clipped = boxes.clip(array, 60, 40)
    np.testing.assert_array_equal(boxes.clip(clipped, 60, 40), clipped)
    assert (boxes.area(clipped) <= boxes.area(array)).all()
    assert clipped.min() >= 0
    assert clipped[:, 0::2].max() <= 60
    assert clipped[:, 1::2].max() <= 40


def test_inputs_are_not_changed():
    """In-place arithmetic on a caller's array corrupted training targets in a public code base."""
    array = np.array([[10.0, 10.0, 90.0, 90.0]])
    for call in (boxes.xywh_to_xyxy, boxes.xyxy_to_xywh, boxes.inclusive_to_half_open):
        call(array)
    boxes.clip(array, 20, 20)
    np.testing.assert_array_equal(array, [[10, 10, 90, 90]])


def test_shapes():
    """No boxes are still boxes; three numbers are none."""
    assert boxes.iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.area([]).shape == (0,)
    assert boxes.area([0, 0, 2, 3]) == 6
    with pytest.raises(ValueError, match="four numbers"):
        boxes.clip([[1, 2, 3]], 5, 5)


@given(mask_arrays)
def test_mask_extent_is_tight(mask):
    """The box holds every pixel, and each of its four edges touches one."""
    x0, y0, x1, y1 = mask_extent(mask).astype(int)
    assert mask[y0:y1, x0:x1].sum() == mask.sum()
    if mask.any():
        inner = mask[y0:y1, x0:x1]
        assert inner[0].any() & inner[-1].any() & inner[:, 0].any() & inner[:, -1].any()
    else:
        assert (x0, y0, x1, y1) == (0, 0, 0, 0)
