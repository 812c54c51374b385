"""Choosing one class for an image whose objects have several classes."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from stages.ingest.scan import Box
from stages.vision.boxes import xywh_to_xyxy

__all__ = ["MultiLabel", "class_by_area", "half_open", "total_area"]

MultiLabel = Literal["skip", "largest"]
"""What becomes of images of several classes: left out, or given the class with the largest total box area."""

Class = TypeVar("Class", int, str)


def class_by_area(areas: Mapping[Class, float], multi_label: MultiLabel) -> Class | None:
    """The class of an image by the total box area of each class, in any unit; None: it has none, or is left out.

    `largest` takes the class with the largest area; ties go to the first class in sorted order.
    """
    if multi_label == "skip" and len(areas) > 1:
        return None
    return min(areas, key=lambda name: (-areas[name], name), default=None)


def total_area(boxes: Sequence[Box]) -> float:
    """The sum of the areas of boxes [x, y, width, height]; overlaps count twice."""
    return sum(width * height for _, _, width, height in boxes)


def half_open(box: Box) -> Box:
    """Turn [x, y, width, height] into half-open x0, y0, x1, y1."""
    x0, y0, x1, y1 = (float(value) for value in xywh_to_xyxy(box))
    return x0, y0, x1, y1
