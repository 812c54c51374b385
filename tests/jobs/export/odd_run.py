"""A run whose pictures and boxes are as awkward as people's: what exports are read back from."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from jobs.target import Target
from pipeline.base.hashing import seed_from
from stages.vision.masks import decode, encode
from tests import runs

SIZES = {
    "train/kitten/a.jpg": (60, 40),
    "train/puppy/a.jpg": (48, 64),
    "train/kitten/a.png": (33, 31),
    "train/kitten/ünï cöde.png": (50, 50),
    "train/puppy/wide.png": (40, 44),
    "train/kitten/turned.jpg": (64, 40),
    "train/puppy/many.jpg": (90, 70),
    "train/kitten/flagged.jpg": (30, 30),
    "test/kitten/b.jpg": (80, 60),
    "test/puppy/c.JPG": (61, 47),
}
"""Width and height of each file as it is stored."""

TURNED = "train/kitten/turned.jpg"


def write_data(folder: Path) -> Path:
    """Equal names in two classes and with two endings, letters beyond ASCII, 16 bits, grey, and one turned by EXIF."""
    for name, (width, height) in SIZES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(seed_from(name))
        pixels = random.integers(0, 255, (height, width, 3), np.uint8)
        if "wide" in name:
            cv2.imwrite(str(path), (pixels[:, :, 0].astype(np.uint16) * 257))
            continue
        picture = Image.fromarray(pixels[:, :, 0] if "ünï" in name else pixels)
        exif = Image.Exif()
        if name == TURNED:
            exif[0x0112] = 6
        picture.save(path, exif=exif)
    return folder


def shown(name: str) -> tuple[int, int]:
    """Width and height as viewers show it, which is how the run uses it."""
    width, height = SIZES[name]
    return (height, width) if name == TURNED else (width, height)


def ellipse(width: int, height: int, part: int) -> np.ndarray:
    """A mask of one piece."""
    mask = np.zeros((height, width), np.uint8)
    centre = (width * (2 + part) // 6, height * (3 - part) // 5 + 4)
    cv2.ellipse(mask, centre, (width // 5, height // 6), 20.0 * part, 0, 360, 1, -1)
    return mask.astype(bool)


def write_boxes(path: Path) -> Path:
    """Boxes with masks as another program writes them: one an image, and three in `many`; fractions of pixels."""
    images, annotations = [], []
    for number, name in enumerate(SIZES):
        width, height = shown(name)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        if "flagged" in name:
            continue
        for part in range(3 if "many" in name else 1):
            mask = ellipse(width, height, part)
            ys, xs = np.nonzero(mask)
            corner = [float(xs.min()) + 0.25, float(ys.min()) + 1 / 3]
            size = [float(np.ptp(xs)) + 0.5, float(np.ptp(ys)) + 0.4]
            annotations.append(
                {"image_id": number, "bbox": [*corner, *size], "score": 0.9 - part / 4, "segmentation": encode(mask)}
            )
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def config(folder: Path) -> dict[str, Any]:
    """Two pictures a shard."""
    return {
        "run_root": str(folder / "run"),
        "dataset": {"reader": "folder", "root": str(folder / "data"), "dev_fraction": 0.3, "shard_size": 2},
        "stages": {
            "theirs": {"stage": "import", "boxes": str(folder / "boxes.json")},
            "export": {"labels": "theirs"},
        },
    }


def make(folder: Path) -> Target:
    """The finished run."""
    write_data(folder / "data")
    write_boxes(folder / "boxes.json")
    target = runs.target_of(config(folder))
    runs.execute(target)
    return target


def expected(target: Target) -> dict[str, dict[str, Any]]:
    """Image id -> split, class, size, boxes (N, 4) and masks, of the images that have a box."""
    images = {row["image_id"]: row for row in runs.rows(target, "ingest", "images")}
    found = {}
    for row in runs.rows(target, "theirs", "pseudo_labels"):
        if row["boxes"]:
            image = images[row["image_id"]]
            boxes = [[box[name] for name in ("x0", "y0", "x1", "y1")] for box in row["boxes"]]
            found[row["image_id"]] = {
                "split": image["split"],
                "class": image["label_name"],
                "size": (image["width"], image["height"]),
                "boxes": np.array(boxes),
                "scores": [box["score"] for box in row["boxes"]],
                "masks": [decode(rle) for rle in row["masks"]],
            }
    return found
