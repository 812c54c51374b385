"""The perceptual hash of a picture, by ImageHash."""

import imagehash
import numpy as np
from PIL import Image

__all__ = ["SIDE", "phash"]

SIDE = 32
"""Side of the square to which a picture is squashed: four times that of the 8 x 8 low frequencies that are compared."""

_FEWEST = 16
"""Of 64 frequencies half are above their median. Of a plain area nearly all are equal, and few above."""


def phash(pixels: np.ndarray) -> str | None:
    """64 bits as 16 hexadecimal digits; None for a picture too plain to be told from others.

    pixels: ``(SIDE, SIDE, 3)`` uint8.
    """
    found = imagehash.phash(Image.fromarray(pixels))
    return str(found) if np.count_nonzero(found.hash) >= _FEWEST else None
