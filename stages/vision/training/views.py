"""Views of training images as the localizers' papers take them: a random crop of fixed size, mirrored or not."""

from dataclasses import dataclass

import numpy as np

from stages.vision.images import resize
from stages.vision.preprocessing import Interpolation

__all__ = ["View", "random_view"]


@dataclass(frozen=True)
class View:
    """How random views of an image are taken.

    size: side of the square output, pixels. crop: side of the random crop, fraction of the image's sides; 224 of 256 is
    0.875, and 1 takes no crop. keep_aspect: both sides of the crop are that fraction of the shorter side of the image;
    else the crop has the image's aspect ratio, which the output gives up. mirror, upside_down: of half of the images.
    interpolation: of resizing.
    """

    size: int
    crop: float = 0.875
    keep_aspect: bool = False
    mirror: bool = True
    upside_down: bool = False
    interpolation: Interpolation = "bilinear"


def random_view(image: np.ndarray, view: View, generator: np.random.Generator) -> np.ndarray:
    """One random view of an image ``(H, W, 3)`` uint8, as ``(size, size, 3)`` uint8.

    Cropping before enlarging differs from the papers' order, enlarging before cropping, by less than a pixel.
    """
    height, width = image.shape[:2]
    sides = (min(height, width),) * 2 if view.keep_aspect else (height, width)
    rows, columns = (max(1, round(side * view.crop)) for side in sides)
    top = int(generator.integers(0, height - rows, endpoint=True))
    left = int(generator.integers(0, width - columns, endpoint=True))
    seen = resize(image[top : top + rows, left : left + columns], view.size, view.interpolation)
    if view.mirror and generator.random() < 0.5:
        seen = seen[:, ::-1]
    if view.upside_down and generator.random() < 0.5:
        seen = seen[::-1]
    return np.ascontiguousarray(seen)
