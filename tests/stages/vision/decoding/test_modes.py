"""The stated rule for pixels that are not 8-bit RGB, against numpy."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from stages.vision.decoding import jpeg
from stages.vision.images import ImageError, decode
from tests.stages.vision.decoding.made_files import (
    by_pillow,
    chunk,
    encoded,
    grey16,
    photo,
    png,
    png_of,
    progressive_jpeg,
    tiff_of,
)

GREY = photo()[:, :, 0]


def in_three_channels(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def pgm(values: np.ndarray, maximum: int) -> bytes:
    return b"P5\n%d %d\n%d\n" % (*values.shape[::-1], maximum) + values.astype(">u2").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        png_of(grey16()),
        tiff_of(grey16()),
        tiff_of(grey16(), ">"),
        tiff_of(grey16(), big=True),
        pgm(grey16(), 65535),
        encoded(Image.fromarray(grey16()), "JPEG2000"),
        encoded(Image.fromarray(grey16()), "TIFF", compression="tiff_adobe_deflate"),
    ],
    ids=["PNG", "TIFF", "big-endian TIFF", "BigTIFF", "PGM", "JPEG 2000", "deflated TIFF"],
)
def test_sixteen_bit_grey_keeps_its_upper_byte(data):
    """Breaks when Pillow's own conversion clips at 255: the image is white."""
    np.testing.assert_array_equal(decode(data), in_three_channels((grey16() >> 8).astype(np.uint8)))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_channels_keep_their_upper_byte(channels):
    """Breaks when 16-bit colours are clipped, or alpha is blended in."""
    picture = np.stack([np.roll(grey16(), 9 * each) for each in range(channels)], axis=2)
    upper = (picture >> 8).astype(np.uint8)
    expected = in_three_channels(upper[:, :, 0]) if channels == 2 else upper[:, :, :3]
    np.testing.assert_array_equal(decode(png_of(picture)), expected)
    if channels > 2:
        np.testing.assert_array_equal(decode(tiff_of(picture)), expected)


def test_white_is_zero_where_a_file_says_so():
    """Breaks when 16-bit and float TIFF come out as negatives; of 8 bits Pillow knows."""
    inverted = (3, (0,))
    expected = in_three_channels(255 - (grey16() >> 8).astype(np.uint8))
    np.testing.assert_array_equal(decode(tiff_of(grey16(), t262=inverted)), expected)
    np.testing.assert_array_equal(decode(tiff_of(GREY, t262=inverted)), in_three_channels(255 - GREY))
    floats = (GREY / 255).astype(np.float32)
    np.testing.assert_array_equal(decode(tiff_of(floats, t262=inverted)), in_three_channels(255 - GREY))


def test_twelve_bits_are_scaled():
    """Breaks when 12-bit values count as 16-bit ones: the image is nearly black."""
    values = grey16(60, 80) >> 4
    pairs = values.reshape(-1, 2).astype(np.uint32)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    body = packed.astype(np.uint8).reshape(60, 120)
    data = tiff_of(body, t256=(4, (80,)), t258=(3, (12,)))
    np.testing.assert_array_equal(decode(data), in_three_channels((values >> 4).astype(np.uint8)))


def test_floats_in_the_unit_interval_are_scaled():
    """Breaks when a float image is black, or its rounding is not that of 8-bit values divided by 255."""
    floats = (GREY / 255).astype(np.float32)
    for data in (tiff_of(floats), tiff_of(floats, ">"), encoded(Image.fromarray(floats), "PPM")):
        np.testing.assert_array_equal(decode(data), in_three_channels(GREY))


@pytest.mark.parametrize("kind", [np.int32, np.uint32])
def test_narrow_values_in_wide_integers(kind):
    """Breaks when 16-bit values that Pillow's mode I or numpy put into 32 bits come out white, or 8-bit ones black."""
    np.testing.assert_array_equal(decode(tiff_of(GREY.astype(kind))), in_three_channels(GREY))
    np.testing.assert_array_equal(decode(tiff_of(GREY.astype(kind) * 257)), in_three_channels(GREY))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[-3.25, 900], [0, 1]], dtype=np.float32), "32-bit float values from -3.25 to 900: no known scale"),
        (np.array([[0, 255], [0, 1]], dtype=np.float32), "32-bit float values from 0 to 255: no known scale"),
        (np.array([[0, np.nan], [0, 1]], dtype=np.float32), "32-bit float values from nan to nan: no known scale"),
        (np.array([[0, np.inf], [0, 1]], dtype=np.float32), "32-bit float values from 0 to inf: no known scale"),
        (np.array([[0, 65536]], dtype=np.int32), "32-bit integers from 0 to 65536: no known scale"),
        (np.array([[-1, 255]], dtype=np.int32), "32-bit integers from -1 to 255: no known scale"),
        (np.array([[7, 2**20]], dtype=np.uint32), "32-bit integers from 7 to 1048576: no known scale"),
        (np.array([[0, 200]], dtype=np.int16), "signed 16-bit integers: no known scale"),
        (np.array([[0, 100]], dtype=np.int8), "signed 8-bit integers: no known scale"),
    ],
)
def test_values_without_a_scale_are_refused(values, words):
    """Breaks when they are clipped to white and black and pass for an image."""
    for lenient in (False, True):
        with pytest.raises(ImageError) as refused:
            decode(tiff_of(values), lenient=lenient)
        assert str(refused.value) == words


def test_alpha_is_dropped():
    """Breaks when transparent pixels become black or white, so that a PNG differs from the JPEG that it was made of."""
    alpha = np.roll(GREY, 5)
    picture = np.dstack([photo(), alpha])
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        np.testing.assert_array_equal(decode(encoded(picture, kind, **options)), photo(), err_msg=kind)
    np.testing.assert_array_equal(decode(png_of(np.dstack([GREY, alpha]))), in_three_channels(GREY))


def test_palettes():
    """Breaks when indices count as greys, or transparent entries of a palette lose their colours."""
    paletted = Image.fromarray(photo()).quantize(64)
    expected = np.array(paletted.convert("RGB"))
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode(encoded(paletted, kind)), expected, err_msg=kind)
    for transparency in (3, bytes(range(0, 256, 4))):
        np.testing.assert_array_equal(decode(encoded(paletted, "PNG", transparency=transparency)), expected)
    np.testing.assert_array_equal(decode(encoded(paletted, "GIF", transparency=7)), expected)


def test_one_bit():
    """Breaks when 1 is nearly black instead of white."""
    bits = Image.fromarray(GREY).convert("1")
    expected = in_three_channels(np.array(bits).astype(np.uint8) * 255)
    for kind, options in (("PNG", {}), ("BMP", {}), ("PPM", {}), ("TIFF", {}), ("TIFF", {"compression": "group4"})):
        np.testing.assert_array_equal(decode(encoded(bits, kind, **options)), expected, err_msg=f"{kind} {options}")


def test_cmyk_is_ink_on_white():
    """Breaks when inks are taken for light, or the inversion of Adobe's JPEG files is undone twice or never."""
    inks = np.dstack([photo(seed=2), np.roll(GREY, 3) // 2])
    cyan_magenta_yellow, black = inks[:, :, :3].astype(float), inks[:, :, 3:].astype(float)
    expected = (255 - cyan_magenta_yellow) * (255 - black) / 255
    flat = decode(encoded(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert np.abs(flat - expected).max() <= 1
    photographed = decode(encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0))
    assert np.abs(photographed - expected).mean() < 2


def cmyk_jpeg(transform: int) -> bytes:
    """A four-component JPEG whose Adobe segment says CMYK (0) or YCCK (2)."""
    data = encoded(Image.fromarray(np.dstack([photo(), GREY]), "CMYK"), "JPEG", quality=95)
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1 :]


JPEGS = {
    "grey": encoded(GREY, "JPEG"),
    "colour": encoded(photo(), "JPEG"),
    "progressive": encoded(photo(), "JPEG", progressive=True),
    "RGB": encoded(photo(), "JPEG", keep_rgb=True),
    "CMYK": cmyk_jpeg(0),
    "YCCK": cmyk_jpeg(2),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_fast_and_reference_path_agree_on_every_kind_of_jpeg(kind, monkeypatch):
    """Breaks when an image's pixels depend on whether simplejpeg is installed."""
    fast = decode(JPEGS[kind])
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    np.testing.assert_array_equal(decode(JPEGS[kind]), fast)
    np.testing.assert_array_equal(fast, by_pillow(JPEGS[kind]))


@pytest.mark.parametrize("sampling", [0x31, 0x13, 0x32, 0x14])
def test_subsampling_without_a_name(sampling):
    """Breaks when a good JPEG is refused because simplejpeg has no word for its subsampling."""
    data = progressive_jpeg(100, 0, sampling)
    np.testing.assert_array_equal(decode(data), np.full((100, 100, 3), 128, np.uint8))
    np.testing.assert_array_equal(decode(data, lenient=True), decode(data))


def test_unknown_colours_are_refused():
    """Breaks when Lab values are shown as red, green and blue."""
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(photo()), to_lab)
    assert lab is not None
    with pytest.raises(ImageError, match="^LAB colours: not supported, convert it to RGB$"):
        decode(encoded(lab, "TIFF"))


def test_pnm_is_scaled_by_its_maximum():
    """Breaks when a maximum other than 255 or 65535 is not heeded, as for 10-bit cameras."""
    values = grey16() >> 6
    np.testing.assert_allclose(decode(pgm(values, 1023))[:, :, 0], values / 1023 * 255, atol=1)
    small = b"P6 # a comment\n2 1\n100\n" + bytes([0, 50, 100, 25, 75, 100])
    np.testing.assert_array_equal(decode(small), [[[0, 128, 255], [64, 191, 255]]])
    np.testing.assert_array_equal(decode(b"P3 2 1 4\n0 1 2\n3 4 4\n"), [[[0, 64, 128], [191, 255, 255]]])
    np.testing.assert_array_equal(decode(b"P2 # text\n2 1 255 7 250 "), [[[7] * 3, [250] * 3]])
    np.testing.assert_array_equal(decode(b"P1 2 1 0 1"), [[[255] * 3, [0] * 3]])


def test_of_several_images_the_first_counts():
    """Breaks when another frame or page is decoded, or all of them are blended."""
    more = [Image.fromarray(photo(seed=each)) for each in (1, 2)]
    for kind, options in (("GIF", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("AVIF", {})):
        several = decode(encoded(photo(), kind, save_all=True, append_images=more, **options))
        assert np.abs(several.astype(int) - photo()).mean() < 12, kind


def test_colour_profiles_and_texts_are_passed_over():
    """Breaks when a damaged profile makes a good image unreadable, or a chunk of text changes it."""
    rows = b"".join(b"\0" + row.tobytes() for row in photo())
    plain = png(83, 61, 8, 2, rows)
    odd = png(
        83, 61, 8, 2, rows, chunk(b"iCCP", b"x\0\0junk"), chunk(b"zTXt", b"a\0\0junk"), chunk(b"acTL", b"\xff" * 8)
    )
    np.testing.assert_array_equal(decode(odd), decode(plain))
    np.testing.assert_array_equal(decode(encoded(photo(), "JPEG", icc_profile=b"junk" * 99)), decode(JPEGS["colour"]))
