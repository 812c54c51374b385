from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.boxes.boxes import pseudo_boxes
from stages.vision.box_rule import BoxRule, Interpolation
from stages.vision.components import mask_extent
from stages.vision.score_maps import enlarge, min_max

DDT = BoxRule(kind="absolute", frame="grid")


def blobs():
    """Two separate regions on a 14x14 grid, the lower one larger and weaker, above a slope."""
    grid = np.tile(np.linspace(-1.0, -0.5, 14, dtype=np.float32), (14, 1))
    grid[1:4, 2:5] = 3.0
    grid[7:12, 6:13] = 1.0
    return grid


def test_grid_frame():
    """PSOL's DDT box: cells of the grid times image / grid, width and height not swapped."""
    result = pseudo_boxes(blobs(), 280, 140, DDT, 0.0)
    np.testing.assert_allclose(result.boxes[0, :4], [60, 140, 130, 240])
    np.testing.assert_array_equal(mask_extent(result.masks[0]), result.boxes[0, :4])
    assert result.boxes[0, 4] == pytest.approx(0.5)
    assert result.area_fraction == pytest.approx(35 / 196)
    assert result.flag is None


@given(st.integers(0, 50), st.integers(5, 90), st.integers(5, 90))
def test_grid_boxes_are_whole_cells(seed, height, width):
    """Box coordinates in units of a cell are whole numbers, whatever the image's size."""
    score_map = np.random.default_rng(seed).normal(size=(6, 7)).astype(np.float32)
    result = pseudo_boxes(score_map, height, width, DDT, 0.0)
    cells = result.boxes[0, :4] / np.tile([width / 7, height / 6], 2)
    np.testing.assert_allclose(cells, cells.round(), atol=1e-4)
    assert result.masks.shape == (1, height, width)


@given(st.integers(0, 50), st.floats(0.05, 0.95))
def test_image_frame_box_is_the_mask_extent(seed, threshold):
    """In the image frame box and mask are two views of one component; a transposed mask or a +1 parts them."""
    score_map = np.random.default_rng(seed).normal(size=(5, 7)).astype(np.float32)
    result = pseudo_boxes(score_map, 37, 23, BoxRule(components="all"), threshold)
    for box, mask in zip(result.boxes, result.masks, strict=True):
        np.testing.assert_array_equal(mask_extent(mask), box[:4])
    foreground = min_max(enlarge(score_map, 37, 23)) > threshold
    np.testing.assert_array_equal(result.masks.any(axis=0), foreground)
    assert result.area_fraction == pytest.approx(foreground.mean())


def test_relative_threshold_ignores_scale_and_bias():
    """A CAM has no fixed scale, and the box must not depend on it; min-max before bicubic enlargement overshoots 1."""
    for enlargement in get_args(Interpolation):
        rule = BoxRule(enlargement=enlargement)
        first, second = (pseudo_boxes(score_map, 90, 90, rule, 0.4) for score_map in (blobs(), blobs() * 40 - 8))
        np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-4)
        assert 0 <= first.boxes[0, 4] <= 1


def test_threshold_is_strict():
    """With >=, threshold 0 would make every pixel of a min-maxed map foreground."""
    score_map = np.array([[0, 0, 0], [0, 2, 1], [0, 0, 0]], dtype=np.float32)
    result = pseudo_boxes(score_map, 3, 3, BoxRule(frame="grid"), 0.5)
    np.testing.assert_array_equal(result.boxes[0, :4], [1, 1, 2, 2])
    assert pseudo_boxes(score_map, 3, 3, BoxRule(frame="grid"), 0.0).masks.sum() == 2


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("largest", [[6, 7, 13, 12]]), ("all", [[6, 7, 13, 12], [2, 1, 5, 4]]), ("union", [[2, 1, 13, 12]])],
)
def test_component_rules(rule, expected):
    """The largest is by pixels, not by score; the union's mask leaves the gap between its parts out."""
    result = pseudo_boxes(blobs(), 14, 14, BoxRule(rule, kind="absolute", frame="grid"), 0.0)
    np.testing.assert_array_equal(result.boxes[:, :4], expected)
    assert result.masks.sum() == (35 if rule == "largest" else 44)
    assert result.n_components == 2
    assert len(result.masks) == len(result.boxes)


def test_min_area_is_a_fraction():
    """Counted in pixels, the same setting would mean another thing for every image size."""
    for size in (14, 140):
        rule = BoxRule("all", min_area=0.1, kind="absolute")
        score_map = np.kron(blobs(), np.ones((size // 14, size // 14)))
        assert len(pseudo_boxes(score_map, size, size, rule, 0.0).boxes) == 1


@pytest.mark.parametrize("score_map", [np.full((5, 5), 3.0), np.full((5, 5), np.nan), np.zeros((5, 5))])
@pytest.mark.parametrize("frame", ["grid", "image"])
def test_nothing_above_the_threshold(score_map, frame):
    """A missing box breaks training, and an unflagged whole image is a lie in the table."""
    result = pseudo_boxes(score_map, 30, 40, BoxRule(frame=frame), 0.3)
    np.testing.assert_array_equal(result.boxes, [[0, 0, 40, 30, 0]])
    assert result.masks.all()
    assert result.flag == "empty_mask"
    assert result.n_components == 0
    assert np.isnan(result.contrast)


def test_opposite_sign_gives_the_complement():
    """The wrong sign of a DDT component marks the background: the two masks before components share nothing."""
    rule = BoxRule("all", kind="absolute", frame="grid")
    one, other = (pseudo_boxes(score_map, 14, 14, rule, 0.0).masks.any(axis=0) for score_map in (blobs(), -blobs()))
    np.testing.assert_array_equal(one, ~other)


def test_contrast():
    """Foreground at the map's maximum on a background at its minimum has contrast 1."""
    score_map = np.zeros((4, 4), dtype=np.float32)
    score_map[1:3, 1:3] = 5
    assert pseudo_boxes(score_map, 8, 8, BoxRule(frame="grid"), 0.5).contrast == pytest.approx(1.0)
