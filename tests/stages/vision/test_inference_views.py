import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize, TenCrop
from torchvision.transforms.functional import InterpolationMode

from stages.vision.images import resize
from stages.vision.inference_views import InferenceViews
from stages.vision.top_classes import top_classes

SHAPES = (
    (375, 500),
    (500, 375),
    (36, 46),
    (243, 58),
    (224, 224),
    (90, 400),
    (301, 301),
    (256, 340),
    (30, 20),
    (2000, 233),
)
"""(height, width): wide, tall, of ratios that round, square, far from it, just so, smaller than the input."""


def picture(height, width, seed=0):
    """Smooth noise, whose resampling shows differences of a filter."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 7 + 2, width // 7 + 2, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def views(kind="centre", size=64, crop=0.875, keep_aspect=True, interpolation="bilinear"):
    return InferenceViews(kind, size, crop, keep_aspect, interpolation)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "resized"), [(64, 73), (56, 64), (224, 256), (299, 342), (224, 232)])
def test_the_centre_is_that_of_published_transforms(shape, interpolation, size, resized):
    """Breaks when a published classifier sees other pixels than its publisher's: other rounding, filter or crop."""
    image = picture(*shape)
    published = Compose([Resize(resized, InterpolationMode(interpolation)), CenterCrop(size)])
    found = views(size=size, crop=size / resized, interpolation=interpolation)(image)
    np.testing.assert_array_equal(found, np.asarray(published(Image.fromarray(image)))[None])


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_crops_are_torchvisions(shape):
    """Breaks when a corner is missing, twice there, or the mirror images come in another order than the views."""
    image = picture(*shape)
    published = TenCrop(56)(Resize(64)(Image.fromarray(image)))
    found = views("ten_crop", 56)(image)
    np.testing.assert_array_equal(found, np.stack([np.asarray(view) for view in published]))


def test_the_centre_of_a_squashed_image_is_psols():
    """Breaks when PSOL's protocol (both sides to 256, the central 224) keeps the aspect ratio."""
    image = picture(300, 500)
    published = CenterCrop(224)(Resize((256, 256))(Image.fromarray(image)))
    np.testing.assert_array_equal(views(size=224, keep_aspect=False)(image)[0], np.asarray(published))


@pytest.mark.parametrize("kind", ["centre", "ten_crop"])
def test_a_strip_is_squeezed_before_it_is_cut(kind):
    """Breaks when an image of one row fills the memory, or its boxes are not carried back as far."""
    strip = np.zeros((1, 10_000, 3), np.uint8)
    assert views(kind)(strip).shape[1:] == (64, 64, 3)
    (box,) = views(kind).in_image(np.array([[0.0, 0.0, 1.0, 1.0]]), [(10_000, 1)])
    assert box[2] - box[0] == pytest.approx(10_000 * 64 / (73 * 32))


def test_crops_above_the_whole_count_as_the_whole():
    """Breaks when a crop beyond the image shows what is not there."""
    np.testing.assert_array_equal(views(crop=1.15)(picture(90, 120)), views(crop=1.0)(picture(90, 120)))


def test_squash_shows_everything():
    """Breaks when maps and boxes lose the border of the image by default."""
    image = picture(300, 500)
    for interpolation in ("bilinear", "bicubic"):
        (found,) = views("squash", interpolation=interpolation)(image)
        np.testing.assert_array_equal(found, resize(image, 64, interpolation))


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (240, 240), (120, 400)])
@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("kind", ["squash", "centre", "ten_crop"])
def test_a_painted_rectangle_is_found_where_it_was_painted(shape, keep_aspect, kind):
    """Breaks when boxes are carried back from another place or scale than the crop was cut from."""
    height, width = shape
    box = np.array([width * 0.42, height * 0.38, width * 0.56, height * 0.61]).round()
    image = np.zeros((height, width, 3), np.uint8)
    image[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
    taken = views(kind, 64, keep_aspect=keep_aspect)
    seen = taken(image)[taken.of_boxes, :, :, 0] > 127
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    fractions = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]) / 64
    (found,) = taken.in_image(fractions, [(width, height)])
    assert np.abs(found - box).max() <= 0.6 * max(width, height) / 64


def test_the_whole_view_is_inside_the_image():
    """Breaks when a box of the whole crop reaches out of the image by rounding, or of several images of one size."""
    sizes = [(shape[1], shape[0]) for shape in SHAPES if min(shape) >= 64]
    for kind in ("squash", "centre", "ten_crop"):
        found = views(kind).in_image(np.tile(np.array([[0.0, 0.0, 1.0, 1.0]]), (len(sizes), 1)), sizes)
        limits = np.array(sizes, float)
        assert (found[:, :2] >= 0).all()
        assert (found[:, 2:] <= limits + 1e-3).all()


def test_classes_of_views_are_the_mean_of_their_scores():
    """Breaks when logits are averaged in place of scores, or views of other images are mixed."""
    logits = torch.randn(3, 10, 7)
    expected = logits.softmax(-1).mean(1).topk(5)
    classes, scores = top_classes(logits.flatten(0, 1), views=10)
    np.testing.assert_array_equal(classes, expected.indices)
    np.testing.assert_allclose(scores, expected.values, rtol=1e-6)
