"""Outlines that are rasterised to the masks that they came from."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from stages.formats.polygons import borders, drawn_outline


def masks_of_one_piece():
    """Ellipses, bars of one pixel, blobs and stars, without holes."""
    random = np.random.default_rng(3)
    for number in range(60):
        height, width = random.integers(4, 90, 2)
        mask = np.zeros((height, width), np.uint8)
        if number % 3 == 0:
            axes = (max(1, int(width) // 3), max(1, int(height) // 4))
            cv2.ellipse(mask, (int(width) // 2, int(height) // 2), axes, float(number), 0, 360, 1, -1)
        elif number % 3 == 1:
            mask[height // 4 : height // 4 + 1, : max(1, width - 2)] = 1
        else:
            corners = random.integers(0, min(height, width), (6, 2)).astype(np.int32)
            cv2.fillPoly(mask, [corners], 1)
            outer, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            mask[:] = 0
            cv2.drawContours(mask, outer[:1], -1, 1, -1)
        yield mask.astype(bool)


def drawn(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
    return mask.astype(bool)


def test_pycocotools_gives_the_mask_back():
    """Breaks when a border is half a pixel off, which a thin object does not survive."""
    for mask in masks_of_one_piece():
        height, width = mask.shape
        parts = coco.frPyObjects([outline.ravel().tolist() for outline in borders(mask)], height, width)
        np.testing.assert_array_equal(coco.decode(coco.merge(parts)).astype(bool), mask)


@pytest.mark.parametrize("whole", [np.round, np.floor])
def test_tools_that_draw_give_the_mask_back(whole):
    """Breaks when rounding, or cutting, or the way through a fraction of the size, moves a corner to another pixel."""
    for mask in masks_of_one_piece():
        size = np.array(mask.shape[::-1], np.float32)
        outline = drawn_outline(mask)
        assert outline is not None
        through = np.array([f"{part:.8f}" for part in (outline / size).ravel()], np.float32).reshape(-1, 2) * size
        np.testing.assert_array_equal(drawn(whole(through), mask.shape), mask)


def test_pieces_are_joined_by_lines_alone():
    """Breaks when a piece is dropped, or what lies between two is filled."""
    mask = np.zeros((60, 60), bool)
    mask[5:20, 5:20], mask[40:55, 30:50], mask[8:12, 50:54] = True, True, True
    outline = drawn_outline(mask)
    assert outline is not None
    found = drawn(outline, mask.shape)
    assert found[mask].all()
    assert (found & ~mask).sum() < 2 * (60 + 60)
    assert len(borders(mask)) == 3


@pytest.mark.parametrize("length", [1, 4])
def test_a_dot_and_a_bar_have_corners_enough(length):
    """Breaks when two corners, which tools read as a box, or one are written for an object a pixel thick."""
    mask = np.zeros((9, 9), bool)
    mask[4, 2 : 2 + length] = True
    outline = drawn_outline(mask)
    assert outline is not None
    assert len(outline) >= 3
    np.testing.assert_array_equal(drawn(outline, mask.shape), mask)


def test_an_empty_mask_has_no_outline():
    """Breaks when an object that is nowhere ends an export."""
    empty = np.zeros((4, 5), bool)
    assert drawn_outline(empty) is None
    assert borders(empty) == []
