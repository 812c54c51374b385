"""GIF, BMP, PNM, WebP, AVIF and JPEG 2000 files, read by Pillow after a check of what makes them slow."""

import io
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.WebPImagePlugin import WebPImageFile

from stages.vision.decoding.budget import Rate, check, check_size
from stages.vision.decoding.errors import DamagedError, ImageError, damage
from stages.vision.decoding.formats import Format
from stages.vision.decoding.iso_boxes import boxes
from stages.vision.decoding.jpeg2000_markers import read_division
from stages.vision.decoding.pillow_reading import Plugin, opened, pixels

_MOST_COMMENTS = 1000
_MOST_PRECINCTS = 1_000_000
_PRECINCT, _PACKET = 1000.0, 50.0
"""Nanoseconds for each precinct and packet of JPEG 2000; a precinct takes half a kilobyte."""


class Reading(NamedTuple):
    """How a format is read. rate: decoding rate of an opened image. feature: optional feature of Pillow that is needed.

    prepare: refuses a file before it is opened, or returns the nanoseconds until its first pixel.
    """

    plugin: Plugin
    rate: Callable[[ImageFile], Rate]
    prepare: Callable[[bytes], float] = lambda data: 0.0
    feature: str | None = None


def decode(form: Format, data: bytes, lenient: bool) -> np.ndarray:
    """The pixels of the first frame: ``(height, width, 3)`` uint8. Raises ImageError."""
    reading = _READINGS[form]
    if reading.feature is not None and not features.check(reading.feature):
        raise ImageError(f"{form} image: the installed Pillow does not read it")
    try:
        before = reading.prepare(data)
    except ImageError:
        raise
    except (struct.error, ValueError, IndexError) as error:
        raise damage(error) from error
    image = opened(reading.plugin, data)
    check(form, *image.size, len(data), reading.rate(image), before)
    return pixels(image, lenient)


def _decoder(image: ImageFile) -> str:
    """The name of the decoder that Pillow chose for an opened image."""
    return image.tile[0][0] if image.tile else ""


def _rate_of_bmp(image: ImageFile) -> Rate:
    """The rate of a BMP file; Pillow unpacks run lengths in Python."""
    return Rate(pixel=150, byte=400) if _decoder(image) == "bmp_rle" else Rate(pixel=15, byte=2)


def _rate_of_pnm(image: ImageFile) -> Rate:
    """The rate of a PNM file; Pillow reads numbers in text, and maxima other than 255 and 65535, in Python."""
    rates = {"ppm_plain": Rate(pixel=50, byte=250), "ppm": Rate(pixel=200, byte=400)}
    return rates.get(_decoder(image), Rate(pixel=15, byte=2))


def _prepare_pnm(data: bytes) -> float:
    """Refuse many comments among numbers in text: each comment makes Pillow copy a megabyte."""
    if data[:2] in (b"P1", b"P2", b"P3") and data.count(b"#") > _MOST_COMMENTS:
        raise ImageError(f"more than {_MOST_COMMENTS} comments")
    return 0.0


def _prepare_webp(data: bytes) -> float:
    """Check the canvas, which is allocated on opening; without the extended header it is never too large."""
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise DamagedError("truncated: it is shorter than it says")
    if data[12:16] == b"VP8X":
        check_size(*(1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27)))
    return 0.0


def _prepare_avif(data: bytes) -> float:
    """Report where a file is truncated; Pillow only reports that parsing failed."""
    for _ in boxes(data):
        pass
    return 0.0


def _prepare_jpeg_2000(data: bytes) -> float:
    precincts, packets = read_division(data)
    if precincts > _MOST_PRECINCTS:
        raise ImageError(f"too large: {precincts} precincts")
    return precincts * _PRECINCT + packets * _PACKET


def _open_avif(file: io.BytesIO) -> ImageFile:
    """Open an AVIF file; Pillow has the module since 11.3."""
    from PIL.AvifImagePlugin import AvifImageFile

    return AvifImageFile(file)


def _always(pixel: float, byte: float) -> Callable[[ImageFile], Rate]:
    return lambda image: Rate(pixel, byte)


_READINGS: Mapping[Format, Reading] = {
    "GIF": Reading(GifImageFile, _always(20, 10)),
    "BMP": Reading(BmpImageFile, _rate_of_bmp),
    "PNM": Reading(PpmImageFile, _rate_of_pnm, _prepare_pnm),
    "WebP": Reading(WebPImageFile, _always(50, 3), _prepare_webp, "webp"),
    "AVIF": Reading(_open_avif, _always(20, 70), _prepare_avif, "avif"),
    "JPEG 2000": Reading(Jpeg2KImageFile, _always(150, 130), _prepare_jpeg_2000, "jpg_2000"),
}
