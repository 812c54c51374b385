"""No file takes more pixels, memory or time than it may."""

import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from stages.vision.decoding import budget, formats
from stages.vision.images import ImageError, decode, exif_orientation
from tests.stages.vision.decoding.made_files import (
    bitmap,
    chunk,
    encoded,
    heic,
    jpeg_2000,
    photo,
    png,
    progressive_jpeg,
    tiff_of,
    with_segment,
)

BUSY_S = 6.0
"""CPU seconds that no file of these tests may take: a bomb takes minutes. Alone, each takes less than one."""


def quickly(data: bytes) -> np.ndarray | str:
    """The pixels of a file or the reason against it, in a moment."""
    begun = time.process_time()
    try:
        return decode(data)
    except ImageError as error:
        return str(error)
    finally:
        assert time.process_time() - begun < BUSY_S


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF", "JPEG2000", "AVIF", "HEIC"])
def test_too_many_pixels_are_refused(kind, monkeypatch):
    """Breaks when a few kilobytes can claim gigabytes of pixels and take the worker down."""
    data = heic(photo()) if kind == "HEIC" else encoded(photo(), kind)
    monkeypatch.setattr(budget, "MAX_PIXELS", 1000)
    for lenient in (False, True):
        with pytest.raises(ImageError, match=r"^too large: 8[34]x6[14] pixels, the limit is 1000$"):
            decode(data, lenient=lenient)


def test_a_frame_larger_than_its_screen_is_refused():
    """Breaks when only the size that a GIF file names first is looked at."""
    data = encoded(photo(), "GIF", interlace=0)
    at = data.index(b",\0\0\0\0\x53\0\x3d\0") + 5
    with pytest.raises(ImageError, match="^too large: "):
        decode(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])


def test_files_too_large_are_refused(monkeypatch):
    """Breaks when gigabytes are handed to a codec."""
    monkeypatch.setattr(formats, "MAX_BYTES", 1000)
    with pytest.raises(ImageError, match="^too large: a file of"):
        decode(encoded(photo(), "BMP"))


def test_scans_are_counted_before_they_are_decoded():
    """Breaks when half a megabyte of progressive JPEG keeps a worker busy for half a minute."""
    reason = quickly(progressive_jpeg(9400, 106))
    assert isinstance(reason, str)
    assert reason.startswith("too slow to decode: some ")
    assert "in 107 scans" in reason
    thumbnail = with_segment(encoded(photo(), "JPEG", progressive=True), 0xE1, b"Exif\0\0" + b"\xff\xda" * 9000)
    assert isinstance(quickly(thumbnail), np.ndarray)
    assert isinstance(quickly(encoded(photo(900, 1200), "JPEG", progressive=True)), np.ndarray)


def jpeg_of_segments() -> bytes:
    return b"\xff\xd8" + b"\xff\xfe\x00\x02" * 3_000_000


def gif_of_comments() -> bytes:
    data = encoded(photo(), "GIF")
    return data[:781] + b"!\xfe" + (b"\xff" + b"a" * 255) * 100_000 + b"\0" + data[781:]


def png_of_chunks(kind: bytes, contents: bytes, count: int) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in photo())
    return png(83, 61, 8, 2, rows, *([chunk(kind, contents)] * count))


def tiff_of_shared_strips() -> bytes:
    """Ten thousand rows, each of the same two hundred kilobytes of deflated nothing."""
    rows, nothing = 10_000, b"\x78\x01" + b"\0\0\0\xff\xff" * 40_000
    picture = np.zeros((rows, 100), np.uint8)
    places, lengths = (4, (0,) * rows), (4, (len(nothing),) * rows)
    data = tiff_of(picture, t273=places, t279=lengths, t278=(4, (1,)), t259=(3, (8,)))
    return data[: -picture.size] + nothing


BOMBS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "JPEG of segments": (jpeg_of_segments, "damaged: more than 20000 segments"),
    "JPEG of a profile of 60 MB": (lambda: with_many(encoded(photo(), "JPEG"), b"ICC_PROFILE\0\1\1", 900), None),
    "PNG of deflated texts": (lambda: png_of_chunks(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24)), 9), None),
    "PNG of a deflated profile": (lambda: png_of_chunks(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26)), 1), None),
    "PNG of chunks": (lambda: png_of_chunks(b"tEXt", b"a\0b", 300_000), "damaged: more than 200000 chunks"),
    "PNG of EXIF": (lambda: png_of_chunks(b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + bytes(2**20), 1), None),
    "GIF of comments": (gif_of_comments, None),
    "GIF of frames": (lambda: animated("GIF", 2000), None),
    "WebP of frames": (lambda: animated("WEBP", 500), None),
    "TIFF of shared strips": (tiff_of_shared_strips, "its strips or tiles lie on top of each other"),
    "TIFF of a huge tile": (
        lambda: tiff_of(photo(), t322=(4, (60_000,)), t323=(4, (60_000,)), t324=(4, (0,)), t325=(4, (9,))),
        "too large: 1 strips or tiles of 3600000000 pixels",
    ),
    "TIFF of strips": (lambda: tiff_of(photo(300_000, 1), t278=(4, (1,))), "too large: 300000 strips or tiles"),
    "TIFF of tags": (lambda: tiff_of(photo(), t258=(3, (8,) * 300_000)), "a tag of 300000 values"),
    "run lengths of one": (lambda: bitmap(4000, 4000, 1, b"\1\5" * 16_000_000), "too slow to decode: "),
    "run lengths that jump": (lambda: bitmap(8_000_000, 1, 1, b"\0\2\0\xff" * 100), None),
    "PPM as text": (lambda: b"P3\n3000 3000\n255\n" + b"1 " * 27_000_000, "too slow to decode: "),
    "PPM of comments": (lambda: b"P3\n100 100\n255\n" + b"#\n" * 400_000, "more than 1000 comments"),
    "JPEG 2000 of layers": (lambda: jpeg_2000(4000, 65535, 0x55), "too slow to decode: some"),
    "JPEG 2000 of precincts": (lambda: jpeg_2000(4000, 1, 0), "too large: "),
    "JPEG 2000 of many pixels": (lambda: jpeg_2000(8000), "too slow to decode: some"),
}


def with_many(jpeg: bytes, contents: bytes, count: int) -> bytes:
    return jpeg[:2] + with_segment(jpeg[:2], 0xE2, contents + bytes(60_000))[2:] * count + jpeg[2:]


def animated(kind: str, frames: int) -> bytes:
    more = [Image.fromarray(np.full((61, 83), each % 255, np.uint8)) for each in range(frames)]
    return encoded(photo(), kind, save_all=True, append_images=more, **({"method": 0} if kind == "WEBP" else {}))


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_or_passed_over_in_a_moment(kind):
    """Breaks when the size of what a codec must do is not that of its file: memory and hours for kilobytes."""
    make, reason = BOMBS[kind]
    data = make()
    found = quickly(data)
    assert isinstance(found, np.ndarray) if reason is None else reason in found
    begun = time.process_time()
    exif_orientation(data)
    assert time.process_time() - begun < BUSY_S / 2


def test_ordinary_sizes_pass():
    """Breaks when the budget refuses what cameras and scanners write."""
    rate = budget.Rate(pixel=50, byte=3)
    budget.check("WebP", 9459, 9459, 30_000_000, rate)
    with pytest.raises(ImageError, match=r"^too slow to decode: some 9\.0 s for 9000x20000 pixels|^too large"):
        budget.check("WebP", 9000, 20_000, 30_000_000, rate)
    with pytest.raises(ImageError, match="^no pixels: its size is 0x7$"):
        budget.check_size(0, 7)
