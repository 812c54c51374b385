"""The perceptual hash of a picture, by ImageHash."""

import imagehash
import numpy as np
from PIL import Image

__all__ = ["SIDE", "phash"]

SIDE = 32
"""Side in pixels of the square to which a picture is resized: four times the 8 x 8 low frequencies of the hash."""

_FEWEST = 16
"""The fewest set bits of a useful hash: of 64 frequencies half are above their median, but few in a plain picture."""


def phash(pixels: np.ndarray) -> str | None:
    """64 bits as 16 hexadecimal digits; None for a picture too plain to be told from others.

    pixels: ``(SIDE, SIDE, 3)`` uint8.
    """
    found = imagehash.phash(Image.fromarray(pixels))
    return str(found) if np.count_nonzero(found.hash) >= _FEWEST else None
