"""Exported boxes and masks fit what viewers show, and are those that were chosen."""

import numpy as np
import pytest

from stages.formats.entries import Choice, entry_of, picture_of
from stages.vision import masks

STORED = {"width": 8, "height": 6, "orientation": 6, "turned": False}
ALL = Choice(None, None)


def picture(**image):
    return picture_of({"image_id": "a.JPG", "label_name": "c", "uri": "u", **image}, 1, 0, "train", "a")


def row(shape, **more):
    mask = np.zeros(shape, bool)
    mask[1:4, 2:5] = True
    boxes = [{"x0": 2.0, "y0": 1.0, "x1": 5.0, "y1": 4.0, "score": 0.5}]
    return {"boxes": boxes, "masks": [masks.encode(mask)], "source": "s", "method": "cam", **more}


def test_only_what_was_used_as_stored_is_turned():
    """Breaks when a box is turned twice, or is exported in pixels that no viewer shows (faults.md B3)."""
    stored = entry_of(picture(**STORED), row((6, 8)), ALL, "c", 0)
    turned = entry_of(picture(**{**STORED, "turned": True, "width": 6, "height": 8}), row((8, 6)), ALL, "c", 0)
    plain = entry_of(picture(width=8, height=6, orientation=None, turned=None), row((6, 8)), ALL, "c", 0)
    assert [(e.picture.width, e.picture.height) for e in (stored, turned, plain)] == [(6, 8), (6, 8), (8, 6)]
    assert turned.boxes == plain.boxes == [(2.0, 1.0, 5.0, 4.0)]
    # Orientation 6: the stored picture is shown turned clockwise, its left edge on top.
    assert stored.boxes == [(2.0, 2.0, 5.0, 5.0)]
    assert stored.masks is not None
    mask = masks.decode(stored.masks[0])
    assert mask.shape == (8, 6)
    assert mask[2:5, 2:5].all()
    assert mask.sum() == 9


@pytest.mark.parametrize("boxes", [None, []])
def test_rows_without_masks_or_boxes(boxes):
    """Breaks when predictions, which have no masks, or an image without a box end an export."""
    bare = {"boxes": boxes, "source": "s", "method": "cam"}
    entry = entry_of(picture(**STORED), bare, ALL, "c", 0)
    assert (list(entry.boxes), entry.masks, entry.flag) == ([], None, None)


def test_boxes_and_their_masks_are_chosen_together():
    """Breaks when a mask stays with the box of another score."""
    first, second = np.zeros((6, 8), bool), np.ones((6, 8), bool)
    scores = (0.9, 0.2, 0.7)
    boxes = [{"x0": float(n), "y0": 0.0, "x1": 8.0, "y1": 6.0, "score": score} for n, score in enumerate(scores)]
    rles = [masks.encode(mask) for mask in (first, second, first)]
    shown = picture(width=8, height=6, orientation=None, turned=None)
    many = row((6, 8), boxes=boxes, masks=rles)
    kept = entry_of(shown, many, Choice(None, 0.5), "c", 0)
    assert ([box[0] for box in kept.boxes], kept.scores, kept.masks) == ([0.0, 2.0], [0.9, 0.7], [rles[0], rles[2]])
    assert len(entry_of(shown, many, Choice(1, None), "c", 0).boxes) == 1


def test_a_file_ends_as_its_picture_does():
    """Breaks when a PNG is exported under the name of a JPEG."""
    assert picture(**STORED).suffix == ".jpg"
    assert picture(**STORED)._replace(image_id="a/b.c/d.png").suffix == ".png"
    assert picture(**STORED)._replace(image_id="a.b/c").suffix == ".jpg"
