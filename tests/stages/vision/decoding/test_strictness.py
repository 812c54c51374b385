"""Damage is found, and leniency is asked for: for one call, not for a process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from stages.vision.decoding import jpeg
from stages.vision.images import ImageError, decode
from tests.stages.vision.decoding.made_files import by_pillow, chunk, encoded, heic, photo, png, tiff_of

PICTURE = photo(200, 300)
TEXT = b"P3\n300 200\n255\n" + b" ".join(b"%d" % value for value in PICTURE.ravel())
FILES = {
    "JPEG": encoded(PICTURE, "JPEG", quality=95),
    "progressive JPEG": encoded(PICTURE, "JPEG", progressive=True),
    "CMYK JPEG": encoded(Image.fromarray(np.dstack([PICTURE, PICTURE[:, :, 0]]), "CMYK"), "JPEG"),
    "PNG": encoded(PICTURE, "PNG"),
    "WebP": encoded(PICTURE, "WEBP"),
    "GIF": encoded(PICTURE, "GIF", interlace=0),
    "BMP": encoded(PICTURE, "BMP"),
    "PPM": encoded(PICTURE, "PPM"),
    "text PPM": TEXT,
    "TIFF": encoded(PICTURE, "TIFF"),
    "LZW TIFF": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "deflated TIFF": encoded(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
    "AVIF": encoded(PICTURE, "AVIF"),
    "JPEG 2000": encoded(PICTURE, "JPEG2000"),
    "HEIC": heic(PICTURE),
}
ROW_BY_ROW = ("JPEG", "PNG", "GIF", "BMP", "PPM", "text PPM", "TIFF")
"""Kinds whose decoders deliver the upper rows of a file that is cut short."""


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_cut_files_are_refused(kind, share):
    """Breaks when a decoder fills the rest with grey and nobody hears of it."""
    data = FILES[kind]
    with pytest.raises(ImageError, match=r"^(truncated|damaged): "):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ROW_BY_ROW)
def test_leniency_delivers_what_is_there(kind):
    """Breaks when a lenient run gets nothing, or other pixels than the whole file has where it is whole."""
    data = FILES[kind]
    whole, half = decode(data), decode(data[: int(len(data) * 0.6)], lenient=True)
    assert half.shape == whole.shape
    if kind == "BMP":  # its rows begin at the bottom
        whole, half = whole[::-1], half[::-1]
    np.testing.assert_array_equal(half[:64], whole[:64])
    assert np.abs(half[-32:].astype(int) - whole[-32:]).mean() > 10


@pytest.mark.parametrize("kind", FILES)
def test_leniency_changes_no_good_file(kind):
    """Breaks when lenient decoding takes another way for files that nothing is wrong with."""
    np.testing.assert_array_equal(decode(FILES[kind], lenient=True), decode(FILES[kind]))


@pytest.mark.parametrize("kind", ["JPEG", "progressive JPEG"])
def test_a_damaged_body_does_not_slip_through(kind):
    """Breaks when what simplejpeg refused is handed to Pillow, which says nothing and delivers stripes."""
    pytest.importorskip("simplejpeg")
    data = FILES[kind]
    half = len(data) // 2
    data = data[:half] + bytes(300) + data[half + 300 :]
    pillows = by_pillow(data)
    with pytest.raises(ImageError, match="^damaged: Corrupt JPEG data: "):
        decode(data)
    np.testing.assert_array_equal(decode(data, lenient=True), pillows)


def test_without_simplejpeg_cut_files_are_still_refused(monkeypatch):
    """Breaks when the reference path is lenient by itself, or cannot be lenient."""
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    half = FILES["JPEG"][: len(FILES["JPEG"]) // 2]
    with pytest.raises(ImageError, match="^truncated: "):
        decode(half)
    np.testing.assert_array_equal(decode(half, lenient=True)[:64], decode(FILES["JPEG"])[:64])


@pytest.mark.parametrize("kind", [b"IHDR", b"tEXt", b"IDAT", b"IEND"])
def test_png_checksums_count(kind):
    """Breaks when Pillow alone looks at them: it passes over those of the image data."""
    rows = b"".join(b"\0" + row.tobytes() for row in PICTURE)
    data = bytearray(png(300, 200, 8, 2, rows, chunk(b"tEXt", b"Title\0a picture")))
    at = data.index(kind)
    data[at + 4 + int.from_bytes(data[at - 4 : at])] ^= 1
    with pytest.raises(ImageError, match=f"^damaged: the checksum of its chunk '{kind.decode()}' does not match$"):
        decode(bytes(data))
    if kind != b"IHDR":
        np.testing.assert_array_equal(decode(bytes(data), lenient=True), PICTURE)


def test_missing_strips_are_found():
    """Breaks when a TIFF file that names fewer strips than its rows need has black rows that nobody hears of."""
    data = tiff_of(PICTURE, t257=(4, (500,)), t278=(4, (200,)))
    with pytest.raises(ImageError, match="^truncated: 1 of 3 strips or tiles$"):
        decode(data)
    np.testing.assert_array_equal(decode(data, lenient=True)[:200], PICTURE)


def test_changed_line_ends_of_png_are_told():
    """Breaks when a file that was copied as a text is no image, and nobody finds out why."""
    with pytest.raises(ImageError, match="damaged: its first bytes were changed"):
        decode(FILES["PNG"].replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("kind", FILES)
def test_a_header_alone_is_refused(kind):
    """Breaks when leniency makes a black image of a file of some bytes."""
    data = FILES[kind]
    for length in (12, 60, 150):
        with pytest.raises(ImageError, match=r"^(truncated|damaged|no pixels|HEIC image of a kind)|not an image"):
            decode(data[:length], lenient=True)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7", bytes(99)])
def test_leniency_makes_no_image_of_something_else(data):
    """Breaks when a lenient run takes in texts."""
    with pytest.raises(ImageError, match=r"^(empty file|not an image|PDF document)"):
        decode(data, lenient=True)


def test_leniency_is_no_state_of_the_process():
    """Breaks when one thread's leniency lets damaged files through in the others."""
    half = FILES["PNG"][: len(FILES["PNG"]) // 2]
    done = threading.Event()

    def strict() -> bool:
        refused = True
        while not done.is_set():
            try:
                decode(half)
                refused = False
            except ImageError:
                pass
        return refused

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(strict) for _ in range(2)]
        for _ in range(20):
            assert decode(half, lenient=True).shape == PICTURE.shape
            assert not ImageFile.LOAD_TRUNCATED_IMAGES
        done.set()
    assert all(other.result() for other in others)


@pytest.mark.parametrize("kind", FILES)
def test_flipped_bytes_never_crash(kind):
    """Breaks when damage is another exception than ImageError, or a reason is no short line."""
    data, generator = FILES[kind], np.random.default_rng(3)
    for places in generator.integers(0, len(data), (8, 3)).tolist() + generator.integers(0, 300, (8, 3)).tolist():
        damaged = bytearray(data)
        for place in places:
            damaged[place] ^= int(generator.integers(1, 256))
        for lenient in (False, True):
            try:
                assert decode(bytes(damaged), turned=True, lenient=lenient).dtype == np.uint8
            except ImageError as error:
                assert 0 < len(str(error)) < 250
                assert "\n" not in str(error)
