"""Masks as polygons that the tools of a format rasterise to the same pixels.

There are two ways to read a corner. pycocotools takes a pixel for a square of width 1, and a polygon for its border.
Tools that draw with OpenCV (Ultralytics, supervision) make corners whole, by rounding or cutting, and colour all pixels
that are corners, or on a line between two.
"""

import cv2
import numpy as np

__all__ = ["borders", "drawn_outline"]

_CORNERS = 3
"""The fewest that tools take for a polygon."""


def borders(mask: np.ndarray) -> list[np.ndarray]:
    """The borders ``(N, 2)`` float64 x, y of the pieces of a mask ``(height, width)``, for pycocotools.

    They run a quarter of a pixel inside of the pixels' edges, which pycocotools rounds to the very same pixels. Holes
    are filled: a border cannot say them.
    """
    return [(outline + 0.5) / 2 for outline in _outlines(np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1))]


def drawn_outline(mask: np.ndarray) -> np.ndarray | None:
    """One outline ``(N, 2)`` float64 of all pieces, for tools that draw; None of an empty mask.

    A corner is a pixel's index and a quarter, so that neither rounding nor cutting, nor the rounding of a fraction of
    the picture's size, makes it another's. Pieces are joined by lines from first corner to first corner and back, which
    are drawn, too: one pixel wide. Holes are filled.
    """
    pieces = [outline + 0.25 for outline in _outlines(mask)]
    if not pieces:
        return None
    there = [np.vstack([piece, piece[:1]]) for piece in pieces] if len(pieces) > 1 else pieces
    outline = np.vstack([*there, *(piece[:1] for piece in pieces[-2::-1])])
    missing = max(0, _CORNERS - len(outline))  # of a bar or a dot: two or one, which are no polygon
    return np.vstack([outline, np.repeat(outline[:1], missing, axis=0)])


def _outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Corners of the outer outlines, from top to bottom."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [outline[:, 0].astype(np.float64) for outline in found]
    return sorted(outlines, key=lambda outline: (outline[0, 1], outline[0, 0]))
