"""COCO files, read back with pycocotools: what a user's training code will see."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from stages.export.coco import documents, files
from stages.vision import masks

SPLITS = ("train", "dev", "val", "test")


def image(image_id, label, split="train", width=40, height=30):
    names = {0: "cat", 2: "dog <b>&", 3: "ähre"}
    shape = {"width": width, "height": height}
    return {"image_id": image_id, "label": label, "label_name": names[label], "split": split, **shape}


def row(image_id, label, boxes, rles, flag=None, method="cam"):
    names = ("x0", "y0", "x1", "y1", "score")
    scored = [dict(zip(names, np.array(box, np.float32).tolist(), strict=True)) for box in boxes]
    return {"image_id": image_id, "label": label, "method": method, "boxes": scored, "masks": rles, "flag": flag}


def ellipse(height=30, width=40, hole=True):
    y, x = np.mgrid[:height, :width]
    disc = ((y - 14) / 9.0) ** 2 + ((x - 17) / 13.0) ** 2 < 1
    return disc & ~((abs(y - 14) < 3) & (abs(x - 17) < 4)) if hole else disc


def dataset():
    images = [
        image("b/2.jpg", 2),
        image("a/1.jpg", 0),
        image("c/3.jpg", 3, "val"),
        image("d/4.jpg", 0),
        image("e/5.jpg", 2),
    ]
    shape, small = ellipse(), np.zeros((30, 40), bool)
    small[3:5, 30:37] = True
    rows = [
        row(
            "b/2.jpg", 2, [(4.1, 5.7, 30.3, 23.9, 0.8), (30, 3, 37, 5, 0.4)], [masks.encode(shape), masks.encode(small)]
        ),
        row("a/1.jpg", 0, [(0, 0, 40, 30, 0.1)], [masks.encode(ellipse(hole=False))]),
        row("c/3.jpg", 3, [(1 / 3, 2 / 7, 12.1, 29.999, 0.5)], [masks.encode(shape)]),
        row("d/4.jpg", 0, [(0, 0, 40, 30, 0.0)], [masks.encode(np.zeros((30, 40), bool))], flag="empty_mask"),
    ]
    return images, rows


def export(images, rows, keep_flagged=False):
    return files(images, rows, splits=SPLITS, keep_flagged=keep_flagged, description="test")


def read_back(data: bytes, folder: Path) -> COCO:
    path = folder / "read.json"
    path.write_bytes(data)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_pycocotools_reads_the_same_boxes_and_masks(tmp_path: Path) -> None:
    """Breaks when a coordinate is rounded or shifted, or a mask simplified, transposed or put to another box."""
    images, rows = dataset()
    seen = 0
    for data in export(images, rows).values():
        coco = read_back(data, tmp_path)
        for info in coco.loadImgs(coco.getImgIds()):
            source = next(r for r in rows if r["image_id"] == info["file_name"])
            found = coco.loadAnns(coco.getAnnIds(imgIds=info["id"]))
            for annotation, box, rle in zip(found, source["boxes"], source["masks"], strict=True):
                x, y, w, h = annotation["bbox"]
                corners = np.array([x, y, x + w, y + h], np.float32)
                np.testing.assert_array_equal(corners, np.array([box[k] for k in ("x0", "y0", "x1", "y1")], np.float32))
                np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), masks.decode(rle))
                assert np.float32(annotation["score"]) == np.float32(box["score"])
                seen += 1
    assert seen == 4


@given(st.lists(st.floats(0, 8192, width=32), min_size=2, max_size=2, unique=True).map(sorted))
def test_corners_come_back_bit_equal(ends: list[float]) -> None:
    """Breaks when width is computed or written with too few digits to reach the far corner again."""
    made = documents(
        [image("a", 0)],
        [row("a", 0, [(ends[0], 0, ends[1], 1, 1)], None)],
        splits=SPLITS,
        keep_flagged=False,
        description="",
    )
    x, _, w, _ = json.loads(json.dumps(made["train"]["annotations"][0]["bbox"]))
    assert np.float32(x) == np.float32(ends[0])
    assert np.float32(x + w) == np.float32(ends[1])


def test_area_is_the_masks_and_without_a_mask_the_boxes() -> None:
    """Breaks when the box's area stands in for the mask's, which shifts every size-binned COCO figure."""
    images, rows = dataset()
    made = documents(images, rows, splits=SPLITS, keep_flagged=False, description="")["train"]
    holed = next(a for a in made["annotations"] if a["score"] == pytest.approx(0.8))
    assert holed["area"] == ellipse().sum()
    predicted = [{key: r[key] for key in ("image_id", "label", "method", "boxes")} for r in rows]
    plain = documents(images, predicted, splits=SPLITS, keep_flagged=False, description="")["val"]["annotations"][0]
    assert plain["segmentation"] == []
    assert plain["area"] == pytest.approx((12.1 - 1 / 3) * (29.999 - 2 / 7), rel=1e-6)


def test_ids_are_unique_over_all_files_and_categories_follow_labels() -> None:
    """Breaks when ids restart in each file, or categories depend on which split or row comes first."""
    images, rows = dataset()
    made = documents(images, rows, splits=SPLITS, keep_flagged=True, description="")
    image_ids = [entry["id"] for document in made.values() for entry in document["images"]]
    annotation_ids = [entry["id"] for document in made.values() for entry in document["annotations"]]
    assert sorted(image_ids) == [1, 2, 3, 4]
    assert sorted(annotation_ids) == [1, 2, 3, 4, 5]
    for document in made.values():
        assert [(c["id"], c["name"]) for c in document["categories"]] == [(1, "cat"), (2, "dog <b>&"), (3, "ähre")]
    by_name = {entry["file_name"]: entry["id"] for document in made.values() for entry in document["images"]}
    assert by_name == {"a/1.jpg": 1, "b/2.jpg": 2, "c/3.jpg": 3, "d/4.jpg": 4}


def test_fallbacks_and_images_without_boxes_are_left_out_and_counted() -> None:
    """Breaks when an image whose only box is a fallback is exported as an example of nothing."""
    images, rows = dataset()
    made = documents(images, rows, splits=SPLITS, keep_flagged=False, description="")["train"]
    assert [entry["file_name"] for entry in made["images"]] == ["a/1.jpg", "b/2.jpg"]
    assert made["info"]["flagged_labels_left_out"] == {"empty_mask": 1}
    assert made["info"]["images_without_annotation_left_out"] == 2
    kept = documents(images, rows, splits=SPLITS, keep_flagged=True, description="")["train"]
    assert [entry["file_name"] for entry in kept["images"]] == ["a/1.jpg", "b/2.jpg", "d/4.jpg"]
    assert kept["info"]["flagged_labels_left_out"] == {}


def test_bytes_do_not_depend_on_the_order_of_rows() -> None:
    """Breaks when ids or order come from the order in which shards were read."""
    images, rows = dataset()
    assert export(images, rows) == export(images[::-1], rows[::-1])


def test_a_split_without_images_has_no_file() -> None:
    """Breaks when empty files appear for splits that a data set does not have."""
    assert set(export(*dataset())) == {"coco_train.json", "coco_val.json"}


def test_an_image_without_predicted_boxes_is_no_error() -> None:
    """Breaks on predictions of a pure classifier, whose boxes are null."""
    images, _ = dataset()
    predicted = {"image_id": "a/1.jpg", "label": 0, "method": "vote", "boxes": None}
    made = documents(images, [predicted], splits=("train",), keep_flagged=False, description="")["train"]
    assert made["images"] == []
