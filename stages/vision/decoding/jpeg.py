"""JPEG files, by simplejpeg (libjpeg-turbo), or by Pillow for CMYK and without simplejpeg; both give equal pixels.

simplejpeg reports whether libjpeg had to guess. Pillow does not: without simplejpeg damaged image data may pass.
"""

import struct
from collections.abc import Iterator

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from stages.vision.decoding.budget import check_size, check_time
from stages.vision.decoding.errors import ImageError, damage
from stages.vision.decoding.jpeg_markers import Frame, header_segments, read_frame
from stages.vision.decoding.pillow_reading import opened, pixels

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

_PIXEL, _BYTE, _SCAN = 12.0, 20.0, 2.5
"""Nanoseconds for each pixel, each byte of the file, and each pixel of each scan after the first."""
_PLAIN = frozenset({"YCbCr", "Gray", "RGB"})
_BAD_PROFILE = "bad ICC marker"
"""libjpeg's message for an incomplete color profile: damage, but not to the image."""
_UNUSUAL = "Could not determine"
"""simplejpeg's message for subsampling that it has no name for (KeyError for 4:4:1); libjpeg and Pillow read it."""
_END = b"\xff\xd9"
_APP0, _ADOBE, _APP15, _COMMENT = 0xE0, 0xEE, 0xEF, 0xFE


def decode(data: bytes, lenient: bool) -> np.ndarray:
    """The pixels: ``(height, width, 3)`` uint8. Raises ImageError."""
    _check(_frame(data), len(data))
    found = None if simplejpeg is None else _by_simplejpeg(data, lenient)
    return _by_pillow(data, lenient) if found is None else found


def _by_simplejpeg(data: bytes, lenient: bool) -> np.ndarray | None:
    """The pixels; None if Pillow has to decode the file instead. Raises DamagedError."""
    try:
        return _decoded(data, strict=not lenient)
    except MemoryError:
        raise
    except Exception as error:  # the bytes are in memory: whatever a codec raises is about their content
        if _BAD_PROFILE in str(error) and len(bare := b"".join(_needed(data))) < len(data):
            return _by_simplejpeg(bare, lenient)
        nameless = isinstance(error, KeyError) or _UNUSUAL in str(error)
        if not (lenient or nameless):
            raise damage(error) from error
        return None


def _decoded(data: bytes, strict: bool) -> np.ndarray | None:
    """The pixels; None for CMYK and YCCK. Raises if simplejpeg cannot read the file, or if libjpeg guesses (strict)."""
    colours = simplejpeg.decode_jpeg_header(data, strict=strict)[2]
    if colours in _PLAIN:
        return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=strict)
    if strict:
        simplejpeg.decode_jpeg(data, colorspace="CMYK", strict=True)  # only to see whether it raises
    return None


def _frame(data: bytes) -> Frame:
    try:
        return read_frame(data)
    except (struct.error, ValueError, IndexError) as error:
        raise damage(error) from error


def _check(frame: Frame, length: int) -> None:
    """Refuse images that no decoder reads, or that are too large or too slow."""
    if frame.precision != 8 or frame.components == 2:
        raise ImageError(f"JPEG of {frame.components} components of {frame.precision} bits: not supported, convert it")
    check_size(frame.width, frame.height)
    area = frame.width * frame.height
    passes = 2 if frame.components > 3 else 1
    seconds = passes * (area * (_PIXEL + _SCAN * (frame.scans - 1)) + length * _BYTE) / 1e9
    check_time(seconds, f"{frame.width}x{frame.height} pixels of JPEG in {frame.scans} scans, {length / 1e6:.1f} MB")


def _by_pillow(data: bytes, lenient: bool) -> np.ndarray:
    """Decode by Pillow; if lenient, an end marker is appended, without which libjpeg waits for more data."""
    return pixels(opened(JpegImageFile, b"".join(_needed(data)) + _END * lenient), lenient)


def _needed(data: bytes) -> Iterator[bytes]:
    """The parts of a file that its pixels need: without EXIF, color profiles, previews and comments."""
    yield data[:2]
    rest = 2
    for marker, start, rest in header_segments(data):
        if marker == _ADOBE or not (_APP0 < marker <= _APP15 or marker == _COMMENT):
            yield data[start - 4 : rest]
    yield data[rest:]
