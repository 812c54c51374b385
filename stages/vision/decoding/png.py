"""PNG files: Pillow gets only the chunks that hold pixels, so that no other chunk can cause harm.

Of an animated PNG the default image is decoded, which viewers without animation show.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from stages.vision.decoding.budget import check_size, check_time
from stages.vision.decoding.errors import DamagedError, damage
from stages.vision.decoding.pillow_reading import opened, pixels
from stages.vision.decoding.png_chunks import SIGNATURE, Chunk, chunks

_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
"""tRNS is left out, because alpha is dropped."""
_HEADER = struct.Struct(">IIBB")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIXEL, _RAW_BYTE, _BYTE = 10.0, 9.0, 5.0
"""Nanoseconds for each pixel, each byte of the filtered image, each byte of the file."""


def decode(data: bytes, lenient: bool) -> np.ndarray:
    """The pixels: ``(height, width, 3)`` uint8. Raises ImageError."""
    if not data.startswith(SIGNATURE):
        raise DamagedError("damaged: its first bytes were changed, as by a transfer in text mode")
    try:
        found = list(chunks(data))
    except ValueError as error:
        raise damage(error) from error
    _check(data, found)
    if not lenient:
        _check_whole(data, found)
    return pixels(opened(PngImageFile, b"".join(_needed(data, found))), lenient)


def _check(data: bytes, found: list[Chunk]) -> None:
    """Refuse an image that is too large or too slow. Raises ImageError."""
    if not found or found[0].end > len(data):
        raise DamagedError("truncated: it ends inside of its header")
    if found[0].type != b"IHDR" or found[0].end - found[0].start < _HEADER.size:
        raise DamagedError("damaged: it has no header")
    width, height, depth, colours = _HEADER.unpack_from(data, found[0].start)
    check_size(width, height)
    raw = height * (1 + width * depth * _CHANNELS.get(colours, 4) // 8)
    seconds = (width * height * _PIXEL + raw * _RAW_BYTE + len(data) * _BYTE) / 1e9
    check_time(seconds, f"{width}x{height} pixels of PNG of {depth} bits in {len(data) / 1e6:.1f} MB")


def _check_whole(data: bytes, found: list[Chunk]) -> None:
    """Verify the checksum of every chunk; Pillow does not verify those of the image data. Raises DamagedError."""
    view = memoryview(data)
    for chunk in found:
        name = chunk.type.decode("latin-1")
        if chunk.end + 4 > len(data):
            raise DamagedError(f"truncated: it ends inside of its chunk {name!r}")
        if zlib.crc32(view[chunk.start - 4 : chunk.end]) != int.from_bytes(view[chunk.end : chunk.end + 4]):
            raise DamagedError(f"damaged: the checksum of its chunk {name!r} does not match")
    if found[-1].type != b"IEND":
        raise DamagedError("truncated: it ends before its chunk 'IEND'")


def _needed(data: bytes, found: list[Chunk]) -> Iterator[bytes]:
    yield SIGNATURE
    for chunk in found:
        if chunk.type in _NEEDED:
            yield data[chunk.start - 8 : chunk.end + 4]
