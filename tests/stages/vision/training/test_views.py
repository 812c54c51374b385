import numpy as np
import pytest

from stages.vision.images import resize
from stages.vision.training.views import View, random_view


def picture(height=40, width=60):
    """Red grows to the right, green downwards."""
    y, x = np.indices((height, width))
    return np.stack([4 * x, 6 * y, 0 * x], axis=2).astype(np.uint8)


def views(view, image, number=60):
    return [random_view(image, view, np.random.default_rng(seed)) for seed in range(number)]


def test_without_any_change_the_image_is_squashed():
    """Breaks when a view that may change nothing is not the whole image, as maps see it."""
    (seen,) = views(View(32, crop=1.0, mirror=False), picture(), 1)
    assert np.array_equal(seen, resize(picture(), 32))


@pytest.mark.parametrize(("keep_aspect", "rows", "columns"), [(False, 20, 30), (True, 20, 20)])
def test_a_crop_has_its_size_and_every_place(keep_aspect, rows, columns):
    """Breaks when crops keep to the middle or the corner, leave the image, or have another shape."""
    seen = views(View(100, crop=0.5, keep_aspect=keep_aspect, mirror=False), picture(), 400)
    spans = np.array([(v[50, -1, 0] - float(v[50, 0, 0]), v[-1, 50, 1] - float(v[0, 50, 1])) for v in seen])
    np.testing.assert_allclose(spans, [[4 * (columns - 1), 6 * (rows - 1)]] * len(seen), atol=2)
    assert {0, 4 * (60 - columns)} <= {int(v[50, 0, 0]) for v in seen}
    assert {0, 6 * (40 - rows)} <= {int(v[0, 50, 1]) for v in seen}


@pytest.mark.parametrize(("change", "axis"), [({"mirror": True}, 1), ({"mirror": False, "upside_down": True}, 0)])
def test_half_of_the_images_are_turned(change, axis):
    """Breaks when mirroring never happens, always happens, or is along the other axis."""
    seen = views(View(32, crop=1.0, **change), picture(), 200)
    as_it_is = resize(picture(), 32)
    turned = [np.array_equal(v, np.flip(as_it_is, axis)) for v in seen]
    assert all(one or np.array_equal(v, as_it_is) for v, one in zip(seen, turned, strict=True))
    assert 70 < sum(turned) < 130


def test_tiny_images_keep_a_pixel():
    """Breaks when the crop of an image of one pixel is empty."""
    assert random_view(picture(1, 1), View(8, crop=0.1), np.random.default_rng(0)).shape == (8, 8, 3)
