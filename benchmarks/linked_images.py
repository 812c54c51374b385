"""A data set of ImageNet's size without its bytes: class folders full of hard links to 64 small pictures.

`python -m benchmarks.linked_images FOLDER` makes one of 1,331,167 files in 2,000 folders: half a minute, 1.3 million
names, no bytes to speak of. Programs see ordinary files; each picture has 20,800 names.
"""

import argparse
import os
from pathlib import Path

import cv2

from benchmarks.made_images import FILES, paint

IMAGES, CLASSES = 1_331_167, 2_000


def make(root: Path, images: int = IMAGES, classes: int = CLASSES) -> None:
    """Make `images` files in `classes` folders below `root`, named as ImageNet's are. The pictures lie beside it."""
    pictures = _pictures(root.with_name(f"{root.name}-pictures"))
    for label in range(classes):
        name = f"n{label:08d}"
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(label * images // classes, (label + 1) * images // classes):
            os.link(pictures[number % FILES], f"{folder}/{name}_{number}.JPEG")


def _pictures(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.jpg" for number in range(FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(cv2.imencode(".jpg", paint(number)[0])[1].tobytes())
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.linked_images", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--classes", type=int, default=CLASSES)
    asked = parser.parse_args()
    make(asked.folder, asked.images, asked.classes)
