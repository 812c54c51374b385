"""The CSV of boxes that a person fills in: `weakbox review` writes it, a data set's option `reviewed` reads it."""

import csv
import io
from collections.abc import Iterable

__all__ = ["COLUMNS", "to_fill"]

COLUMNS = ("image_id", "x0", "y0", "x1", "y1")
"""An image and the corners of one box in its pixels; an image with several boxes has several lines."""


def to_fill(image_ids: Iterable[str]) -> str:
    """The CSV to fill in: one line per image, with empty corners."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((image_id, "", "", "", "") for image_id in image_ids)
    return text.getvalue()
