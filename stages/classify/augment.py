"""Label-preserving augmentation of training images: random resized crop, mirror, brightness and contrast."""

import math
from dataclasses import dataclass

import numpy as np

from stages.vision.images import resize
from stages.vision.preprocessing import Interpolation

_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 10


@dataclass(frozen=True)
class Augmentation:
    """Which random changes are made to an image.

    size: side of the output, pixels. interpolation: of resizing. The others are parameters of `classify`.
    """

    size: int
    min_crop: float = 1.0
    flip: bool = False
    jitter: float = 0.0
    interpolation: Interpolation = "bilinear"


def augment(image: np.ndarray, change: Augmentation, generator: np.random.Generator) -> np.ndarray:
    """One random view of an image (H, W, 3) uint8, as (size, size, 3) uint8."""
    left, top, width, height = sample_view(image.shape[1], image.shape[0], change.min_crop, generator)
    view = resize(image[top : top + height, left : left + width], change.size, change.interpolation)
    if change.flip and generator.random() < 0.5:
        view = view[:, ::-1]
    if change.jitter > 0:
        view = _jittered(view, change.jitter, generator)
    return np.ascontiguousarray(view)


def sample_view(width: int, height: int, min_crop: float, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """A crop left, top, width, height, pixels: area uniform in [min_crop, 1] of the image, log aspect uniform.

    The whole image when `min_crop` is 1, or when no drawn shape fits.
    """
    if min_crop >= 1:
        return 0, 0, width, height
    for _ in range(_ATTEMPTS):
        area = width * height * generator.uniform(min_crop, 1)
        aspect = math.exp(generator.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(0, width - w, endpoint=True))
            top = int(generator.integers(0, height - h, endpoint=True))
            return left, top, w, h
    return 0, 0, width, height


def _jittered(view: np.ndarray, most: float, generator: np.random.Generator) -> np.ndarray:
    brightness, contrast = generator.uniform(1 - most, 1 + most, 2)
    values = view.astype(np.float32) * brightness
    mean = values.mean()
    return np.clip((values - mean) * contrast + mean, 0, 255).astype(np.uint8)
