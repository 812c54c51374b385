"""Reader `voc`: images with annotations in the XML of PASCAL VOC, as published or loose, one class label per image.

    VOCdevkit/VOC2012/JPEGImages/2007_000027.jpg      images/cat-1.png      train/cat-1.jpg
    VOCdevkit/VOC2012/Annotations/2007_000027.xml     annotations/cat-1.xml train/cat-1.xml
    VOCdevkit/VOC2012/ImageSets/Main/{train,val,trainval,test}.txt

An image id is the path below the root. An annotation belongs to the image of the same name, in the folder beside its
own or else anywhere; if there is none, to the image that its `filename` names. Splits are those of ImageSets/Main, else
of folders named train, val (valid) and test; without either all images are train. Masks (SegmentationClass) are not
read.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.base.errors import UsageError
from pipeline.base.params import option
from stages.formats.file_names import left_out, may_be_image, normalised
from stages.ingest.listing import ListedFile, list_files
from stages.ingest.multi_label import MultiLabel, class_by_area
from stages.ingest.reader import Reader, ReaderParams
from stages.ingest.readers.voc_files import (
    ANNOTATIONS,
    IMAGES,
    SPLITS,
    VocFiles,
    name_of,
    sort_files,
    splits_of,
    stem_of,
)
from stages.ingest.readers.voc_matching import Given, match
from stages.ingest.readers.voc_xml import Corners, Object, half_open, is_annotation, read_annotations
from stages.ingest.recognition import Match, Tree
from stages.ingest.scan import Box, Found, Scan
from stages.ingest.tally import Tally
from stages.vision.boxes import area

__all__ = ["VocParams", "VocReader"]

_LOG = logging.getLogger("weakbox.ingest")

_NUMBER = re.compile(r"[\s_.-]*\d*$")
_LOOKED_AT = 8
"""The most folders that are looked into at each step."""


@dataclass(frozen=True)
class VocParams(ReaderParams):
    """Parameters of reader `voc`."""

    label_by: Literal["objects", "file_name", "folder"] = option(
        "objects",
        "source of an image's class: its objects; its file's name without the number at the end (cat_12.jpg); or its"
        " folder. With the last two the boxes of all objects count, whatever their names",
        by_content=True,
    )
    multi_label: MultiLabel = option(
        "skip",
        "images of several classes: left out, or given the class with the largest total box area",
        by_content=True,
    )
    difficult: Literal["keep", "skip"] = option(
        "keep", "objects marked as difficult: used like others, or ignored", by_content=True
    )
    corners: Corners = option(
        "one_based",
        "convention of corners: one_based: pixels from 1, both inside (VOC, labelImg); zero_based: pixels from 0, both"
        " inside; half_open: pixel edges from 0",
        by_content=True,
    )


class VocReader(Reader[VocParams]):
    """PASCAL VOC, and loose images with VOC XML."""

    name = "voc"
    Params = VocParams

    def scan(self) -> Scan:
        """List the images that have a class.

        Raises:
            UsageError: a missing root, a bad annotation, an image in two splits, no image with a class.
        """
        files, tally = sort_files(list_files(self.params.root)), Tally()
        owned = _matched(files, tally)
        splits = splits_of(files, self.params.root)
        found = [
            image
            for file in files.images
            if (image := self._found(file, owned.get(file.path), splits[file.path], tally)) is not None
        ]
        for path in files.maps:
            tally.add("pictures in folders of annotations or segmentations", path)
        said = [*tally.lines(), *left_out(files.others)]
        if not found:
            raise UsageError(f"dataset: root {self.params.root}: no image has a class: {'; '.join(said)}")
        return Scan.of(found, said)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """JPEGImages beside Annotations, or a file with VOC's root element in a usual place, but none of ILSVRC."""
        for base in _published(tree):
            if "JPEGImages" in tree.folders(base):
                path = f"{base}/Annotations".lstrip("/")
                missing = "" if any(name.endswith(".xml") for name in tree.files(path)) else f"{path}/*.xml"
                return Match(f"{path} beside JPEGImages", missing=missing)
        for path in _candidates(tree):
            head = tree.head(path)
            if is_annotation(head) and b"ILSVRC" not in head:
                return Match(f"{path}, an annotation in VOC's XML")
        return None

    def _found(self, file: ListedFile, given: Given | None, split: str | None, tally: Tally) -> Found | None:
        """An image with its class and boxes; None for an image without a class or a split, which is counted."""
        boxes = None if given is None else self._boxes(given, tally)
        label, reason = self._class_of(file, boxes)
        if split is None:
            reason = "images that no list of ImageSets/Main names"
        if split is None or reason:
            tally.add(reason, file.path)
            return None
        own: Sequence[Box] | None = None
        if boxes is not None:
            names = [label] if self.params.label_by == "objects" else list(boxes)
            own = [box for name in names for box in boxes[name]]
        return Found(file.path, file.path, file.stamp, label, split, own, trouble=file.trouble)

    def _class_of(self, file: ListedFile, boxes: Mapping[str, Sequence[Box]] | None) -> tuple[str, str]:
        """The class of an image, and the reason why it has none; one of the two is empty."""
        if self.params.label_by != "objects":
            label = _by_folder(file) if self.params.label_by == "folder" else _by_file_name(file)
            return label, "" if label else f"images whose {self.params.label_by} tells no class"
        if not boxes:
            return "", "images without an annotation" if boxes is None else "images whose annotation has no object"
        areas = {name: float(area(own).sum()) for name, own in boxes.items()}
        chosen = class_by_area(areas, self.params.multi_label)
        return (chosen, "") if chosen else ("", "images of several classes (multi_label)")

    def _boxes(self, given: Given, tally: Tally) -> dict[str, list[Box]]:
        """Class -> boxes of an annotation."""
        found: dict[str, list[Box]] = {}
        for number, each in enumerate(given.said.objects, 1):
            if each.difficult and self.params.difficult == "skip":
                tally.add("difficult objects", given.file.path)
            else:
                box = self._box(each, f"dataset: {given.file.path}: object {number} ({each.name:.40})")
                found.setdefault(normalised(each.name), []).append(box)
        return found

    def _box(self, each: Object, where: str) -> Box:
        x0, y0, x1, y1 = box = half_open(each.corners, self.params.corners)
        if not (x0 < x1 and y0 < y1):
            raise UsageError(f"{where}: its box {_shown(each.corners)} has no area")
        if self.params.corners == "one_based" and 0 <= min(each.corners[:2]) < 1:
            raise UsageError(
                f"{where}: its box {_shown(each.corners)} has a corner below 1, and VOC counts pixels from 1: say"
                " corners: zero_based (the far corner is inside) or half_open (it is not)"
            )
        return box


def _by_folder(file: ListedFile) -> str:
    """The name of an image's folder; "" if that is a usual name for images or splits."""
    folder = file.path.rpartition("/")[0].rpartition("/")[2]
    return "" if folder.lower() in IMAGES | SPLITS.keys() else normalised(folder)


def _by_file_name(file: ListedFile) -> str:
    """The name of an image without the number at its end."""
    return _NUMBER.sub("", stem_of(name_of(file)))


def _matched(files: VocFiles, tally: Tally) -> dict[str, Given]:
    """Path of an image -> its annotation."""
    read = map(Given, files.annotations, read_annotations(files.annotations))
    notes = Tally()
    found = match(files.images, read, tally, notes)
    for line in notes.lines():
        _LOG.info("dataset: %s", line)
    return found


def _shown(corners: Box) -> str:
    return " ".join(f"{corner:g}" for corner in corners)


def _published(tree: Tree) -> Iterator[str]:
    """The folders that may hold JPEGImages: the root, VOCdevkit, VOC2012."""
    yield ""
    for top in tree.folders():
        if top.startswith("VOC"):
            yield top
            yield from (f"{top}/{name}" for name in tree.folders(top) if name.startswith("VOC"))


def _candidates(tree: Tree) -> Iterator[str]:
    """One file of each folder where annotations usually are: folders of annotations, or of images."""
    tops = [name for name in tree.folders() if name.lower() in ANNOTATIONS | IMAGES | SPLITS.keys()]
    below = [
        f"{top}/{name}"
        for top in tops
        for name in tree.folders(top)[:_LOOKED_AT]
        if top.lower() not in SPLITS or name.lower() in ANNOTATIONS
    ]
    for folder in ["", *tops, *below]:
        own = any(name.lower() in ANNOTATIONS for name in folder.split("/"))
        files = tree.files(folder)
        if own or any(may_be_image(name) for name in files):
            names = [name for name in files if name.lower().endswith(".xml") or (own and "." not in name)]
            yield from (f"{folder}/{name}".lstrip("/") for name in names[:1])
