"""Converts Pillow's images to RGB, by the rules in `stages.vision.images.decode`."""

import numpy as np
from PIL import Image

from stages.vision.decoding.errors import ImageError

_SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_UNKNOWN_COLOURS = frozenset({"LAB", "HSV"})


def to_rgb(image: Image.Image, bits: int = 16, inverted: bool = False) -> np.ndarray:
    """Convert an opened image to ``(height, width, 3)`` uint8.

    bits: of the unsigned integers in a mode wider than 8 bit. inverted: whether 0 is white in such a mode; Pillow
    handles the other modes.
    Raises: ImageError for values without a known scale.
    """
    if image.mode in _SIXTEEN_BIT or image.mode == "I":
        return _grey(_upper_byte(np.asarray(image), bits), inverted)
    if image.mode == "F":
        return _grey(_of_floats(np.asarray(image)), inverted)
    if image.mode in _UNKNOWN_COLOURS:
        raise ImageError(f"{image.mode} colours: not supported, convert it to RGB")
    plain = _PREMULTIPLIED.get(image.mode)
    return np.array((image.convert(plain) if plain else image).convert("RGB"))


def _upper_byte(values: np.ndarray, bits: int) -> np.ndarray:
    """The upper byte of integers; 32-bit values that all fit 8 or 16 bits are taken as such. bits: of the file."""
    if bits > 16:
        low, high = int(values.min()), int(values.max())
        if not 0 <= low <= high < 2**16:
            raise ImageError(f"{bits}-bit integers from {low} to {high}: no known scale")
        bits = 8 if high < 2**8 else 16
    return (values >> (bits - 8)).astype(np.uint8)


def _of_floats(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 1:  # NaN is neither
        raise ImageError(f"32-bit float values from {low:g} to {high:g}: no known scale")
    return np.rint(values * np.float32(255)).astype(np.uint8)


def _grey(values: np.ndarray, inverted: bool) -> np.ndarray:
    return np.repeat((255 - values if inverted else values)[:, :, None], 3, axis=2)
