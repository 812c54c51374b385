"""TIFF files: the first page, by Pillow and libtiff.

Pillow gets the file with a directory of the pixel tags only, and without further pages: it has no EXIF or color
profile to read, and no orientation to apply.
"""

import struct
from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from stages.vision.decoding.budget import MAX_PIXELS, check_size, check_time
from stages.vision.decoding.errors import DamagedError, ImageError, damage
from stages.vision.decoding.pillow_reading import opened, pixels
from stages.vision.decoding.tiff_directory import MOST_VALUES, Directory


class Tag(IntEnum):
    """The tags of a page that matter here."""

    KIND = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    PLANES = 284
    FAX_3_OPTIONS = 292
    FAX_4_OPTIONS = 293
    PREDICTOR = 317
    PALETTE = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SUB_DIRECTORIES = 330
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    YCBCR_POSITIONING = 531
    YCBCR_REFERENCE = 532
    DNG_VERSION = 50706


_NEEDED = frozenset(Tag) - {Tag.KIND, Tag.SUB_DIRECTORIES, Tag.DNG_VERSION}
"""The tags that Pillow gets: where the pixels are and what they mean."""

_JPEG, _SIGNED = 7, 2
_NANOSECONDS: Mapping[int, float] = {
    1: 2,  # none
    2: 150,  # fax
    3: 150,
    4: 150,
    5: 8,  # LZW
    7: 10,  # JPEG
    8: 8,  # deflate
    32773: 4,  # PackBits
    32946: 8,  # deflate
    34925: 30,  # LZMA
    50000: 4,  # Zstandard
    50001: 20,  # WebP
}
"""Compression -> nanoseconds for each unpacked byte."""
_PIXEL, _BYTE, _SCAN, _PIECE = 10.0, 5.0, 2.5, 20_000.0
"""Nanoseconds for each pixel, byte of the file, pixel of each JPEG scan, strip or tile."""
_MOST_PIECES = 100_000
_SMALL = 2**22


def decode(data: bytes, lenient: bool) -> np.ndarray:
    """The pixels of the first page: ``(height, width, 3)`` uint8. Raises ImageError."""
    try:
        directory = Directory(data)
    except (struct.error, ValueError) as error:
        raise damage(error) from error
    _check_kind(directory)
    pieces = _check_cost(directory, data)
    found = len(directory.values(Tag.STRIP_OFFSETS) or directory.values(Tag.TILE_OFFSETS))
    if found < pieces and not lenient:
        raise DamagedError(f"truncated: {found} of {pieces} strips or tiles")
    image = opened(TiffImageFile, _bare(data, directory))
    return pixels(image, lenient, directory.value(Tag.BITS, 1), inverted=directory.value(Tag.PHOTOMETRIC) == 0)


def _check_kind(directory: Directory) -> None:
    """Refuse cameras' raw files, whose first page is a preview, and pixel values of unknown meaning."""
    preview = directory.value(Tag.KIND) & 1 and Tag.SUB_DIRECTORIES in directory.entries
    if preview or Tag.DNG_VERSION in directory.entries:
        raise ImageError("a camera's raw file (DNG or another that is built as TIFF): not supported, convert it")
    compression = directory.value(Tag.COMPRESSION, 1)
    if compression not in _NANOSECONDS:
        raise ImageError(f"TIFF compressed by method {compression}: not supported, convert it")
    bits = directory.value(Tag.BITS, 1)
    if directory.value(Tag.SAMPLE_FORMAT) == _SIGNED and bits < 32:
        raise ImageError(f"signed {bits}-bit integers: no known scale")
    for tag, entry in directory.entries.items():
        if tag in _NEEDED and entry.number > MOST_VALUES:
            raise ImageError(f"a tag of {entry.number} values")


def _check_cost(directory: Directory, data: bytes) -> int:
    """Refuse images with too large or too slow strips or tiles; returns the number of strips or tiles."""
    width, height = directory.value(Tag.WIDTH), directory.value(Tag.HEIGHT)
    check_size(width, height)
    pieces, area = _pieces(directory, width, height)
    if pieces > _MOST_PIECES or area > MAX_PIXELS or pieces * area > 4 * max(width * height, _SMALL):
        raise ImageError(f"too large: {pieces} strips or tiles of {area} pixels")
    offsets = directory.values(Tag.STRIP_OFFSETS) or directory.values(Tag.TILE_OFFSETS)
    counts = directory.values(Tag.STRIP_BYTES) or directory.values(Tag.TILE_BYTES)
    if sum(min(count, max(0, len(data) - at)) for at, count in zip(offsets, counts, strict=False)) > 2 * len(data):
        raise ImageError("its strips or tiles lie on top of each other")
    compression = directory.value(Tag.COMPRESSION, 1)
    apart = directory.value(Tag.PLANES, 1) > 1
    samples = 1 if apart else directory.value(Tag.SAMPLES, 3 if compression == _JPEG else 1)
    unpacked = pieces * area * samples * directory.value(Tag.BITS, 1) / 8
    scans = data.count(b"\xff\xda") if compression == _JPEG else 0
    nanoseconds = width * height * _PIXEL + len(data) * _BYTE + pieces * _PIECE
    nanoseconds += unpacked * _NANOSECONDS[compression] + scans * area * _SCAN
    check_time(nanoseconds / 1e9, f"{width}x{height} pixels of TIFF in {pieces} parts, {len(data) / 1e6:.1f} MB")
    return pieces


def _pieces(directory: Directory, width: int, height: int) -> tuple[int, int]:
    """How many strips or tiles there are, and the pixels of each."""
    across, down = directory.value(Tag.TILE_WIDTH), directory.value(Tag.TILE_HEIGHT)
    if not (across and down):
        across, down = width, min(directory.value(Tag.ROWS_PER_STRIP, height) or height, height)
    planes = directory.value(Tag.SAMPLES, 1) if directory.value(Tag.PLANES, 1) > 1 else 1
    return -(-width // across) * -(-height // down) * planes, across * down


def _bare(data: bytes, directory: Directory) -> bytes:
    """The file with its directory replaced by one of the needed tags, without a next directory."""
    layout = directory.layout
    size = layout.entry.size + layout.offset.size
    kept = [data[entry.at : entry.at + size] for entry in directory.entries.values() if entry.tag in _NEEDED]
    written = layout.count.pack(len(kept)) + b"".join(kept) + layout.offset.pack(0)
    return data[: directory.start] + written + data[directory.start + len(written) :]
