"""EXIF orientation: all eight, in every format that has it, once."""

import io
import statistics
import struct
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from stages.vision.decoding.turning import ORIENTATIONS, orientation_of, turned, turned_back
from stages.vision.images import decode, exif_orientation
from tests.stages.vision.decoding.made_files import chunk, encoded, exif, heic, photo, png_of, tiff_of, with_segment

PICTURE = np.kron(np.random.default_rng(0).integers(0, 2, (4, 6, 3)) * 200 + 20, np.ones((16, 16, 1))).astype(np.uint8)
"""Large blocks, 64x96, that no orientation leaves as they are."""


def file_of(kind: str, orientation: int) -> bytes:
    if kind == "HEIC":
        return heic(PICTURE, orientation)
    if kind == "TIFF":
        return tiff_of(PICTURE, t274=(3, (orientation,)))
    if kind == "BigTIFF":
        return tiff_of(PICTURE, big=True, t274=(3, (orientation,)))
    if kind == "deflated TIFF":
        return encoded(PICTURE, "TIFF", compression="tiff_adobe_deflate", exif=exif(orientation))
    return encoded(PICTURE, kind, exif=exif(orientation), **({} if kind == "PNG" else {"quality": 95}))


def shown(picture: np.ndarray, orientation: int) -> np.ndarray:
    """As Pillow shows an image that has this orientation in its EXIF."""
    image = Image.open(io.BytesIO(encoded(picture, "PNG", exif=exif(orientation))))
    return np.array(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BigTIFF", "deflated TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turned_once_or_not_at_all(kind, orientation):
    """Breaks when a decoder turns by itself (libheif, Pillow's TIFF) and it is done twice, or stored pixels are not."""
    data = file_of(kind, orientation)
    assert exif_orientation(data) == orientation
    stored, seen = decode(data), decode(data, turned=True)
    assert stored.shape == PICTURE.shape
    assert seen.shape == shown(PICTURE, orientation).shape
    assert np.abs(stored.astype(int) - PICTURE).mean() < 8
    assert np.abs(seen.astype(int) - shown(PICTURE, orientation)).mean() < 8
    np.testing.assert_array_equal(seen, turned(stored, orientation))
    assert seen.flags.c_contiguous


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turning_and_back(orientation):
    """Breaks when 6 and 8 are exchanged, or a rotation is not undone by its inverse."""
    np.testing.assert_array_equal(turned_back(turned(PICTURE, orientation), orientation), PICTURE)
    assert orientation_of(lambda image: turned(image, orientation)) == orientation


def test_formats_without_exif_are_not_turned():
    """Breaks when bytes that look like EXIF are found in a format that has none."""
    for kind in ("GIF", "BMP", "PPM", "JPEG2000"):
        assert exif_orientation(encoded(PICTURE, kind) + exif(6)) == 1


def test_repeated_exif_of_heif_does_not_count():
    """Breaks when a phone's HEIC or AVIF, upright by irot and with EXIF that says so again, is turned by both."""
    for data in (heic(PICTURE), encoded(PICTURE, "AVIF", exif=exif(1))):
        assert exif_orientation(data.replace(exif(1), exif(6))) == 1


def exif_jpeg(contents: bytes) -> bytes:
    return with_segment(encoded(photo(), "JPEG"), 0xE1, b"Exif\0\0" + contents)


def tags(entries: bytes, count: int, order: str = "<") -> bytes:
    head = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    return head + struct.pack(order + "H", count) + entries + bytes(4)


@pytest.mark.parametrize(
    ("contents", "orientation"),
    [
        (tags(struct.pack("<HHII", 274, 3, 1, 6), 1), 6),
        (tags(struct.pack(">HHIHH", 274, 3, 1, 8, 0), 1, ">"), 8),
        (tags(struct.pack("<HHII", 274, 4, 1, 3), 1), 3),
        (tags(struct.pack("<HHII", 274, 3, 1, 0), 1), 1),
        (tags(struct.pack("<HHII", 274, 3, 1, 9), 1), 1),
        (tags(struct.pack("<HHII", 274, 3, 2**31, 26), 1), 1),
        (tags(struct.pack("<HHII", 274, 2, 1, 6), 1), 1),
        (tags(struct.pack("<HHII", 274, 3, 1, 6), 65535), 1),
        (b"II*\0\xff\xff\xff\xff", 1),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, 1),
        (b"II*\0", 1),
        (b"XX*\0\x08\0\0\0", 1),
        (b"", 1),
    ],
)
def test_odd_and_hostile_exif(contents, orientation):
    """Breaks when EXIF that lies about counts and places raises, or is believed."""
    assert exif_orientation(exif_jpeg(contents)) == orientation
    webp = encoded(PICTURE, "WEBP", exif=contents or b"\0")
    assert exif_orientation(webp) == orientation
    data = png_of(photo())
    assert exif_orientation(data[:33] + chunk(b"eXIf", contents) + data[33:]) == orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_it_never_raises(kind):
    """Breaks when damage before the orientation ends the run: it is asked for outside of decoding."""
    data, generator = file_of(kind, 6), np.random.default_rng(1)
    for length in range(0, 400, 7):
        assert exif_orientation(data[:length]) in ORIENTATIONS
    for _ in range(300):
        damaged = bytearray(data)
        for place in generator.integers(0, min(600, len(data)), 4):
            damaged[place] = int(generator.integers(0, 256))
        assert exif_orientation(bytes(damaged)) in ORIENTATIONS


def test_it_is_quick():
    """Breaks when every image is opened by Pillow for its orientation, which takes a tenth of its decoding."""
    data = file_of("JPEG", 6)
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        exif_orientation(data)
        times.append(time.perf_counter() - begun)
    assert statistics.median(times) < 100e-6
