"""Exported boxes and masks fit what viewers show."""

import numpy as np

from stages.export.frame import displayed_images, displayed_rows
from stages.vision import masks

STORED = {"width": 8, "height": 6, "orientation": 6, "turned": False}
IMAGES = [
    {"image_id": "stored", **STORED},
    {"image_id": "turned", "width": 6, "height": 8, "orientation": 6, "turned": True},
    {"image_id": "plain", "width": 8, "height": 6, "orientation": None, "turned": None},
]


def row(image_id, shape):
    mask = np.zeros(shape, bool)
    mask[1:4, 2:5] = True
    box = {"x0": 2.0, "y0": 1.0, "x1": 5.0, "y1": 4.0, "score": 0.5}
    return {"image_id": image_id, "boxes": [box], "masks": [masks.encode(mask)]}


def test_only_what_was_used_as_stored_is_turned():
    """Breaks when a box is turned twice, or is exported in pixels that no viewer shows (faults.md B3)."""
    assert [(image["width"], image["height"]) for image in displayed_images(IMAGES)] == [(6, 8), (6, 8), (8, 6)]
    rows = [row("stored", (6, 8)), row("turned", (8, 6)), row("plain", (6, 8))]
    stored, turned, plain = displayed_rows(IMAGES, rows)
    assert (turned, plain) == (rows[1], rows[2])
    # Orientation 6: the stored picture is shown turned clockwise, its left edge on top.
    assert stored["boxes"] == [{"x0": 2.0, "y0": 2.0, "x1": 5.0, "y1": 5.0, "score": 0.5}]
    assert masks.decode(stored["masks"][0]).shape == (8, 6)
    assert masks.decode(stored["masks"][0])[2:5, 2:5].all()
    assert masks.area(stored["masks"][0]) == 9


def test_rows_without_masks_or_boxes():
    """Breaks when predictions, which have no masks, or an empty mask end an export."""
    bare = {"image_id": "stored", "boxes": None}
    assert displayed_rows(IMAGES, [bare]) == [{"image_id": "stored", "boxes": []}]
    assert displayed_rows(IMAGES, [{**bare, "masks": []}])[0]["masks"] == []
