"""Checks imported boxes against their image: boxes that stick out a little are clipped, others are refused."""

from collections.abc import Sequence

from stages.vision.boxes import area, clip

__all__ = ["held"]

_INSIDE = 0.5
"""Least share of a box that must lie inside of its image. In most data sets some boxes stick out by a few pixels; a box
that is half outside was drawn on another image, at another size, or before a rotation."""


def held(boxes: Sequence[Sequence[float]], width: int, height: int) -> tuple[list[list[float]], int]:
    """Boxes clipped to their image, and how many of them were changed by it.

    boxes: half-open x0, y0, x1, y1 in pixels, as are the returned ones; width, height: pixels of the image.

    Raises: ValueError for a box of which less than half lies inside.
    """
    inside = clip(boxes, width, height)
    cut = 0
    for given, kept in zip(boxes, inside, strict=True):
        if area(kept) < _INSIDE * area(given):
            corners = ", ".join(f"{corner:g}" for corner in given)
            raise ValueError(f"the box ({corners}) lies outside of the image's {width} x {height} pixels")
        cut += bool((kept != given).any())
    return inside.tolist(), cut
