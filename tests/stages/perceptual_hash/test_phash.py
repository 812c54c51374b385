"""Which pictures have hashes that are near each other, on real photographs and drawn ones."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from stages.duplicates.alike import DISTANCE
from stages.perceptual_hash.phash import SIDE, phash
from stages.vision.images import decode, resize

PHOTOGRAPHS = [Image.fromarray(each) for each in load_sample_images().images]


def hashed(image):
    return int(phash(resize(np.asarray(image), SIDE)) or "", 16)


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return decode(buffer.getvalue())


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize(
    "change",
    [
        lambda image: encoded(image, quality=30),
        lambda image: encoded(
            image.resize((image.width // 3, image.height // 3), Image.Resampling.LANCZOS), quality=90
        ),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: image.convert("L").convert("RGB"),
    ],
    ids=["compressed again", "a third of its size", "darker", "grey"],
)
def test_copies_are_near(photograph, change):
    """Breaks when a copy of a picture that was saved in another way is not known again."""
    assert (hashed(photograph) ^ hashed(change(photograph))).bit_count() <= DISTANCE


def test_other_pictures_are_far():
    """Breaks when parts of photographs, turned ones and mirrored ones are taken for each other."""
    pictures = [
        np.asarray(photograph.crop((x, y, x + 200, y + 200)))
        for photograph in PHOTOGRAPHS
        for x in (0, 200, 400)
        for y in (0, 200)
    ]
    hashes = [hashed(each) for picture in pictures for each in (picture, picture[:, ::-1], cv2.rotate(picture, 0))]
    assert min((one ^ other).bit_count() for i, one in enumerate(hashes) for other in hashes[:i]) > DISTANCE


def test_plain_pictures_have_no_hash():
    """Breaks when every empty page and every black frame is the same picture as every other."""
    for value in (0, 128, 255):
        assert phash(np.full((SIDE, SIDE, 3), value, np.uint8)) is None
    assert phash(np.repeat(np.arange(0, 8 * SIDE, 8, dtype=np.uint8)[None, :, None], SIDE, 0).repeat(3, 2)) is None
