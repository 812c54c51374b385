"""Masks as polygons that the tools of a format rasterize to the same pixels.

There are two conventions. For pycocotools pixels are unit squares, and a polygon is the border of a region. Tools that
draw with OpenCV (Ultralytics, supervision) round or truncate corners to pixel indices, and also fill the pixels of the
corners and of the lines between them.
"""

import cv2
import numpy as np

__all__ = ["borders", "drawn_outline"]

_CORNERS = 3
"""The fewest corners that tools accept as a polygon."""


def borders(mask: np.ndarray) -> list[np.ndarray]:
    """The borders ``(N, 2)`` float64 x, y in pixels of the pieces of a bool mask ``(height, width)``, for pycocotools.

    They run a quarter of a pixel inside the edges of the mask's pixels, which pycocotools rasterizes to the same mask.
    Holes are filled: a border cannot express them.
    """
    return [(outline + 0.5) / 2 for outline in _outlines(np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1))]


def drawn_outline(mask: np.ndarray) -> np.ndarray | None:
    """One outline ``(N, 2)`` float64 x, y of all pieces of a bool mask, for tools that draw; None if it is empty.

    A corner is a pixel's index plus 0.25, so that it stays in this pixel when it is rounded or truncated, or written as
    a rounded fraction of the picture's size. Pieces are joined by lines between their first corners and back, which are
    drawn, too, one pixel wide. Holes are filled.
    """
    pieces = [outline + 0.25 for outline in _outlines(mask)]
    if not pieces:
        return None
    there = [np.vstack([piece, piece[:1]]) for piece in pieces] if len(pieces) > 1 else pieces
    outline = np.vstack([*there, *(piece[:1] for piece in pieces[-2::-1])])
    missing = max(0, _CORNERS - len(outline))  # a bar has two corners, a dot has one: no polygon
    return np.vstack([outline, np.repeat(outline[:1], missing, axis=0)])


def _outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Corners of the outer outlines, from top to bottom."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [outline[:, 0].astype(np.float64) for outline in found]
    return sorted(outlines, key=lambda outline: (outline[0, 1], outline[0, 0]))
