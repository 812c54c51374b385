"""Box-aware augmentation for training: coordinates first, pixels last.

Crops are ``x0, y0, x1, y1`` in pixels, half-open, like boxes. The geometry is that of PSOL's released code (the paper
does not mention it), without its rounding of the box to whole pixels, and with a fallback that keeps the box in view.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from stages.vision.boxes import area, clip, normalise, xyxy_to_xywh
from stages.vision.images import resize
from stages.vision.preprocessing import Interpolation

__all__ = [
    "augment",
    "crop_box",
    "flip_box",
    "sample_crop",
]

AREA_RANGE = (0.2, 1.0)
ASPECT_RANGE = (3 / 4, 4 / 3)
ATTEMPTS = 30


def sample_crop(width: int, height: int, box: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a random-resized crop that shows a part of the box.

    Area uniform in [0.2, 1] of the image, log aspect uniform in [3/4, 4/3], place uniform; at most 30 attempts, then
    the whole image.

    box: ``(4,)`` in pixels. Returns: ``(4,)`` int64.
    """
    for _ in range(ATTEMPTS):
        size = _sample_size(width, height, generator)
        if size is None:
            continue
        left = int(generator.integers(0, width - size[0], endpoint=True))
        top = int(generator.integers(0, height - size[1], endpoint=True))
        crop = np.array([left, top, left + size[0], top + size[1]])
        if area(crop_box(box, crop)) > 0:
            return crop
    return np.array([0, 0, width, height])


def crop_box(box: ArrayLike, crop: ArrayLike) -> np.ndarray:
    """Express a box in fractions of a crop, cut to it; a box outside the crop gets area 0.

    box, crop: ``(4,)`` in pixels of one image. Returns: ``(4,)`` float64 in [0, 1].
    """
    left, top, right, bottom = np.asarray(crop, dtype=np.float64)
    width, height = right - left, bottom - top
    inside = clip(np.asarray(box, dtype=np.float64) - (left, top, left, top), width, height)
    return normalise(inside, width, height)


def flip_box(box: ArrayLike) -> np.ndarray:
    """Mirror a box ``(..., 4)`` in fractions of its frame left to right; twice is the identity."""
    x0, y0, x1, y1 = np.moveaxis(np.asarray(box, dtype=np.float64), -1, 0)
    return np.stack([1.0 - x1, y0, 1.0 - x0, y1], axis=-1)


def augment(
    image: np.ndarray, box: np.ndarray, size: int, interpolation: Interpolation, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Crop around a box, squash to the network's input, and mirror half of the time.

    image: ``(H, W, 3)`` uint8. box: ``(4,)`` in its pixels, half-open.
    Returns: ``(size, size, 3)`` uint8 and the target ``(4,)`` float32, ``x, y, width, height`` in [0, 1].
    """
    height, width = image.shape[:2]
    crop = sample_crop(width, height, box, generator)
    left, top, right, bottom = crop
    pixels, target = resize(image[top:bottom, left:right], size, interpolation), crop_box(box, crop)
    if generator.random() < 0.5:
        pixels, target = pixels[:, ::-1], flip_box(target)
    return np.ascontiguousarray(pixels), xyxy_to_xywh(target).astype(np.float32)


def _sample_size(width: int, height: int, generator: np.random.Generator) -> tuple[int, int] | None:
    """Draw a crop's width and height; None when it does not fit the image."""
    target = width * height * generator.uniform(*AREA_RANGE)
    aspect = math.exp(generator.uniform(math.log(ASPECT_RANGE[0]), math.log(ASPECT_RANGE[1])))
    size = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
    fits = 0 < size[0] <= width and 0 < size[1] <= height
    return size if fits else None
