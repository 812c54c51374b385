"""How images are prepared for a network: as those that its weights were trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["IMAGENET", "LARGEST_INPUT", "Colours", "Interpolation", "Preprocessing", "Views", "read_preprocessing"]

LARGEST_INPUT = 2**14
"""Largest side of a network's input, pixels: no network takes more, and a larger one on a card would fill memory."""

_SMALLEST_CROP, _LARGEST_CROP = 0.1, 2.0

Interpolation = Literal["bilinear", "bicubic"]
"""How images are resized."""

Views = Literal["squash", "centre", "ten_crop"]
"""Views of an image: all of it as a square; its center crop; corners and center, and the same five mirrored."""

Colours = tuple[float, float, float]
"""One number for each of red, green and blue."""


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of the images that some weights were trained on.

    mean, deviation: of pixels in [0, 1]; the network's input is (pixel - mean) / deviation.
    interpolation: of resizing.
    crop: side of the central crop that classes were read from, fraction of the side to which images were resized
    before (224 of 256: 0.875); 1: none. A few of timm's are above 1: they count as 1.
    """

    mean: Colours = (0.485, 0.456, 0.406)
    deviation: Colours = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"
    crop: float = 0.875

    def said(self) -> dict[str, list[float] | str | float]:
        """The record as JSON, for cards and recipes."""
        return {
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "interpolation": self.interpolation,
            "crop": self.crop,
        }


IMAGENET = Preprocessing()
"""Mean and deviation of ImageNet's pixels: of torchvision's weights, and of networks that are trained from scratch."""


def read_preprocessing(said: object) -> Preprocessing:
    """Parse the record on a card, which may come from anywhere. Raises ValueError that names the invalid field."""
    if not isinstance(said, Mapping) or said.keys() != IMAGENET.said().keys():
        raise ValueError(f"a preprocessing must say {', '.join(IMAGENET.said())}")
    mean, deviation = (_colours(name, said[name]) for name in ("mean", "deviation"))
    if min(deviation) <= 0:
        raise ValueError("deviation must be above 0")
    interpolation, crop = said["interpolation"], said["crop"]
    if interpolation not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolation must be bilinear or bicubic, not {interpolation!r}")
    if not _is_number(crop) or not _SMALLEST_CROP <= crop <= _LARGEST_CROP:
        raise ValueError(f"crop must be {_SMALLEST_CROP:g} to {_LARGEST_CROP:g}, not {crop!r}")
    return Preprocessing(mean, deviation, interpolation, float(crop))


def _colours(name: str, said: object) -> Colours:
    if not isinstance(said, list | tuple) or len(said) != 3 or not all(map(_is_number, said)):
        raise ValueError(f"{name} must be three numbers, not {said!r}")
    red, green, blue = (float(value) for value in said)
    return red, green, blue


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
