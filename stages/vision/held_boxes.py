"""Boxes of others held against their image: what sticks out a little is cut off, what lies elsewhere is refused."""

from collections.abc import Sequence

from stages.vision.boxes import area, clip

__all__ = ["held"]

_INSIDE = 0.5
"""Least share of a box that lies inside of its image. Boxes that stick out by a few pixels are drawn so in most data
sets; one that lies outside by half was drawn on another image, in another size, or on one that was turned."""


def held(boxes: Sequence[Sequence[float]], width: int, height: int) -> tuple[list[list[float]], int]:
    """The parts of boxes inside of an image, and how many of them were cut.

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
