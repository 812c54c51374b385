"""The demo data set: handwritten digits at random size and place on photographs, with exact boxes and masks.

Everything comes with scikit-learn: the digits (UCI, 8x8 pixels, 17 gray levels) and the two sample photographs.
Training and test images use different samples of digits. Boxes and masks are computed in integers, so they are the same
on every machine; the JPEG bytes may differ in the last bit between versions of the image libraries.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

__all__ = ["BOXES_FILE", "Drawing", "Labelled", "Sources", "compose", "draw", "load_sources"]

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
BOXES_FILE = "boxes.csv"

CLASSES = 10
TEST_SHARE = 0.25
DIGIT_PIXELS = 8
DIGIT_SIDES = (0.35, 0.70)
DIGIT_STRETCHES = (1.0, 1.4)
CROP_SIDES = (64, 256)
DIGIT_LEVELS = (200, 255)
STROKE_LEVELS = (70, 180)
PHOTOGRAPH_GAINS = (0.25, 0.55)
INK = 16
JPEG_QUALITY = 92


class Labelled(NamedTuple):
    """One image's ground truth.

    image_id: path below the root, ``train/3/000123.jpg``. label: the digit. box: half-open pixels.
    """

    image_id: str
    label: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Drawing:
    """One composed image.

    image: ``(S, S, 3)`` uint8 RGB. mask: ``(S, S)`` bool, the digit. box: the mask's bounds, half-open
    ``x0, y0, x1, y1`` pixels.
    """

    image: np.ndarray
    mask: np.ndarray
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Sources:
    """What images are composed from.

    digits: per split and class, ``(N, 8, 8)`` int64 ink from 0 to 16. photographs: each ``(H, W, 3)`` uint8 RGB.
    """

    digits: dict[Split, list[np.ndarray]]
    photographs: list[np.ndarray]


def load_sources(seed: int = 0) -> Sources:
    """Read scikit-learn's digits and photographs, and divide the digits of each class into train and test."""
    from sklearn.datasets import load_digits, load_sample_images  # slow to import, and only this data set needs it

    loaded = load_digits()
    ink, labels = loaded.images.astype(np.int64), loaded.target
    generator = np.random.default_rng([seed])
    digits: dict[Split, list[np.ndarray]] = {"train": [], "test": []}
    for label in range(CLASSES):
        members = generator.permutation(np.flatnonzero(labels == label))
        held_out = round(TEST_SHARE * len(members))
        digits["test"].append(ink[members[:held_out]])
        digits["train"].append(ink[members[held_out:]])
    return Sources(digits, list(load_sample_images().images))


def draw(sources: Sources, split: Split, number: int, *, size: int = 64, seed: int = 0) -> Drawing:
    """Compose image ``number`` of a split; its digit is ``number`` modulo 10.

    A crop of a photograph, darkened; one stroke of clutter; over them the digit, 35 to 70 % of the side high, bright
    and wholly inside. The image depends only on the arguments, not on the images before it.
    """
    generator = np.random.default_rng([seed, SPLITS.index(split), number])
    ink, full = _draw_digit(sources.digits[split][number % CLASSES], size, generator)
    height, width = ink.shape
    top = int(generator.integers(0, size - height, endpoint=True))
    left = int(generator.integers(0, size - width, endpoint=True))
    window = np.s_[top : top + height, left : left + width]

    image = _background(sources.photographs, size, generator)
    _stroke(image, generator)
    cover = np.zeros((size, size, 1), dtype=np.float32)
    cover[window] = np.clip(2 * ink[:, :, None] / full - 0.5, 0, 1)
    colour = generator.integers(*DIGIT_LEVELS, size=3, endpoint=True).astype(np.float32)
    mask = np.zeros((size, size), dtype=bool)
    mask[window] = 2 * ink >= full
    pixels = np.rint(image + cover * (colour - image)).astype(np.uint8)
    return Drawing(pixels, mask, (left, top, left + width, top + height))


def compose(root: str | Path, *, train: int = 3700, test: int = 1000, size: int = 64, seed: int = 0) -> list[Labelled]:
    """Write the data set as an ordinary folder data set and return its ground truth in the order of image numbers.

    Images are ``<root>/<split>/<digit>/<number>.jpg``, masks ``<root>/masks/<the same path>.png`` (0 and 255).
    ``<root>/boxes.csv`` (image_id, x0, y0, x1, y1; half-open pixels) is written last: it marks the folder as complete.
    """
    root = Path(root)
    sources = load_sources(seed)
    labelled = []
    for split, number in _numbers(train, test):
        drawing = draw(sources, split, number, size=size, seed=seed)
        label = number % CLASSES
        image_id = f"{split}/{label}/{number:06d}.jpg"
        _write_image(root / image_id, drawing.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        _write_image(root / "masks" / f"{image_id}.png", drawing.mask.astype(np.uint8) * 255, [])
        labelled.append(Labelled(image_id, label, drawing.box))
    _write_boxes(root / BOXES_FILE, labelled)
    return labelled


def _numbers(train: int, test: int) -> Iterator[tuple[Split, int]]:
    for split, count in zip(SPLITS, (train, test), strict=True):
        for number in range(count):
            yield split, number


def _draw_digit(digits: np.ndarray, size: int, generator: np.random.Generator) -> tuple[np.ndarray, int]:
    """Pick and enlarge a digit: its ink ``(h, w)`` int64, cropped to where it is at least half full, and full ink."""
    digit = digits[generator.integers(len(digits))]
    height = round(size * generator.uniform(*DIGIT_SIDES))
    width = round(height * generator.uniform(*DIGIT_STRETCHES))
    ink = _enlargement(height) @ digit @ _enlargement(width).T
    full = INK * (2 * height) * (2 * width)
    rows, columns = np.nonzero(2 * ink >= full)
    return ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], full


def _enlargement(side: int) -> np.ndarray:
    """Bilinear weights ``(side, 8)`` with half-pixel centers, in exact integers: each row sums to ``2 side``."""
    position = np.clip((2 * np.arange(side) + 1) * DIGIT_PIXELS - side, 0, 2 * side * (DIGIT_PIXELS - 1))
    lower, share = np.divmod(position, 2 * side)
    weights = np.zeros((side, DIGIT_PIXELS), dtype=np.int64)
    weights[np.arange(side), lower] = 2 * side - share
    weights[np.arange(side), np.minimum(lower + 1, DIGIT_PIXELS - 1)] += share
    return weights


def _background(photographs: list[np.ndarray], size: int, generator: np.random.Generator) -> np.ndarray:
    """A random square of a photograph, resized to ``(size, size, 3)`` float32 and darkened."""
    photograph = photographs[generator.integers(len(photographs))]
    side = int(generator.integers(*CROP_SIDES, endpoint=True))
    top = int(generator.integers(0, photograph.shape[0] - side, endpoint=True))
    left = int(generator.integers(0, photograph.shape[1] - side, endpoint=True))
    crop = photograph[top : top + side, left : left + side]
    gain = np.float32(generator.uniform(*PHOTOGRAPH_GAINS))
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) * gain


def _stroke(image: np.ndarray, generator: np.random.Generator) -> None:
    """Draw one bent line of clutter into the image."""
    size = len(image)
    points = generator.integers(0, size, size=(3, 1, 2), dtype=np.int32)
    colour = generator.integers(*STROKE_LEVELS, size=3, endpoint=True).tolist()
    thickness = int(generator.integers(1, max(1, size // 24), endpoint=True))
    cv2.polylines(image, [points], isClosed=False, color=colour, thickness=thickness, lineType=cv2.LINE_AA)


def _write_image(path: Path, pixels: np.ndarray, parameters: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, pixels, parameters)
    path.write_bytes(encoded.tobytes())


def _write_boxes(path: Path, labelled: list[Labelled]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "x0", "y0", "x1", "y1"])
        writer.writerows([item.image_id, *item.box] for item in labelled)
