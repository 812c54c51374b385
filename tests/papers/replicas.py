"""Small data sets in the layouts that the papers' configs read, made of the demo's images, boxes and masks."""

import csv
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from stages.ingest.demo import compose

TRAIN, TEST = 60, 40


class Picture(NamedTuple):
    """An image of the demo. boxes: half-open pixels. mask: None for training images."""

    file: Path
    label: int
    split: str
    boxes: Sequence[tuple[int, int, int, int]]
    size: tuple[int, int]
    mask: Path | None


def pictures(folder: Path) -> list[Picture]:
    """The demo's images; every second test image is val."""
    compose(folder, train=TRAIN, test=TEST)
    boxes: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    with open(folder / "boxes.csv", newline="") as file:
        for row in csv.DictReader(file):
            x0, y0, x1, y1 = (round(float(row[name])) for name in ("x0", "y0", "x1", "y1"))
            boxes[row["image_id"]].append((x0, y0, x1, y1))
    found = []
    for split in ("train", "test"):
        for label, of_class in enumerate(sorted((folder / split).iterdir())):
            for number, path in enumerate(sorted(of_class.iterdir())):
                image_id = path.relative_to(folder).as_posix()
                mask = folder / "masks" / f"{image_id}.png"
                with Image.open(path) as image:
                    size = image.size
                named = "val" if split == "test" and number % 2 == 0 else split
                found.append(Picture(path, label, named, boxes[image_id], size, mask if mask.exists() else None))
    return found


def cub(folder: Path, made: Sequence[Picture]) -> Path:
    """CUB-200-2011 as it is published; val and test are its test."""
    texts: dict[str, list[str]] = defaultdict(list)
    for number, picture in enumerate(made, start=1):
        of_class = f"{picture.label + 1:03d}.Bird_{picture.label}"
        name = f"{of_class}/Bird_{number:04d}.jpg"
        copied(picture.file, folder / "images" / name)
        (x0, y0, x1, y1), *_ = picture.boxes or [(0, 0, *picture.size)]
        texts["images"].append(f"{number} {name}")
        texts["image_class_labels"].append(f"{number} {picture.label + 1}")
        texts["train_test_split"].append(f"{number} {int(picture.split == 'train')}")
        texts["bounding_boxes"].append(f"{number} {x0}.0 {y0}.0 {x1 - x0 - 1}.0 {y1 - y0 - 1}.0")
    labels = sorted({picture.label for picture in made})
    texts["classes"] = [f"{label + 1} {label + 1:03d}.Bird_{label}" for label in labels]
    for name, lines in texts.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def ilsvrc(folder: Path, made: Sequence[Picture]) -> Path:
    """ILSVRC with Kaggle's tables; val and test are its val."""
    lines = {"train": ["ImageId,PredictionString"], "val": ["ImageId,PredictionString"]}
    for number, picture in enumerate(made, start=1):
        wnid = f"n{picture.label + 1440764:08d}"
        if picture.split == "train":
            split, name = "train", f"{wnid}_{number}"
            copied(picture.file, folder / "train" / wnid / f"{name}.JPEG")
        else:
            split, name = "val", f"ILSVRC2012_val_{number:08d}"
            copied(picture.file, folder / "val" / f"{name}.JPEG")
        boxes = picture.boxes or [(0, 0, *picture.size)]
        said = " ".join(f"{wnid} {x0} {y0} {x1 - 1} {y1 - 1}" for x0, y0, x1, y1 in boxes)
        lines[split].append(f"{name},{said} ")
    for split, rows in lines.items():
        (folder / f"LOC_{split}_solution.csv").write_text("\n".join(rows) + "\n")
    return folder


def wsol(folder: Path, made: Sequence[Picture], name: str, *, masks: bool = False) -> Path:
    """What the standard evaluator keeps of a data set, with boxes or with masks."""
    texts: dict[Path, list[str]] = defaultdict(list)
    for number, picture in enumerate(made):
        metadata = folder / "metadata" / name / picture.split
        image_id = f"{picture.split}/{picture.label:03d}/{number:05d}.jpg"
        image = folder / "dataset" / name / image_id
        copied(picture.file, image)
        texts[metadata / "image_ids.txt"].append(image_id)
        texts[metadata / "class_labels.txt"].append(f"{image_id},{picture.label}")
        texts[metadata / "image_sizes.txt"].append(f"{image_id},{picture.size[0]},{picture.size[1]}")
        if picture.split == "train":
            continue
        if masks:
            names = [
                f"{picture.split}/{picture.label:03d}/{number:05d}_{end}.png" for end in ("left", "right", "ignore")
            ]
            write_instances(picture, *(folder / "dataset" / name / path for path in names))
            ignored = names[2] if number % 3 else ""
            texts[metadata / "localization.txt"] += [f"{image_id},{names[0]},{ignored}", f"{image_id},{names[1]},"]
        else:
            texts[metadata / "localization.txt"] += [
                f"{image_id},{x0},{y0},{x1 - 1},{y1 - 1}" for x0, y0, x1, y1 in picture.boxes
            ]
    for path, lines in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return folder


def write_instances(picture: Picture, left: Path, right: Path, ignored: Path) -> None:
    """The mask's halves as instances of half and of three times its size, and an ignored region above."""
    assert picture.mask is not None, "images that are held out have masks"
    with Image.open(picture.mask) as opened:
        mask = np.asarray(opened.convert("L"))
    middle = mask.shape[1] // 2
    halves = (
        np.where(np.arange(mask.shape[1]) < middle, mask, 0),
        np.where(np.arange(mask.shape[1]) < middle, 0, mask),
    )
    left.parent.mkdir(parents=True, exist_ok=True)
    for half, path, factor in zip(halves, (left, right), (0.5, 3), strict=True):
        size = (int(mask.shape[1] * factor), int(mask.shape[0] * factor))
        Image.fromarray(half.astype(np.uint8)).resize(size, Image.Resampling.NEAREST).save(path)
    region = np.zeros_like(mask)
    region[: mask.shape[0] // 4] = 255
    Image.fromarray(region).save(ignored)


def copied(source: Path, to: Path) -> None:
    """Copy a file into a folder that may have to be made."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, to)
