"""From stored pixels to what viewers show: sizes and boxes under the eight EXIF orientations.

The numbers are those of EXIF 2.3, tag 0x0112: 2 to 4 mirror and turn over, 5 to 8 also exchange rows and columns.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["displayed_boxes", "displayed_size"]


def displayed_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height, as shown, of an image stored as width x height."""
    return (height, width) if orientation >= 5 else (width, height)


def displayed_boxes(boxes: Sequence[Sequence[float]], width: int, height: int, orientation: int) -> np.ndarray:
    """Boxes of stored pixels in the frame that is shown, ``(N, 4)`` float64, half-open x0, y0, x1, y1.

    width, height: of the stored image.
    """
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    left, right, top, bottom = x0, x1, y0, y1
    if orientation in (2, 3, 7, 8):
        left, right = width - x1, width - x0
    if orientation in (3, 4, 6, 7):
        top, bottom = height - y1, height - y0
    corners = (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)
    return np.stack(corners, axis=1)
