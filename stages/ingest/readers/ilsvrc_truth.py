"""Classes and boxes of images from ILSVRC's annotations, tables and devkit."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pipeline.base.errors import UsageError
from stages.ingest.listing import read_bytes, read_text
from stages.ingest.readers.ilsvrc_files import VAL, IlsvrcFiles, Image, name_of
from stages.ingest.readers.ilsvrc_tables import parse_classes, parse_ground_truth, parse_mat_classes, parse_solution
from stages.ingest.readers.voc_xml import Annotation, half_open, read_annotations
from stages.ingest.scan import Box, Found
from stages.ingest.tally import Tally

__all__ = ["Labelling", "Truth", "read_truth"]

_MOST_TABLE, _MOST_MAT = 2**28, 2**20
"""The most bytes of a table and of meta.mat; LOC_train_solution.csv has some 30 MB, meta.mat some 50 kB."""


class Truth(NamedTuple):
    """Ground truth by image name. annotations: classes and boxes. classes: wnids from the devkit."""

    annotations: Mapping[str, Annotation]
    classes: Mapping[str, str]


def read_truth(files: IlsvrcFiles, wanted: Mapping[str, bool], tally: Tally) -> Truth:
    """Ground truth of some images: from Kaggle's tables if present, else from XML, and from the devkit where needed.

    wanted: image name -> whether its class is still unknown. Raises UsageError for a bad table or annotation.
    """
    found: dict[str, Annotation] = {}
    for kind in {_kind(name) for name in wanted} & files.solutions.keys():
        table = files.solutions[kind]
        found |= parse_solution(read_text(table, _MOST_TABLE), f"dataset: {table.path}", wanted.keys())
    xml = {
        name: file
        for name, file in ((name_of(file.path), file) for file in reversed(files.xml))
        if name in wanted and _kind(name) not in files.solutions
    }
    found |= zip(xml, read_annotations(list(xml.values())), strict=True)
    if unread := len(files.xml) - len(xml):
        tally.add("annotations not read: of other images (train_boxes), or in a table too", files.xml[0].path, unread)
    needed = any(needed and name not in found for name, needed in wanted.items())
    return Truth(found, _devkit_classes(files) if needed else {})


def _kind(name: str) -> str:
    """The table of Kaggle, val or train, that has an image of this name."""
    return "val" if name.startswith(VAL) else "train"


def _devkit_classes(files: IlsvrcFiles) -> Mapping[str, str]:
    """Image name -> wnid by the devkit; empty without a devkit. Raises UsageError for an incomplete devkit."""
    truth = files.ground_truth
    if truth is None:
        return {}
    folder = truth.path.rpartition("/")[0]
    beside = [file for file in files.classes if file.path.rpartition("/")[0] == folder]
    if not beside:
        raise UsageError(f"dataset: {truth.path}: neither map_clsloc.txt nor meta.mat beside it says its class numbers")
    table, where = beside[0], f"dataset: {beside[0].path}"
    if table.path.endswith(".mat"):
        classes = parse_mat_classes(read_bytes(table, _MOST_MAT), where)
    else:
        classes = parse_classes(read_text(table, _MOST_TABLE), where)
    return parse_ground_truth(read_text(truth, _MOST_TABLE), f"dataset: {truth.path}", classes)


class Labelling:
    """Gives images their classes and boxes, and counts what is left out. classes, splits: those given so far."""

    def __init__(self, truth: Truth, tally: Tally) -> None:
        self.classes: set[str] = set()
        self.splits: set[str] = set()
        self._truth, self._tally = truth, tally
        self._boxes: dict[str, list[Box]] = {}

    def rows(self, images: Iterable[Image]) -> Iterator[tuple[str, str, str | None, str, str]]:
        """The arguments of `found` for each image that has a class."""
        for image in images:
            said = self._truth.annotations.get(image.name)
            label = image.wnid or _only_class(said) or self._truth.classes.get(image.name)
            if not label:
                trouble = f": {image.trouble}" if image.trouble else ""
                self._tally.add(_without_class(image.split, said), f"{image.path}{trouble}")
                continue
            if said is not None:
                self._boxes[image.path] = list(self._own(said, label, image.split))
            self.classes.add(label)
            self.splits.add(image.split)
            yield image.path, image.stamp, image.trouble, image.split, label

    def found(self, path: str, stamp: str, trouble: str | None, split: str, label: str) -> Found:
        """The image of one row of `rows`."""
        return Found(path, path, stamp, label, split, self._boxes.get(path), trouble=trouble)

    def _own(self, said: Annotation, label: str, split: str) -> Iterator[Box]:
        """The boxes of an image's class; published boxes of train that cannot be used are left out and counted."""
        size = said.size if said.size and split == "train" else (math.inf, math.inf)
        for each in said.objects:
            box = half_open(each.corners, "zero_based")
            if each.name != label:
                self._tally.add("boxes of another class than their image", said.filename)
            elif not _is_held(box, size):
                self._tally.add(
                    "boxes that have no area, or lie outside of their image by more than half", said.filename
                )
            else:
                yield box


def _only_class(said: Annotation | None) -> str:
    names = {each.name for each in said.objects} if said else set()
    return names.pop() if len(names) == 1 else ""


def _without_class(split: str, said: Annotation | None) -> str:
    if split == "test":
        return "images of test, which have no classes"
    if split == "train":
        return "files of train that are in no class folder"
    return "images of val without an annotation" if said is None else "images of val of no class or of several"


def _is_held(box: Box, size: tuple[float, float]) -> bool:
    """Whether at least half of a box lies inside its image."""
    x0, y0, x1, y1 = box
    width, height = size
    inside = max(0.0, min(x1, width) - max(x0, 0.0)) * max(0.0, min(y1, height) - max(y0, 0.0))
    return x0 < x1 and y0 < y1 and inside >= (x1 - x0) * (y1 - y0) / 2
