"""Image bytes to arrays: the only place where pixels enter.

Pillow is the reference decoder. simplejpeg, where it is installed, decodes plain JPEG files faster to the same pixels.
EXIF orientation is not applied: the boxes of the public data sets are written in stored pixels.
"""

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

__all__ = ["MAX_PIXELS", "ImageError", "decode", "resize"]

MAX_PIXELS = 89_478_485
"""Largest image that is decoded, in pixels: Pillow's own limit, a quarter of a gibibyte of RGB."""

_JPEG_START = b"\xff\xd8\xff"
_PLAIN_JPEG = frozenset({"YCbCr", "Gray"})
_SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


class ImageError(ValueError):
    """The bytes are no usable image; the message is a short reason."""


def exif_orientation(data: bytes) -> int:
    """The EXIF orientation that a file names, 1 to 8; 1 where it names none."""
    try:
        return int(Image.open(io.BytesIO(data)).getexif().get(0x0112, 1))
    except Exception:
        return 1


def decode(data: bytes, *, turned: bool = False, lenient: bool = False) -> np.ndarray:
    """Decode a whole image file to RGB.

    Grey, palette, CMYK and alpha images are converted (alpha is dropped, 16-bit grey keeps its upper byte, of an
    animation the first frame counts). Every pixel is decoded, so a file that is cut short is found here.

    Returns: ``(height, width, 3)`` uint8, in stored orientation.
    Raises: ImageError with the reason ("empty file", "not an image", "truncated: ...", "too large: ...").
    """
    if data.startswith(_JPEG_START) and simplejpeg is not None:
        pixels = _decode_plain_jpeg(data)
        if pixels is not None:
            return pixels
    image = _open(data)
    try:
        if image.mode in _SIXTEEN_BIT:
            upper = (np.asarray(image) >> 8).astype(np.uint8)
            return np.repeat(upper[:, :, None], 3, axis=2)
        return np.array(image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # the bytes are in memory: whatever a codec raises is about their content
        raise ImageError(_reason(error)) from error


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Squash the whole image to a square, giving up its aspect ratio so that a map covers all of it.

    An image that shrinks twofold or more along an axis is averaged over areas (INTER_AREA): plain bilinear sampling
    would step over pixels and alias, which the networks' antialiased training images do not show. Below that factor
    bilinear sampling touches every pixel and is about ten times faster (0.1 ms against 1 ms for 500x375 to 224).

    image: ``(height, width, 3)`` uint8. Returns: ``(size, size, 3)`` uint8.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    averaging = max(height, width) >= 2 * size and min(height, width) >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if averaging else cv2.INTER_LINEAR)


def _decode_plain_jpeg(data: bytes) -> np.ndarray | None:
    """Decode a grey or three-component JPEG; None leaves the file, and the reason if it is bad, to Pillow."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if colorspace not in _PLAIN_JPEG or height * width > MAX_PIXELS:
            return None
        return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError:
        return None


def _open(data: bytes) -> Image.Image:
    """Read the header with Pillow and refuse what is empty, unknown or too large."""
    if not data:
        raise ImageError("empty file")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise ImageError("not an image") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"too large: more than {MAX_PIXELS} pixels") from error
    except MemoryError:
        raise
    except Exception as error:  # as in decode
        raise ImageError(_reason(error)) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"too large: {width}x{height} pixels, the limit is {MAX_PIXELS}")
    return image


def _reason(error: Exception) -> str:
    """Put a codec's error into one short line."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    cut_short = isinstance(error, EOFError) or "truncated" in text.lower()
    return f"{'truncated' if cut_short else 'damaged'}: {text}"
