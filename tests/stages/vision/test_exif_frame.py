"""Frames under EXIF orientation, against Pillow's own turning of the picture."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from stages.vision.decoding.turning import turned
from stages.vision.exif_frame import displayed_boxes, displayed_size

WIDTH, HEIGHT = 11, 7
BOX = (2, 1, 9, 4)


def shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer makes of stored pixels under an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(file)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_box_mask_and_size_follow_the_picture(orientation):
    """Breaks when one of the eight orientations is taken for another, or a corner is off by one."""
    x0, y0, x1, y1 = BOX
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y0:y1, x0:x1] = 255
    mask[y0, x0] = 100  # tells a mirrored box from a turned one
    there = shown(mask, orientation)
    np.testing.assert_array_equal(turned(mask, orientation), there)
    assert displayed_size(WIDTH, HEIGHT, orientation) == there.shape[::-1]
    rows, columns = np.nonzero(there)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert displayed_boxes([BOX], WIDTH, HEIGHT, orientation).tolist() == [expected]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_turn_as_masks_do(orientation):
    """Breaks when the axis of colours is exchanged with one of the picture's."""
    pixels = np.random.default_rng(0).integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    np.testing.assert_array_equal(turned(pixels, orientation), shown(pixels, orientation))


def test_no_boxes_are_no_boxes():
    """Breaks when an image without boxes ends an export."""
    assert displayed_boxes([], 4, 3, 6).shape == (0, 4)
