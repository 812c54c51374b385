"""The orientation that an image file declares, 1 to 8 as in EXIF, found without decoding.

JPEG, PNG, WebP and TIFF have it in EXIF tag 274. HEIC and AVIF have it in the properties irot and imir; their EXIF tag
is only informative and is ignored (ISO/IEC 23008-12). Damaged or hostile data give 1.
"""

import struct
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from stages.vision.decoding.formats import Format
from stages.vision.decoding.iso_boxes import Box, image_items
from stages.vision.decoding.jpeg_markers import header_segments
from stages.vision.decoding.png_chunks import chunks
from stages.vision.decoding.tiff_directory import Directory
from stages.vision.decoding.turning import orientation_of

_TAG = 274
_EXIF = b"Exif\0\0"
_SMALL = 2**13
"""In a JPEG file of fewer bytes, a search for EXIF is faster than a walk from marker to marker."""
_MOST_CHUNKS = 10_000


def orientation(form: Format, data: bytes) -> int:
    """The orientation that a file declares; 1 if it declares none, or an invalid one."""
    find = _FINDERS.get(form)
    if find is None:
        return 1
    try:
        found = find(data)
    except (struct.error, ValueError, IndexError):
        return 1
    return found if 1 <= found <= 8 else 1


def _of_tags(data: bytes) -> int:
    return Directory(data).value(_TAG, 1)


def _of_jpeg(data: bytes) -> int:
    if len(data) < _SMALL and _EXIF not in data:
        return 1
    for marker, start, end in header_segments(data):
        if marker == 0xE1 and data.startswith(_EXIF, start):
            return _of_tags(data[start + len(_EXIF) : end])
    return 1


def _of_png(data: bytes) -> int:
    for chunk in chunks(data):
        if chunk.type == b"eXIf":
            return _of_tags(data[chunk.start : chunk.end].removeprefix(_EXIF))
    return 1


def _of_webp(data: bytes) -> int:
    has_exif = data[12:16] == b"VP8X" and data[20] & 8
    for kind, start, end in _riff_chunks(data) if has_exif else ():
        if kind == b"EXIF":
            return _of_tags(data[start:end].removeprefix(_EXIF))
    return 1


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, at + 8 + length
        at += 8 + length + length % 2


def _of_items(data: bytes) -> int:
    items = image_items(data)
    return orientation_of(lambda image: _shown(image, data, items.properties.get(items.primary, [])))


def _shown(image: np.ndarray, data: bytes, properties: list[Box]) -> np.ndarray:
    """An image after its rotations (irot, counterclockwise) and mirrorings (imir), in the order of the properties."""
    for box in properties:
        if box.type == b"irot":
            image = np.rot90(image, data[box.start] & 3)
        elif box.type == b"imir":
            image = image[:, ::-1] if data[box.start] & 1 else image[::-1]
    return image


_FINDERS: Mapping[Format, Callable[[bytes], int]] = {
    "JPEG": _of_jpeg,
    "PNG": _of_png,
    "WebP": _of_webp,
    "TIFF": _of_tags,
    "HEIC": _of_items,
    "AVIF": _of_items,
}
