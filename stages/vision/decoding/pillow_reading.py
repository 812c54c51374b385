"""Reads a file with one given decoder of Pillow; no other decoder sees its bytes.

Lenient decoding does not use ImageFile.LOAD_TRUNCATED_IMAGES, which holds for all threads: Pillow keeps in the image
what was decoded before an error.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

from stages.vision.decoding.budget import check_size
from stages.vision.decoding.errors import ImageError, damage
from stages.vision.decoding.modes import to_rgb

Plugin = Callable[[io.BytesIO], ImageFile.ImageFile]


def opened(plugin: Plugin, data: bytes) -> ImageFile.ImageFile:
    """Read the header. Raises ImageError for a damaged header, and for an image that is too large."""
    try:
        image = plugin(io.BytesIO(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"too large: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # the bytes are in memory: whatever a codec raises is about their content
        raise damage(error) from error
    check_size(*image.size)
    return image


def pixels(image: ImageFile.ImageFile, lenient: bool, bits: int = 16, inverted: bool = False) -> np.ndarray:
    """Decode an opened image: ``(height, width, 3)`` uint8. bits, inverted: see `modes.to_rgb`.

    lenient: keep what was decoded before an error. Raises: ImageError.
    """
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as above
        if not lenient:
            raise damage(error) from error
        image.tile = []  # nothing more is to be decoded
    try:
        return to_rgb(image, bits, inverted)
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # as above
        raise damage(error) from error
