import numpy as np

from stages.psol.augment import (
    augment,
    crop_box,
    flip_box,
    sample_crop,
)
from stages.vision.boxes import area, denormalise, xywh_to_xyxy
from stages.vision.components import mask_extent


def cases(count, seed=0):
    """Image sizes and boxes inside them, small ones and some on the border among them."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        width, height = (int(n) for n in generator.integers(40, 300, 2))
        left, top = generator.integers(0, width - 12), generator.integers(0, height - 12)
        right, bottom = generator.integers(left + 8, width + 1), generator.integers(top + 8, height + 1)
        yield width, height, np.array([left, top, right, bottom], dtype=float), generator


def painted(width, height, box):
    image = np.zeros((height, width, 3), dtype=np.uint8)
    x0, y0, x1, y1 = box.astype(int)
    image[y0:y1, x0:x1] = 255
    return image


def test_painted_rectangle():
    """Paint the box, augment the picture, measure it again: any error in crop, resize or mirror is over a pixel."""
    size = 128
    for width, height, box, generator in cases(150):
        pixels, target = augment(painted(width, height, box), box, size, "bilinear", generator)
        assert pixels.shape == (size, size, 3)
        assert pixels.dtype == np.uint8
        assert target.dtype == np.float32
        measured = mask_extent(pixels[:, :, 0] >= 128)
        np.testing.assert_allclose(denormalise(xywh_to_xyxy(target), size, size), measured, atol=1.0)


def test_crops_show_the_box_and_keep_their_bounds():
    """A crop beside the box makes a target of negative or zero width, which the released code trains on."""
    for width, height, box, generator in cases(300, seed=1):
        crop = sample_crop(width, height, box, generator)
        assert area(crop_box(box, crop)) > 0
        x0, y0, x1, y1 = crop
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        if tuple(crop) != (0, 0, width, height):
            fraction, aspect = (x1 - x0) * (y1 - y0) / (width * height), (x1 - x0) / (y1 - y0)
            assert 0.17 < fraction <= 1.0
            assert 0.7 < aspect < 1.42


def test_crops_vary_and_are_reproducible():
    """One generator state, one crop: a resumed run must draw what the uninterrupted one drew."""
    box = np.array([30.0, 30.0, 60.0, 60.0])

    def draw():
        return [tuple(sample_crop(100, 80, box, np.random.default_rng(seed))) for seed in range(20)]

    assert draw() == draw()
    assert len(set(draw())) > 10


def test_impossible_crops_fall_back_to_the_whole_image():
    """A strip of an image has no crop of an allowed aspect and area: training must go on with all of it."""
    crop = sample_crop(400, 20, np.array([0.0, 0.0, 10.0, 10.0]), np.random.default_rng(0))
    np.testing.assert_array_equal(crop, [0, 0, 400, 20])


def test_crop_box():
    """Worked by hand: box (10, 20, 50, 60) seen from crop (30, 0, 70, 40)."""
    np.testing.assert_allclose(crop_box([10, 20, 50, 60], [30, 0, 70, 40]), [0, 0.5, 0.5, 1])
    assert area(crop_box([0, 0, 5, 5], [30, 0, 70, 40])) == 0


def test_flip_twice_is_the_identity():
    """Mirroring about pixel centres instead of edges is off by one pixel, and not its own inverse."""
    boxes = np.random.default_rng(0).random((20, 4))
    np.testing.assert_allclose(flip_box(flip_box(boxes)), boxes, atol=1e-15)
    np.testing.assert_allclose(flip_box([0.1, 0.2, 0.4, 0.6]), [0.6, 0.2, 0.9, 0.6])
