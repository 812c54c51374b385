"""What is decoded, by its own decoder alone, and what is said of the rest."""

import sys

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, features

from stages.vision.decoding.formats import recognised
from stages.vision.images import ImageError, decode
from tests.stages.vision.decoding.made_files import encoded, heic, photo, tiff_of

FILES = {
    "JPEG": encoded(photo(), "JPEG"),
    "PNG": encoded(photo(), "PNG"),
    "WebP": encoded(photo(), "WEBP"),
    "GIF": encoded(photo(), "GIF"),
    "BMP": encoded(photo(), "BMP"),
    "TIFF": encoded(photo(), "TIFF"),
    "PNM": encoded(photo(), "PPM"),
    "JPEG 2000": encoded(photo(), "JPEG2000"),
    "AVIF": encoded(photo(), "AVIF"),
    "HEIC": heic(photo()),
}


@pytest.mark.parametrize("form", FILES)
def test_formats_are_told_by_content_and_read_by_their_own_decoder(form, monkeypatch):
    """Breaks when Pillow may look for a decoder itself: Image.open hands the bytes to all that it has."""
    monkeypatch.setattr(Image, "open", None)
    assert recognised(FILES[form]) == form
    decoded = decode(FILES[form])
    assert decoded.shape == (61, 83, 3)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - photo()).mean() < 12


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"hello world", "not an image"),
        (bytes(range(256)), "not an image"),
        (bytes(4096), "not an image: only zero bytes"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript document: not supported, convert it"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30), "PostScript document: not supported, convert it"),
        (b"%PDF-1.7\n", "PDF document: not supported, convert its pages"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL image: not supported, convert it"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL image: not supported, convert it"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG drawing: not supported, convert it"),
        (b"\xef\xbb\xbf  <svg/>", "SVG drawing: not supported, convert it"),
        (b"8BPS\0\1", r"Photoshop (PSD) image: not supported, convert it"),
        (b"\0\0\1\0\1\0", r"Windows icon (ICO) image: not supported, convert it"),
        (b"II*\0\x10\0\0\0CR\2\0", r"CR2 (a camera's raw file): not supported, convert it"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", r"CR3 (a camera's raw file): not supported, convert it"),
        (tiff_of(photo(), t50706=(1, (1, 4, 0, 0))), r"a camera's raw file (DNG or another"),
        (tiff_of(photo(), t254=(4, (1,)), t330=(4, (8,))), r"a camera's raw file (DNG or another"),
        (tiff_of(photo(), t259=(3, (6,))), "TIFF compressed by method 6: not supported, convert it"),
        (bytes(128) + b"DICM", "DICOM image: not supported, convert it"),
        (b"\0\0\0\x18ftypisom\0\0\0\1isommp42", "not an image: a video"),
        (b"RIFF\0\0\0\0AVI ", "not an image: a video"),
        (b"<!DOCTYPE html>\n<title>404", "not an image: an HTML page"),
        (b"PK\3\4", "not an image: a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an image: a Git LFS pointer, its file was not fetched"),
        (b"BMW is no bitmap, but long enough for one", "not an image"),
        (b"P1 is no bitmap", "cannot|damaged|truncated"),
    ],
)
def test_what_is_not_decoded_is_named(data, words):
    """Breaks when a user is told "not an image" of a file that opens in a viewer, or a raw file's preview counts."""
    with pytest.raises(ImageError) as refused:
        decode(data)
    assert any(word in str(refused.value) for word in words.split("|"))
    if words == "not an image":
        assert str(refused.value) == words


def test_postscript_starts_no_program(monkeypatch):
    """Breaks when a file whose name ends in .jpg can run a program of its own choosing."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it started Ghostscript"))
    for lenient in (False, True):
        with pytest.raises(ImageError, match="PostScript"):
            decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n{ } loop\n%%EOF\n", lenient=lenient)


def test_missing_decoders_are_named(monkeypatch):
    """Breaks when the reason does not say what to install."""
    monkeypatch.setattr(features, "check", lambda feature: False)
    for form in ("AVIF", "JPEG 2000", "WebP"):
        with pytest.raises(ImageError, match=f"^{form} image: the installed Pillow does not read it$"):
            decode(FILES[form])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"^HEIC image: install the package pillow-heif \(extra heif\)$"):
        decode(FILES["HEIC"])


def test_pillow_learns_nothing():
    """Breaks when HEIC becomes a format of Pillow for the whole process, with decoders that nobody chose."""
    decode(FILES["HEIC"])
    assert "HEIF" not in Image.OPEN


def test_unusual_heic_is_refused():
    """Breaks when libheif may compose images of images without end."""
    with pytest.raises(ImageError, match="HEIC image of a kind that is not supported: 'iovl'"):
        decode(FILES["HEIC"].replace(b"hvc1\0", b"iovl\0", 1))
    with pytest.raises(ImageError, match="^(damaged|truncated): HEIC image: "):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
