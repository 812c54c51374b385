"""PASCAL VOC: one XML file per image, whole pixels counted from 1, both corners included.

Annotations/<name>.xml
ImageSets/Main/train.txt        names, one per line
JPEGImages/<name>.jpg           where pictures are copied or linked; readers look for .jpg only
SegmentationObject/<name>.png   the number of the object at each pixel, where there are masks
SegmentationClass/<name>.png    its class, from 1
"""

import io
from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from stages.formats.contract import Content, File, Joined, Made, Piece, Pieces, Read
from stages.formats.entries import Entry, Picture
from stages.vision import masks

__all__ = ["Voc"]

_MOST = 254
"""The most objects or classes that a PNG of one byte per pixel can hold; 255 is void."""


class Voc:
    """XML annotations. folder: whether pictures lie beside them. outlined: whether masks are written.

    classes: their number; with more than 254 there are masks of objects alone, not of classes.
    """

    def __init__(self, folder: bool, outlined: bool, classes: int) -> None:
        self._folder, self._outlined, self._classes = folder, outlined, classes

    def part(self, number: int, entries: Sequence[Entry], first: int, read: Read) -> Iterator[Made]:
        """One file per image, its masks, the picture, and a list of names per split."""
        names: dict[str, list[str]] = {}
        masked: dict[str, list[str]] = {}
        for picture, group in groupby(entries, key=lambda entry: entry.picture):
            own = list(group)
            names.setdefault(picture.split, []).append(f"{picture.name}\n")
            yield File(f"Annotations/{picture.name}.xml", _annotation(picture, own, self._outlined))
            if self._folder:
                yield File(f"JPEGImages/{picture.name}.jpg", picture)
            if self._outlined and any(entry.masks for entry in own):
                objects, classes = _painted(picture, own)
                yield File(f"SegmentationObject/{picture.name}.png", _png(objects))
                if self._classes <= _MOST:
                    yield File(f"SegmentationClass/{picture.name}.png", _png(classes))
                masked.setdefault(picture.split, []).append(f"{picture.name}\n")
        for folder, listed in (("Main", names), ("Segmentation", masked)):
            for split, own_names in listed.items():
                yield Piece(f"{folder}_{split}", "".join(own_names).encode())

    def closing(self, content: Content) -> Iterator[File | Joined]:
        """The names of each split, and those of the classes."""
        for split, images in content.counts.images.items():
            if images:
                yield Joined(f"ImageSets/Main/{split}.txt", [Pieces(f"Main_{split}")])
                if self._outlined:
                    yield Joined(f"ImageSets/Segmentation/{split}.txt", [Pieces(f"Segmentation_{split}")])
        yield File("classes.txt", "".join(f"{name}\n" for name in content.classes).encode())


def _annotation(picture: Picture, entries: Sequence[Entry], outlined: bool) -> bytes:
    root = ET.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", f"{picture.name}.jpg")
    _add(root, "path", picture.uri)
    size = ET.SubElement(root, "size")
    for name, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        _add(size, name, value)
    _add(root, "segmented", int(outlined and any(entry.masks for entry in entries)))
    for entry in entries:
        for box in entry.boxes:
            thing = ET.SubElement(root, "object")
            _add(thing, "name", entry.class_name)
            for name, said in (("pose", "Unspecified"), ("truncated", 0), ("difficult", 0)):
                _add(thing, name, said)
            corners = ET.SubElement(thing, "bndbox")
            for name, corner in zip(("xmin", "ymin", "xmax", "ymax"), _whole(box, picture), strict=True):
                _add(corners, name, corner)
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8")


def _whole(box: Sequence[float], picture: Picture) -> list[int]:
    """Corners in whole pixels from 1, both included; a box thinner than a pixel becomes one pixel."""
    x0, y0, x1, y1 = (round(corner) for corner in box)
    x0, y0 = min(x0, picture.width - 1), min(y0, picture.height - 1)
    return [x0 + 1, y0 + 1, max(x1, x0 + 1), max(y1, y0 + 1)]


def _add(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = str(value)


def _painted(picture: Picture, entries: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
    """Object number and class of each pixel, (height, width) uint8, from 1, 0: none; the best object is on top."""
    objects = np.zeros((picture.height, picture.width), np.uint8)
    classes = np.zeros(objects.shape, np.uint8)
    found = [((entry.category + 1) % 256, rle) for entry in entries for rle in entry.masks or ()]
    if len(found) > _MOST:
        raise ValueError(f"{picture.image_id}: VOC's masks hold at most {_MOST} objects: set outlines to none")
    for number, (category, rle) in reversed(list(enumerate(found, start=1))):
        mask = masks.decode(rle)
        objects[mask], classes[mask] = number, category
    return objects, classes


def _png(values: np.ndarray) -> bytes:
    picture = Image.fromarray(values, mode="P")
    picture.putpalette([level for number in range(256) for level in _colour(number)])
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _colour(number: int) -> list[int]:
    """VOC's color map: the bits of a number, three at a time, from the highest bit of red, green and blue down."""
    return [sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
