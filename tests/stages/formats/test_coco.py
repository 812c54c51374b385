"""COCO's documents: what the numbers in them say."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle

from stages.vision import masks
from tests.exports import coco_of


def image(image_id: str, label: int, split: str = "train", width: int = 40, height: int = 30) -> dict[str, Any]:
    names = {0: "cat", 2: "dog <b>&", 3: "ähre"}
    shape = {"width": width, "height": height}
    return {"image_id": image_id, "label": label, "label_name": names[label], "split": split, **shape}


def row(image_id: str, label: int, boxes: Any, rles: Any, method: str = "cam") -> dict[str, Any]:
    names = ("x0", "y0", "x1", "y1", "score")
    scored = [dict(zip(names, np.array(box, np.float32).tolist(), strict=True)) for box in boxes]
    return {"image_id": image_id, "label": label, "method": method, "boxes": scored, "masks": rles}


def ellipse(height: int = 30, width: int = 40, *, hole: bool = True) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    disc = ((y - 14) / 9.0) ** 2 + ((x - 17) / 13.0) ** 2 < 1
    return disc & ~((abs(y - 14) < 3) & (abs(x - 17) < 4)) if hole else disc


def dataset() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    images = [
        image("b/2.jpg", 2),
        image("a/1.jpg", 0),
        image("c/3.jpg", 3, "val"),
        image("d/4.jpg", 0),
        image("e/5.jpg", 2),
    ]
    shape, small = ellipse(), np.zeros((30, 40), bool)
    small[3:5, 30:37] = True
    two = [(4.1, 5.7, 30.3, 23.9, 0.8), (30, 3, 37, 5, 0.4)]
    rows = [
        row("b/2.jpg", 2, two, [masks.encode(shape), masks.encode(small)]),
        row("a/1.jpg", 0, [(0, 0, 40, 30, 0.1)], [masks.encode(ellipse(hole=False))]),
        row("c/3.jpg", 3, [(1 / 3, 2 / 7, 12.1, 29.999, 0.5)], [masks.encode(shape)]),
        row("d/4.jpg", 0, [(0, 0, 40, 30, 0.0)], [masks.encode(np.zeros((30, 40), bool))]),
    ]
    return images, rows


@given(st.lists(st.floats(0, 8192, width=32), min_size=2, max_size=2, unique=True).map(sorted))
def test_corners_come_back_bit_equal(ends: list[float]) -> None:
    """Breaks when width is computed or written with too few digits to reach the far corner again."""
    made = coco_of([image("a", 0)], [row("a", 0, [(ends[0], 0, ends[1], 1, 1)], None)])
    x, _, w, _ = json.loads(json.dumps(made["train"]["annotations"][0]["bbox"]))
    assert np.float32(x) == np.float32(ends[0])
    assert np.float32(x + w) == np.float32(ends[1])


def test_area_is_the_masks_and_without_a_mask_the_boxes() -> None:
    """Breaks when the box's area stands in for the mask's, which shifts every size-binned COCO figure."""
    images, rows = dataset()
    for outlines in ("rle", "polygon", None):
        made = coco_of(images, rows, outlines)["train"]
        holed = next(a for a in made["annotations"] if a["score"] == pytest.approx(0.8))
        assert holed["area"] == ellipse().sum()
        assert (holed["segmentation"] == []) == (outlines is None)
    predicted = [{key: r[key] for key in ("image_id", "label", "method", "boxes")} for r in rows]
    plain = coco_of(images, predicted)["val"]["annotations"][0]
    assert plain["segmentation"] == []
    assert plain["area"] == pytest.approx((12.1 - 1 / 3) * (29.999 - 2 / 7), rel=1e-6)


def test_ids_are_unique_over_all_files_and_categories_follow_labels() -> None:
    """Breaks when ids restart in each file, or categories depend on which split or row comes first."""
    images, rows = dataset()
    made = coco_of(images, rows)
    image_ids = [entry["id"] for document in made.values() for entry in document["images"]]
    annotation_ids = [entry["id"] for document in made.values() for entry in document["annotations"]]
    assert sorted(image_ids) == [1, 2, 3, 4]
    assert sorted(annotation_ids) == [1, 2, 3, 4, 5]
    for document in made.values():
        assert [(c["id"], c["name"]) for c in document["categories"]] == [(1, "cat"), (2, "dog <b>&"), (3, "ähre")]
    by_name = {entry["file_name"]: entry["id"] for document in made.values() for entry in document["images"]}
    assert by_name == {"a/1.jpg": 1, "b/2.jpg": 2, "c/3.jpg": 3, "d/4.jpg": 4}


def test_a_mask_comes_back_as_it_was() -> None:
    """Breaks when a hole is filled, or a mask is transposed, on its way into a document."""
    images, rows = dataset()
    made = coco_of(images, rows)["val"]["annotations"][0]
    np.testing.assert_array_equal(rle.decode(made["segmentation"]).astype(bool), ellipse())
