"""YOLO's files beyond what supervision reads."""

import numpy as np
import pytest
import yaml

from stages.formats.yolo import Yolo
from stages.vision.masks import encode
from tests.exports import entries_of, files_of


def made(splits, **options):
    images = [
        {
            "image_id": f"{s}/{n}.png",
            "label": n,
            "label_name": ("cat: a", "dog\"b'")[n],
            "split": s,
            "width": 9,
            "height": 9,
        }
        for s in splits
        for n in (0, 1)
    ]
    box = {"x0": 0.0, "y0": 0.0, "x1": 9.0, "y1": 4.5, "score": 1.0}
    rows = [{**image, "method": "cam", "boxes": [box]} for image in images]
    exporter = Yolo(segmentation=False, folder=options.get("folder", True))
    return files_of(exporter, [entries_of(images, rows)], ["cat: a", "dog\"b'"])


@pytest.mark.parametrize(
    ("splits", "keys"),
    [
        (("train", "val", "test"), {"train": "train", "val": "val", "test": "test"}),
        (("train", "dev"), {"train": "train", "val": "dev", "dev": "dev"}),
        (("train",), {"train": "train", "val": "train"}),
        (("test",), {"train": "test", "val": "test", "test": "test"}),
    ],
)
def test_trainers_find_train_and_val(splits, keys):
    """Breaks when data.yaml lacks a split that trainers insist on, or a class's name ends its YAML."""
    said = yaml.safe_load(made(splits)["data.yaml"])
    assert {key: said[key] for key in ("train", "val", "test", "dev") if key in said} == {
        key: f"images/{split}" for key, split in keys.items()
    }
    assert said["names"] == {0: "cat: a", 1: "dog\"b'"}
    assert said["path"] == "", "Ultralytics takes the folder of the file where there is none"


def test_an_object_without_a_mask_is_its_box():
    """Breaks when an image whose mask is empty becomes an example of nothing."""
    image = {"image_id": "a.png", "label": 0, "label_name": "c", "split": "train", "width": 10, "height": 10}
    box = {"x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0, "score": 1.0}
    for rles in ([encode(np.zeros((10, 10), bool))], None):
        entries = entries_of([image], [{**image, "method": "cam", "boxes": [box], "masks": rles}])
        files = files_of(Yolo(segmentation=True, folder=True), [entries], ["c"])
        numbers = [float(part) for part in files["labels/train/a.txt"].split()]
        assert numbers == [0, 0.1, 0.2, 0.3, 0.2, 0.3, 0.4, 0.1, 0.4]


def test_a_line_is_class_and_fractions():
    """Breaks when centre and size are exchanged, or a number is in pixels."""
    files = made(("train",), folder=False)
    assert files["labels/train/train__1.txt"] == b"1 0.50000000 0.25000000 1.00000000 0.50000000\n"
    assert files["train.txt"] == b"data/train/0.png\ndata/train/1.png\n"
