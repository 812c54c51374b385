"""Decodes image files to arrays, the only place to do so; `stages.vision.decoding` has a module for each format."""

from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np

from stages.vision.decoding import heif, jpeg, png, simple, tiff
from stages.vision.decoding.budget import MAX_PIXELS
from stages.vision.decoding.errors import DamagedError, ImageError
from stages.vision.decoding.formats import FORMATS, Format, recognised
from stages.vision.decoding.orientation_tags import orientation
from stages.vision.decoding.turning import turned as turned_by
from stages.vision.preprocessing import Interpolation

__all__ = ["MAX_PIXELS", "ImageError", "decode", "exif_orientation", "resize"]

_SAMPLING: Mapping[Interpolation, int] = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}

_DECODERS: Mapping[Format, Callable[[bytes, bool], np.ndarray]] = {
    **{form: partial(simple.decode, form) for form in FORMATS},
    "JPEG": jpeg.decode,
    "PNG": png.decode,
    "TIFF": tiff.decode,
    "HEIC": heif.decode,
}


def decode(data: bytes, *, turned: bool = False, lenient: bool = False) -> np.ndarray:
    """Decode a whole image file to RGB: of an animation the first frame, of a TIFF file the first page.

    - Alpha is dropped, a palette's too: transparent pixels keep their stored colors.
    - Gray, 1-bit and palette images become the colors that they stand for. YCbCr and CMYK are converted as Pillow
      does: R = (255 - C)(255 - K) / 255. CMYK and YCCK of JPEG files are inverted first, as Adobe writes them. Colour
      profiles are not applied.
    - 16-bit channels keep their upper byte; those of 9 to 15 bits in TIFF and JPEG 2000 are scaled to 16 bits first.
      Numbers of PNM files are scaled by the maximum in the file.
    - 32-bit integers in 0 to 255 are taken as 8-bit, in 0 to 65535 as 16-bit. Floats in [0, 1] are multiplied by 255.
      Other integers and floats, signed ones of 8 and 16 bits, and Lab colors have no known scale and are refused.

    turned: apply the EXIF orientation (irot and imir of HEIC and AVIF) exactly once; False: pixels as stored.
    lenient: keep what can be decoded of a damaged or truncated file; the rest of it is gray or black. By default all
    pixels are decoded, and any damage that the codec notices is an error.

    Returns: ``(height, width, 3)`` uint8, contiguous.
    Raises: ImageError with the reason ("empty file", "not an image", "truncated: ...", "damaged: ...",
    "too large: ...", "too slow to decode: ...", "HEIC image: install ...").
    """
    form = recognised(data)
    try:
        pixels = _DECODERS[form](data, False)
    except DamagedError as damage:
        if not lenient:
            raise
        pixels = _leniently(form, data, damage)
    return turned_by(pixels, orientation(form, data)) if turned else pixels


def exif_orientation(data: bytes) -> int:
    """The orientation that a file declares, 1 to 8; 1 if it declares none. Never raises, and decodes nothing."""
    try:
        return orientation(recognised(data), data)
    except ImageError:
        return 1


def resize(image: np.ndarray, size: int, interpolation: Interpolation = "bilinear") -> np.ndarray:
    """Squash the whole image to a square, giving up its aspect ratio so that a map covers all of it.

    An image that shrinks twofold or more along an axis is averaged over areas (INTER_AREA): plain bilinear sampling
    would step over pixels and alias, which the networks' antialiased training images do not show. Below that factor
    sampling touches every pixel and is about ten times faster (0.1 ms against 1 ms for 500x375 to 224).

    image: ``(height, width, 3)`` uint8. Returns: ``(size, size, 3)`` uint8.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    averaging = max(height, width) >= 2 * size and min(height, width) >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if averaging else _SAMPLING[interpolation])


def _leniently(form: Format, data: bytes, damage: DamagedError) -> np.ndarray:
    """Decode a damaged file leniently. Raises the error of strict decoding if nothing, or only one color, comes out."""
    try:
        pixels = _DECODERS[form](data, True)
    except DamagedError:
        raise damage from None
    if (pixels == pixels[0, 0]).all():
        raise damage
    return pixels
