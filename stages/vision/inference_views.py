"""Views of an image for inference, and boxes of a view carried back to the image.

A map always covers the whole image; classes and boxes may be read from its center crop, as published.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stages.vision.images import resize
from stages.vision.preprocessing import Interpolation, Views

__all__ = ["InferenceViews"]

_LONGEST = 32
"""Largest aspect ratio; a longer image is squeezed to it, because a strip of 10,000 pixels would fill the memory."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class InferenceViews:
    """How views are taken.

    size: side of a view, pixels. crop: side of a view as a fraction of the side to which images are resized before.
    keep_aspect: only the shorter side is resized to that side, as for published classifiers (He et al. 2016;
    torchvision's and timm's transforms); else both sides are (PSOL, SPA). interpolation: of resizing.
    All views but `squash` are resized by Pillow with its antialiased filters, as in those transforms.
    """

    views: Views
    size: int
    crop: float
    keep_aspect: bool
    interpolation: Interpolation

    @property
    def number(self) -> int:
        """Number of views of an image."""
        return 10 if self.views == "ten_crop" else 1

    @property
    def of_boxes(self) -> int:
        """Index of the view that boxes are read from: the whole image, or its center crop."""
        return 4 if self.views == "ten_crop" else 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The V = `number` views of an image ``(H, W, 3)`` uint8, ``(V, size, size, 3)`` uint8."""
        if self.views == "squash":
            return resize(image, self.size, self.interpolation)[None]
        width, height = self._resized(image.shape[1], image.shape[0])
        pixels = image
        if (width, height) != (image.shape[1], image.shape[0]):
            pixels = np.asarray(Image.fromarray(image).resize((width, height), _FILTERS[self.interpolation]))
        corners = self._corners(width, height)
        frames = [pixels] if self.views == "centre" else [pixels, pixels[:, ::-1]]
        return np.stack([self._cut(frame, *corner) for frame in frames for corner in corners])

    def in_image(self, boxes: np.ndarray, sizes: Sequence[tuple[int, int]]) -> np.ndarray:
        """Carry boxes from the view `of_boxes` to pixels of their images.

        boxes: ``(B, 4)`` x0 y0 x1 y1 as fractions of the view. sizes: (width, height) of the images.
        Returns: ``(B, 4)`` float32, half-open; inside the view where the boxes are in [0, 1].
        """
        frames = np.array([self._frame(*size) for size in sizes], np.float64).reshape(-1, 4)
        starts, extents = np.tile(frames[:, :2], 2), np.tile(frames[:, 2:], 2)
        return (starts + boxes.astype(np.float64) * extents).astype(np.float32)

    def _frame(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, width and height of the view `of_boxes` in pixels of an image."""
        if self.views == "squash":
            return 0, 0, width, height
        across, down = self._resized(width, height)
        left, top = _centre(across, self.size), _centre(down, self.size)
        of_width, of_height = width / across, height / down
        return left * of_width, top * of_height, self.size * of_width, self.size * of_height

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Width and height to which an image is resized; the shorter side is rounded down, as published."""
        side = max(self.size, int(self.size / self.crop + 1e-6))
        if not self.keep_aspect:
            return side, side
        shorter, longer = sorted((width, height))
        resized = max(side, int(side * min(longer, _LONGEST * shorter) / shorter))
        return (side, resized) if width <= height else (resized, side)

    def _corners(self, width: int, height: int) -> list[tuple[int, int]]:
        """Left and top of the views that are cut out."""
        right, bottom = width - self.size, height - self.size
        centre = (_centre(width, self.size), _centre(height, self.size))
        return [centre] if self.views == "centre" else [(0, 0), (right, 0), (0, bottom), (right, bottom), centre]

    def _cut(self, pixels: np.ndarray, left: int, top: int) -> np.ndarray:
        return pixels[top : top + self.size, left : left + self.size]


def _centre(side: int, size: int) -> int:
    """First row or column of the central `size` of `side` pixels."""
    return round((side - size) / 2)
