"""Limits on the cost of decoding one file, checked before any pixel is decoded.

A codec that runs in a thread cannot be stopped, so a file that would take too long is refused. The time is estimated
from pixels and bytes by the slowest rates that were measured for each codec, on one core, over smooth, textured and
random images and over files made to be slow (docs/decisions.md, 2026-11-26).
"""

from typing import NamedTuple

from stages.vision.decoding.errors import ImageError

MAX_PIXELS = 89_478_485
"""Largest image that is decoded, in pixels: Pillow's own limit, a quarter of a gibibyte of RGB."""

MAX_BYTES = 2**30
"""Largest file that is decoded: MAX_PIXELS of four 16-bit channels, uncompressed, take 0.7 gibibytes."""

MAX_SECONDS = 6.0
"""Longest estimated time of decoding: on a busy machine the real time then stays below ten seconds."""


class Rate(NamedTuple):
    """Nanoseconds a codec takes for each pixel of the image and each byte of the file."""

    pixel: float
    byte: float


def check_size(width: int, height: int) -> None:
    """Refuse an image of too many pixels, or of none. Raises ImageError."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"too large: {width}x{height} pixels, the limit is {MAX_PIXELS}")
    if width <= 0 or height <= 0:
        raise ImageError(f"no pixels: its size is {width}x{height}")


def check_time(seconds: float, because: str) -> None:
    """Refuse an image that takes too long to decode. because: the reason for the message. Raises ImageError."""
    if seconds > MAX_SECONDS:
        raise ImageError(f"too slow to decode: some {seconds:.1f} s for {because}, the limit is {MAX_SECONDS:.0f} s")


def check(name: str, width: int, height: int, length: int, rate: Rate, before: float = 0.0) -> None:
    """Refuse an image of format `name` that is too large or takes too long. Raises ImageError.

    length: bytes of the file. before: nanoseconds until the first pixel.
    """
    check_size(width, height)
    nanoseconds = before + rate.pixel * width * height + rate.byte * length
    check_time(nanoseconds / 1e9, f"{width}x{height} pixels of {name} in {length / 1e6:.1f} MB")
