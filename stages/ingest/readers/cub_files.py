"""The text files of CUB-200-2011, parsed: each line is a number and its value."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.base.errors import UsageError
from pipeline.store.paths import UnsafePathError, check_below
from stages.ingest.listing import ListedFile, read_text
from stages.ingest.scan import Box
from stages.vision.boxes import inclusive_to_half_open, xywh_to_xyxy

IMAGES, LABELS, SPLIT = "images.txt", "image_class_labels.txt", "train_test_split.txt"
BOXES, CLASSES = "bounding_boxes.txt", "classes.txt"
TABLES = (IMAGES, LABELS, SPLIT, BOXES, CLASSES)
_MOST = 256 * 2**20
"""The largest such file, in bytes."""
_SPLITS = {"1": "train", "0": "test"}


class CubImage(NamedTuple):
    """One image. name: its path below the folder of images. box: half-open pixels, not clipped to the image."""

    name: str
    class_name: str
    split: str
    box: Box


def read_images(files: Mapping[str, ListedFile]) -> list[CubImage]:
    """The images in file order. files: the files of `TABLES`, by name.

    Raises: UsageError that names file and number, for a malformed line, a number twice, an image that a file lacks, a
    path that climbs out, a class without a name, a box without area.
    """
    tables = {name: _Table(files[name]) for name in TABLES}
    return [_image(number, tables) for number in tables[IMAGES].rows]


class _Table:
    """One file: number -> the rest of its line."""

    def __init__(self, file: ListedFile) -> None:
        self.path = file.path
        self.rows: dict[str, str] = {}
        for place, line in enumerate(read_text(file, _MOST).splitlines(), start=1):
            number, _, rest = line.strip().partition(" ")
            if number and not (number.isdigit() and rest):
                raise UsageError(f"dataset: {file.path}, line {place}: a number and a value were expected")
            if number in self.rows:
                raise UsageError(f"dataset: {file.path}, line {place}: {number} twice")
            if number:
                self.rows[number] = rest.strip()

    def value(self, number: str) -> str:
        """The value of a number. Raises UsageError where the file lacks it."""
        if number not in self.rows:
            raise UsageError(f"dataset: {self.path}: {number} is missing")
        return self.rows[number]

    def mistake(self, number: str, words: str) -> UsageError:
        """The error about the line of a number."""
        return UsageError(f"dataset: {self.path}: {number}: {words}, not {self.rows[number][:80]!r}")


def _image(number: str, tables: Mapping[str, _Table]) -> CubImage:
    name, split = tables[IMAGES].value(number), tables[SPLIT].value(number)
    try:
        check_below(name)
    except UnsafePathError as error:
        raise tables[IMAGES].mistake(number, "a path below the folder of images was expected") from error
    if split not in _SPLITS:
        raise tables[SPLIT].mistake(number, "1 (train) or 0 (test) was expected")
    class_name = tables[CLASSES].value(tables[LABELS].value(number))
    return CubImage(name, class_name, _SPLITS[split], _box(number, tables[BOXES]))


def _box(number: str, table: _Table) -> Box:
    """Turn x, y, width, height into half-open corners; in the file, x + width is the last pixel inside.

    The standard evaluator reads these files the same way: for every image its boxes are these, clipped to the image.
    The numbers confirm it: boxes begin at 0, and most boxes that touch the far border end on the last pixel.
    """
    try:
        x, y, width, height = (float(value) for value in table.value(number).split())
    except ValueError as error:
        raise table.mistake(number, "x, y, width and height were expected") from error
    if not (width > 0 and height > 0 and all(math.isfinite(value) for value in (x, y, width, height))):
        raise table.mistake(number, "a box with an area was expected")
    x0, y0, x1, y1 = (float(corner) for corner in inclusive_to_half_open(xywh_to_xyxy([x, y, width, height])))
    return x0, y0, x1, y1
